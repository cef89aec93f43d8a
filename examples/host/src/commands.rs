//! What whoever runs the service asks of it on the command line. Each ends at once.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "it answers whoever asked, whatever the log's filter says"
)]

use std::error::Error;
use std::time::Duration;

use iam_core::{Account, Actor, Iam, ParentKey, RequirementOf, RoleName, Username};

use crate::keys;

type Answer = Result<(), Box<dyn Error>>;

/// A command with its words.
pub(crate) enum Command {
    CreateAdmin,
    ResetFactors(String),
    /// `role NAME` or `parent KEY`, and how long people have.
    RequireFactor(String, String, Duration),
    LiftFactor(String, String),
    Invite(String),
    RotateKeys,
    RetireKey(String),
    Restored,
}

impl Command {
    /// The command that the program was started with, if any. Words that begin with hyphens are none.
    pub(crate) fn of_arguments() -> Result<Option<Self>, String> {
        let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(Some(match words.as_slice() {
            [] => return Ok(None),
            ["create-admin"] => Self::CreateAdmin,
            ["reset-factors", name] => Self::ResetFactors((*name).to_owned()),
            ["require-factor", kind @ ("role" | "parent"), name] => {
                Self::RequireFactor((*kind).to_owned(), (*name).to_owned(), Duration::ZERO)
            }
            ["require-factor", kind @ ("role" | "parent"), name, grace] => {
                let grace = humantime::parse_duration(grace)
                    .map_err(|_| format!("require-factor: `{grace}` is no time such as 7d"))?;
                Self::RequireFactor((*kind).to_owned(), (*name).to_owned(), grace)
            }
            ["lift-factor", kind @ ("role" | "parent"), name] => {
                Self::LiftFactor((*kind).to_owned(), (*name).to_owned())
            }
            ["invite", name] => Self::Invite((*name).to_owned()),
            ["rotate-keys"] => Self::RotateKeys,
            ["restored"] => Self::Restored,
            ["retire-key", id] => Self::RetireKey((*id).to_owned()),
            _ => {
                return Err("these are the commands: create-admin; reset-factors NAME; require-factor role|parent NAME [GRACE]; \
                            lift-factor role|parent NAME; invite NAME; explain NAME METHOD PATH; rotate-keys; retire-key ID; restored"
                    .to_owned());
            }
        }))
    }

    pub(crate) async fn run(self, iam: &Iam) -> Answer {
        match self {
            // The link was shown already.
            Self::CreateAdmin => Ok(()),
            Self::ResetFactors(name) => reset_factors(iam, &name).await,
            Self::RequireFactor(kind, name, grace) => {
                let of = requirement_of(iam, &kind, &name).await?;
                iam.factors(&Actor::service()).require(&of, grace).await?;
                eprintln!(
                    "Everybody of {kind} {name} must have a second factor, at the latest {} from now, or from when they \
                    come to belong there.",
                    humantime::format_duration(grace)
                );
                Ok(())
            }
            Self::LiftFactor(kind, name) => {
                let of = requirement_of(iam, &kind, &name).await?;
                let was = iam.factors(&Actor::service()).lift(&of).await?;
                eprintln!("{}", if was { "It is required no longer." } else { "It was not required." });
                Ok(())
            }
            Self::Invite(name) => {
                let account = account(iam, "invite", &name).await?;
                let code = iam.factors(&Actor::service()).invite_to_enrol(account.id).await?;
                eprintln!(
                    "Hand this code to {name} in a way that shows who they are. It works once, for a day, beside the password:"
                );
                println!("{}", code.expose().as_str());
                Ok(())
            }
            Self::RotateKeys => keys::rotate(iam).await,
            Self::RetireKey(id) => keys::retire(iam, Some(&id)).await,
            Self::Restored => restored(iam).await,
        }
    }
}

async fn requirement_of(iam: &Iam, kind: &str, name: &str) -> Result<RequirementOf, Box<dyn Error>> {
    let service = Actor::service();
    Ok(match kind {
        "role" => {
            let role = RoleName::parse(name)?;
            iam.roles(&service).ensure(&role).await?;
            RequirementOf::Role(role)
        }
        _ => RequirementOf::Parent(iam.parents(&service).ensure(&ParentKey::parse(name)?).await?),
    })
}

/// The way back in for somebody who has lost all of their second factors. Whoever runs the service has made sure who asks.
async fn reset_factors(iam: &Iam, name: &str) -> Answer {
    let account = account(iam, "reset-factors", name).await?;
    let removed = iam.factors(&Actor::service()).reset(account.id).await?;
    // Done is done; that its owner is told can wait for the service.
    if let Err(error) = iam.deliver().await {
        tracing::warn!(error = &error as &dyn Error, "the account's owner is told later");
    }
    eprintln!(
        "{removed} second factors of `{name}` were taken away: the password alone signs in, until a new one is added."
    );
    Ok(())
}

/// Makes a database safe that was put back from a backup. It may be interrupted and called again.
async fn restored(iam: &Iam) -> Answer {
    let mut restoration = iam.restoration();
    while restoration.is_more_waiting() {
        iam.restored(&mut restoration, &Actor::service()).await?;
    }
    eprintln!("Nothing that had ended since the backup was made is good again:");
    for (count, what) in [
        (
            restoration.accounts,
            "accounts: no note of a known device counts any more, no code of an app up to now",
        ),
        (restoration.sessions_ended, "sessions were ended: everybody signs in again"),
        (restoration.browsers_forgotten, "trusted browsers were forgotten"),
        (restoration.links_voided, "links and invitations were made void"),
        (restoration.challenges_voided, "questions for a code were made void"),
        (restoration.requests_dropped, "stopped forms were dropped"),
        (restoration.methods_removed, "factors that nobody had confirmed were removed"),
        (restoration.messages_withdrawn, "messages that waited to be sent were withdrawn"),
    ] {
        eprintln!("  {count:>8} {what}");
    }
    eprintln!(
        "Passwords, recovery codes, factors, roles and statuses are those of the backup. What was changed since must be changed \
         again: docs/BACKUP.md says what to look for."
    );
    Ok(())
}

async fn account(iam: &Iam, command: &str, name: &str) -> Result<Account, Box<dyn Error>> {
    let parsed = Username::parse(name).map_err(|invalid| format!("{command}: `{name}`: {invalid}"))?;
    let account = iam.accounts(&Actor::service()).by_username(&parsed).await?;
    account.ok_or_else(|| no_account(command, parsed.as_str()).into())
}

/// What is said of a name that nobody has. People to try the service with are made when it is started.
pub(crate) fn no_account(command: &str, name: &str) -> String {
    format!(
        "{command}: there is no account `{name}` in the database that IAM_DATABASE_URL names. The service makes those of \
         IAM_DEMO_USERS when it starts"
    )
}
