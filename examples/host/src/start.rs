//! From the environment to a listener and what to serve on it.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use iam_core::{Actor, Channel, Iam, StoreError};
use iam_mfa::{Console, Smtp};
use iam_store_mysql::MySqlStore;
use iam_store_sqlite::SqliteStore;
use iam_web::settings::{Database, IamSettings, Mode};
use iam_web::{Inventory, WebIam};
use tokio::net::TcpListener;

use crate::commands::Command;
use crate::{Documents, explain, log};

/// What ends when the service is told to stop.
pub type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What an example application serves.
pub struct Host {
    /// Where it listens; does not block.
    pub listener: std::net::TcpListener,
    /// For how long a connection may have no request.
    pub idle: Duration,
    /// The identity layer with its HTTP surface.
    pub web: WebIam,
    /// The host's own data.
    pub documents: Documents,
    /// Until when.
    pub stop: Stop,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// Starts an example application as the environment says, and runs it by `serve` until that ends. With the argument `--routes`
/// or `--routes=json` it only prints the routes, which `inventory` makes of no documents; `explain` says who may pass one.
pub async fn run<I, F, S>(inventory: I, serve: F) -> ExitCode
where
    I: FnOnce(WebIam, Documents) -> Inventory,
    F: FnOnce(Host) -> S,
    S: Future<Output = io::Result<()>>,
{
    // A missing `.env` is fine; what the environment has already stays. One that can't be read is refused: half of it would
    // be other settings than those meant, development mode among them.
    if let Err(error) = dotenvy::from_path(".env")
        && !error.not_found()
    {
        // Without the line itself: it may hold a secret.
        say(".env: can't be read; put values with spaces into double quotes");
        return ExitCode::FAILURE;
    }
    if let Some(print) = asked_for_routes() {
        return match print_routes(inventory, print).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&error.to_string());
                ExitCode::FAILURE
            }
        };
    }
    if let Some(words) = explain::asked() {
        return explain::run(&words, inventory).await;
    }
    let started = async {
        let _log = log::start()?;
        start(serve).await
    };
    match started.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // To whoever started it, whatever the log's filter says.
            say(&explained(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// How the command line asks for the routes.
fn asked_for_routes() -> Option<fn(&Inventory) -> String> {
    std::env::args().find_map(|argument| match argument.as_str() {
        "--routes" => Some(Inventory::to_string as fn(&Inventory) -> String),
        "--routes=json" => Some(Inventory::to_json as fn(&Inventory) -> String),
        _ => None,
    })
}

/// Nothing else is printed: no log, which would go the same way.
async fn print_routes(
    inventory: impl FnOnce(WebIam, Documents) -> Inventory,
    print: fn(&Inventory) -> String,
) -> Result<(), Box<dyn Error>> {
    let settings = IamSettings::from_env()?;
    let iam = open(&settings, Work::No).await?;
    let web = settings.web(iam.clone()).build();
    let written = writeln!(io::stdout(), "{}", print(&inventory(web, Documents::default())));
    iam.close().await?;
    Ok(written?)
}

async fn start<F, S>(serve: F) -> Result<(), Box<dyn Error>>
where
    F: FnOnce(Host) -> S,
    S: Future<Output = io::Result<()>>,
{
    let settings = IamSettings::from_env()?;
    let command = Command::of_arguments()?;
    // Before anything is written: a start that fails because another one serves already must not void the link which that has shown.
    let listener = match command {
        None => Some(listen(settings.listen).await?),
        Some(_) => None,
    };
    let iam = open(&settings, if listener.is_some() { Work::Yes } else { Work::No }).await?;
    let done = match (command, listener) {
        (Some(command), _) => obey(&settings, command, &iam).await,
        (None, Some(listener)) => work(&settings, listener, &iam, serve).await,
        (None, None) => Ok(()),
    };
    // Whatever came of it: SQLite's file holds everything only when the last connection was closed.
    let closed = iam.close().await;
    done?;
    Ok(closed?)
}

async fn listen(address: SocketAddr) -> Result<std::net::TcpListener, Box<dyn Error>> {
    let listener = TcpListener::bind(address).await;
    Ok(listener.map_err(|error| format!("IAM_LISTEN: {address}: {error}"))?.into_std()?)
}

async fn obey(settings: &IamSettings, command: Command, iam: &Iam) -> Result<(), Box<dyn Error>> {
    settings.bootstrap(iam).await?;
    // Another command makes no link: that would make the one void which the service has shown.
    if matches!(command, Command::CreateAdmin) {
        offer_setup(iam, &settings.web(iam.clone()).build(), true).await?;
    }
    command.run(iam).await
}

async fn work<F, S>(
    settings: &IamSettings,
    listener: std::net::TcpListener,
    iam: &Iam,
    serve: F,
) -> Result<(), Box<dyn Error>>
where
    F: FnOnce(Host) -> S,
    S: Future<Output = io::Result<()>>,
{
    settings.bootstrap(iam).await?;
    let web = settings.web(iam.clone()).build();
    if settings.mode == Mode::Development {
        offer_setup(iam, &web, false).await?;
    }
    let documents = Documents::of_the_example(iam).await?;

    let stop = stop_signal();
    tracing::info!("listening on {}, open {}", listener.local_addr()?, settings.base_url);
    let idle = settings.idle_connection;
    let served = serve(Host { listener, idle, web, documents, stop }).await;
    iam.stopped().await?;
    Ok(served?)
}

/// Says where the first administrator is made, to whoever runs the service: on its own output, never in the log.
async fn offer_setup(iam: &Iam, web: &WebIam, asked: bool) -> Result<(), Box<dyn Error>> {
    match iam.setup(&Actor::service()).issue_token().await? {
        Some(token) => {
            // The store has but their hashes, so none can be shown once more.
            say(
                "There is no administrator yet. This link makes one; it works once, for a day. One that was shown before is void now:",
            );
            say(&format!("  {}", web.setup_link(&token).as_str()));
        }
        None if asked => say("There is an administrator already."),
        None => {}
    }
    Ok(())
}

/// To whoever started it, if anybody listens: what `eprintln!` can't write, it panics of.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// An error with its causes: here they are told to whoever runs the service, not to a client.
pub(crate) fn explained(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some say their cause themselves.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// A store that can't be used, by the setting that names it.
fn unusable(error: &StoreError) -> String {
    format!("IAM_DATABASE_URL: {}", explained(error))
}

/// Whether it serves: then the worker runs, and the audit trail says that the service was started.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    Yes,
    No,
}

/// Opens the store that the settings name, and the identity layer on it: the one place that knows the stores there are. The
/// schema is brought up to date in development, or when `--migrate` says so.
pub(crate) async fn open(settings: &IamSettings, work: Work) -> Result<Iam, Box<dyn Error>> {
    let migrate =
        settings.mode == Mode::Development || std::env::args().any(|argument| argument == "--migrate");
    let builder = match &settings.database {
        Database::Sqlite(path) => {
            let store = SqliteStore::open(path).await.map_err(|error| unusable(&error))?;
            if migrate {
                store.migrate().await.map_err(|error| unusable(&error))?;
            }
            settings.builder(store)?
        }
        Database::MySql(url) => {
            let store = MySqlStore::connect(url.expose()).await.map_err(|error| unusable(&error))?;
            if migrate {
                store.migrate().await.map_err(|error| unusable(&error))?;
            }
            settings.builder(store)?
        }
        other => return Err(format!("IAM_DATABASE_URL: {other:?} is not supported by this example").into()),
    };
    let builder = builder.service("Example").factors(iam_mfa::standard());
    let builder = match &settings.mail {
        Some(mail) => {
            let mut smtp = Smtp::from_url(&mail.url).from(&mail.from);
            if let Some(name) = &mail.hello {
                smtp = smtp.hello(name);
            }
            if let Some(file) = &mail.root_certificates {
                let pem = std::fs::read(file);
                let pem =
                    pem.map_err(|error| format!("SMTP_ROOT_CERTIFICATES: {}: {error}", file.display()))?;
                smtp = smtp.root_certificates(pem);
            }
            let smtp = smtp.build();
            builder.sender(smtp.map_err(|error| {
                format!("SMTP_URL, SMTP_FROM, SMTP_HELLO, SMTP_ROOT_CERTIFICATES: {error}")
            })?)
        }
        None if settings.mode == Mode::Development => builder.sender(Console::new(Channel::Email)),
        None => {
            tracing::warn!(
                "SMTP_URL is not set: no codes by e-mail, and nobody is told of changes to their account"
            );
            builder
        }
    };
    Ok(match work {
        Work::Yes => builder.build().await?,
        Work::No => builder.build_for_command().await?,
    })
}

/// Ctrl-C, or what a service manager sends. It is heard from this call on, so that nothing ends the program in the middle of its start.
fn stop_signal() -> Stop {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        if let (Ok(mut terminate), Ok(mut interrupt)) = signals {
            return Box::pin(async move {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                tracing::info!("stopping");
            });
        }
    }
    Box::pin(async {
        if tokio::signal::ctrl_c().await.is_err() {
            // No way to be told to stop: run until killed.
            std::future::pending::<()>().await;
        }
    })
}
