//! The example host application: a small service whose pages and data belong to somebody.
//!
//! `cargo run -p axum-app` runs it on SQLite with nothing set up; see `.env.example` for what can be.

use std::process::ExitCode;

use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    example_host::run(|host| async move {
        let app = axum_app::router(host.web, host.documents);
        axum_app::serve(TcpListener::from_std(host.listener)?, app, example_host::stop_signal()).await
    })
    .await
}
