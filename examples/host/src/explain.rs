//! The command `explain NAME METHOD PATH`: who may pass by what.

#![expect(clippy::print_stderr, reason = "what was asked wrongly must be seen")]

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use iam_core::{Actor, Iam, Met, Username};
use iam_web::settings::IamSettings;
use iam_web::{Access, Inventory, WebIam};

use crate::Documents;
use crate::commands::no_account;
use crate::start::{Work, explained, open};

const USAGE: &str =
    "explain: whom, and what? Give a user name, a method and a path: explain amy GET /reports";

/// What the command line asks to be explained: the words after the command, which comes first. Somebody may have its name.
pub(crate) fn asked() -> Option<Vec<String>> {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with("--"));
    (words.next()? == "explain").then(|| words.collect())
}

/// Explains it. Nobody is made by that, though the settings name people who would be. The exit code says what came of it: 0 if the
/// account may pass, if only with the right request; 1 if it may not; 2 if there is no answer, and why that is so on the error output.
pub(crate) async fn run(
    words: &[String],
    inventory: impl FnOnce(WebIam, Documents) -> Inventory,
) -> ExitCode {
    match explain(words, inventory).await {
        Ok(Met::No) => ExitCode::from(1),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", explained(error.as_ref()));
            ExitCode::from(2)
        }
    }
}

async fn explain(
    words: &[String],
    inventory: impl FnOnce(WebIam, Documents) -> Inventory,
) -> Result<Met, Box<dyn Error>> {
    let [name, method, path] = words else { return Err(USAGE.into()) };
    let name = Username::parse(name).map_err(|invalid| format!("explain: `{name}`: {invalid}"))?;
    let method = method.to_ascii_uppercase();
    let settings = IamSettings::from_env()?;
    let iam = open(&settings, Work::No).await?;
    let inventory = inventory(settings.web(iam.clone()).build(), Documents::default());
    let answer = answer(&iam, &inventory, &name, &method, path).await;
    iam.close().await?;
    answer
}

async fn answer(
    iam: &Iam,
    inventory: &Inventory,
    name: &Username,
    method: &str,
    path: &str,
) -> Result<Met, Box<dyn Error>> {
    let route = inventory.route(method, path);
    let route =
        route.ok_or_else(|| format!("explain: there is no route {method} {path}; --routes lists them"))?;
    let account = iam.accounts(&Actor::service()).by_username(name).await?;
    let account = account.ok_or_else(|| no_account("explain", name.as_str()))?;
    let mut out = io::stdout();
    writeln!(out, "{name} at {} {}: {}", route.method, route.path, route.access)?;
    match (&route.access, inventory.requirement(method, path)) {
        (Access::Public, _) => {
            writeln!(out, "verdict: everybody may pass")?;
            Ok(Met::Yes)
        }
        (_, Some(requirement)) => {
            let explanation = iam.accounts(&Actor::service()).explain(account.id, requirement).await?;
            writeln!(out, "{explanation}")?;
            Ok(explanation.verdict)
        }
        (_, None) => Err("explain: this address decides for itself, and says so nowhere".into()),
    }
}
