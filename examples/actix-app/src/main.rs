//! The example host application: a small service whose pages and data belong to somebody.
//!
//! `cargo run -p actix-app` runs it on SQLite with nothing set up; see `.env.example` for what can be.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    example_host::run(|host| {
        actix_app::serve(host.listener, host.web, host.documents, example_host::stop_signal())
    })
    .await
}
