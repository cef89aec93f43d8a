//! The example host application: a small service whose pages and data belong to somebody.
//!
//! `cargo run -p axum-app` runs it on SQLite with nothing set up; see `.env.example` for what can be.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum_app::Documents;
use iam_axum::Iam;
use iam_axum::settings::{Database, IamSettings, Mode};
use iam_store_sqlite::SqliteStore;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// How long requests that are under way may take to finish when the service stops.
const DRAIN: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    // A missing `.env` is fine; what the environment has already stays.
    let _ = dotenvy::dotenv();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
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
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let server = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async {
            stop_signal().await;
            tracing::info!("stopping");
            let _ = stopping.send(());
        });
    let drained = async {
        // The time to drain counts from the signal.
        if stopped.await.is_ok() {
            tokio::time::sleep(DRAIN).await;
        }
    };
    tokio::select! {
        result = server => result?,
        () = drained => tracing::warn!("requests were still under way"),
    }
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
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // No way to be told to stop: run until killed.
        std::future::pending::<()>().await;
    }
}
