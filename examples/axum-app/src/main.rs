//! The example host application: a small service whose pages and data belong to somebody.
//!
//! `cargo run -p axum-app` runs it on SQLite with nothing set up; see `.env.example` for what can be.
//! With `-- --routes` it only tells which routes it has and who may pass, with `-- --routes=json` for programs.
//! With `-- explain amy GET /reports` it only tells what amy has for each rule of a route.

use std::process::ExitCode;

use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    example_host::run(axum_app::inventory, |host| async move {
        let app = axum_app::router(host.web, host.documents);
        axum_app::serve(TcpListener::from_std(host.listener)?, app, host.idle, host.stop).await
    })
    .await
}
