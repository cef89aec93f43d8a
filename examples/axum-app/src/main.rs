//! The example host application: a small service whose pages and data belong to somebody.
//!
//! `cargo run -p axum-app` runs it on SQLite with nothing set up; see `.env.example` for what can be.

#![expect(clippy::print_stderr, reason = "why it does not start must be seen")]

use std::error::Error;
use std::process::ExitCode;

use axum_app::Documents;
use iam_axum::Iam;
use iam_axum::settings::{Database, IamSettings, Mode};
use iam_store_sqlite::SqliteStore;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    // A missing `.env` is fine; what the environment has already stays. One that can't be read is refused: half of it would
    // be other settings than those meant, development mode among them.
    if let Err(error) = dotenvy::from_path(".env")
        && !error.not_found()
    {
        // Without the line itself: it may hold a secret.
        eprintln!(".env: can't be read; put values with spaces into double quotes");
        return ExitCode::FAILURE;
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // To whoever started it, whatever the log's filter says.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = IamSettings::from_env()?;
    let iam = open(&settings).await?;
    settings.bootstrap(&iam).await?;
    let documents = Documents::of_the_example(&iam).await?;
    let app = axum_app::router(settings.web(iam.clone()).service("Example").build(), documents);

    let listener = TcpListener::bind(settings.listen).await?;
    tracing::info!("listening on {}, open {}", listener.local_addr()?, settings.base_url);
    axum_app::serve(listener, app, stop_signal()).await?;
    iam.stopped().await?;
    Ok(())
}

/// Opens the store and the identity layer on it. The schema is brought up to date in development, or when `--migrate` says so.
async fn open(settings: &IamSettings) -> Result<Iam, Box<dyn Error>> {
    let store = match &settings.database {
        Database::Sqlite(path) => SqliteStore::open(path).await?,
        other => return Err(format!("IAM_DATABASE_URL: {other:?} is not supported by this example").into()),
    };
    if settings.mode == Mode::Development || std::env::args().any(|argument| argument == "--migrate") {
        store.migrate().await?;
    }
    Ok(settings.builder(store)?.build().await?)
}

/// Ctrl-C, or what a service manager sends.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!("stopping");
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // No way to be told to stop: run until killed.
        std::future::pending::<()>().await;
    }
}
