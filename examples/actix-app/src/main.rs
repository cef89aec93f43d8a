//! The example host application: a small service whose pages and data belong to somebody.
//!
//! `cargo run -p actix-app` runs it on SQLite with nothing set up; see `.env.example` for what can be.
//! With `-- --routes` it only tells which routes it has and who may pass, with `-- --routes=json` for programs.
//! With `-- explain amy GET /reports` it only tells what amy has for each rule of a route.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    example_host::run(
        |web, _| actix_app::inventory(&web),
        |host| actix_app::serve(host.listener, host.web, host.documents, host.idle, host.stop),
    )
    .await
}
