//! E-mail by SMTP.

mod builder;
mod server;

use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use iam_core::ports::{Accepted, Message, OtpSender, SendError};
use iam_core::{Channel, OsRandomness, Randomness};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{Extension, MailBodyParameter, MailParameter};
use lettre::{Address, transport::smtp};
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

pub use builder::{InvalidSmtp, SmtpBuilder};
use server::Server;

use crate::texts::Texts;

/// How many connections are kept for the next messages ...
const MAX_IDLE: usize = 4;
/// ... and for how long: less than servers wait before they close them.
const IDLE_FOR: Duration = Duration::from_secs(30);
/// How many messages one connection carries. After ten, Exim leaves what comes to its next queue run, which may be half an hour later
/// (`smtp_accept_queue_per_connection`); other servers have limits of their own.
const MAX_MESSAGES: u32 = 10;
/// How long a kept connection may take to say that it is still there.
const CHECK: Duration = Duration::from_secs(2);

/// Sends e-mail by a mail server (RFC 5321), encrypted (RFC 8314, RFC 3207), in plain text.
///
/// ```
/// use iam_mfa::Smtp;
///
/// // TLS from the first byte, port 465; what to choose where there is a choice.
/// let mail = Smtp::from_url("smtps://user:password@mail.example.com").from("no-reply@acme.example").build()?;
/// // STARTTLS, port 587: without it nothing is said, the password least of all.
/// let mail = Smtp::from_url("smtp://user:password@mail.example.com").from("no-reply@acme.example").build()?;
/// // In the clear, for a catcher of mail on this very machine and nowhere else.
/// let mail = Smtp::from_url("smtp://localhost:1025?tls=none").from("no-reply@acme.example").build()?;
/// # let _ = mail;
/// # Ok::<_, iam_mfa::InvalidSmtp>(())
/// ```
///
/// The server's certificate must lead to a public root (Mozilla's), or to one that was
/// [added](SmtpBuilder::root_certificates). Connections are kept for half a minute and used again, for ten messages at most.
///
/// A message takes ten seconds at most. What came of it depends on how far it was:
///
/// | what happened | is |
/// |---|---|
/// | no connection, no certificate to trust, a wrong password, no answer, before the message was handed over | [`SendError::NotNow`] |
/// | the server said 4xx: busy, full, greylisting | [`SendError::NotNow`] |
/// | the server said 5xx to the recipient or to the message | [`SendError::Refused`] |
/// | no answer once the message was handed over | [`SendError::Unknown`] |
///
/// The texts of these errors name stage and status code. What the server said is left out: servers repeat what they were told.
pub struct Smtp {
    server: Server,
    from: Mailbox,
    texts: Texts,
    timeout: Duration,
    idle: Mutex<Vec<Kept>>,
}

impl Smtp {
    /// Begins to set it up.
    pub fn builder() -> SmtpBuilder {
        SmtpBuilder::default()
    }

    /// Begins to set it up for a server: `smtps://user:password@host:465` or `smtp://user:password@host:587`. In user name and
    /// password, characters that mean something in a URL are percent-encoded.
    pub fn from_url(url: &str) -> SmtpBuilder {
        Self::builder().url(url)
    }

    /// Puts the message into words.
    fn letter(&self, service: &str, message: &Message) -> Result<Letter, SendError> {
        let written = self.texts.write(service, message);
        let written = written.ok_or_else(|| SendError::Refused("there are no words for this".to_owned()))?;
        // Typed: no line break gets from here into a command or a header.
        let to: Address =
            message.to.parse().map_err(|_| SendError::Refused("this is no address".to_owned()))?;
        let id = self.message_id()?;
        let letter = MessageBuilder::new()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(written.subject.as_str())
            .message_id(Some(id.clone()))
            // RFC 3834: nobody's out-of-office note answers.
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .header(ContentType::TEXT_PLAIN)
            .body(written.body.as_str().to_owned())
            .map_err(|error| SendError::Refused(error.to_string()))?;
        let (from, text) = (self.from.email.clone(), Zeroizing::new(letter.formatted()));
        Ok(Letter { id, from, to, text })
    }

    /// Unique, and of the sender's domain (RFC 5322, 3.6.4).
    fn message_id(&self) -> Result<String, SendError> {
        let mut id = [0; 16];
        OsRandomness.fill(&mut id).map_err(|error| SendError::NotNow(error.to_string()))?;
        Ok(format!("<{:032x}@{}>", u128::from_be_bytes(id), self.from.email.domain()))
    }

    async fn deliver(&self, letter: &Letter, stage: &mut Stage) -> Result<(), SendError> {
        let (mut connection, carried) = match self.kept().await {
            Some(kept) => kept,
            None => (self.server.connect(stage).await?, 0),
        };
        let result = hand_over(&mut connection, letter, stage).await;
        // A server that said no is there for the next message; 421 means that it leaves.
        let stays = match &result {
            Ok(_) => true,
            Err(error) => error.status().is_some_and(|code| u16::from(code) != 421),
        };
        if stays {
            self.keep(connection, carried + 1);
        }
        result.map_err(|error| stage.verdict(&error))?
    }

    /// A connection from before that still answers, and how many messages it has carried. RSET takes back whatever was begun on it.
    async fn kept(&self) -> Option<(AsyncSmtpConnection, u32)> {
        let Kept { mut connection, since, carried } = self.idle().pop()?;
        if since.elapsed() < IDLE_FOR && matches!(timeout(CHECK, connection.command(Rset)).await, Ok(Ok(_))) {
            return Some((connection, carried));
        }
        // The others are as old or older: to ask each would take the time that the message needs.
        let others = std::mem::take(&mut *self.idle()).into_iter().map(|kept| kept.connection);
        say_goodbye(others.chain([connection]).collect());
        None
    }

    fn keep(&self, connection: AsyncSmtpConnection, carried: u32) {
        let mut idle = self.idle();
        if carried < MAX_MESSAGES && idle.len() < MAX_IDLE {
            idle.push(Kept { connection, since: Instant::now(), carried });
        } else {
            say_goodbye(vec![connection]);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's password does not show.
impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Smtp(..)")
    }
}

#[async_trait]
impl OtpSender for Smtp {
    fn channel(&self) -> Channel {
        Channel::Email
    }

    fn provider(&self) -> &'static str {
        "smtp"
    }

    async fn send(&self, service: &str, message: &Message) -> Result<Accepted, SendError> {
        let letter = self.letter(service, message)?;
        let mut stage = Stage::Connection;
        match timeout(self.timeout, self.deliver(&letter, &mut stage)).await {
            Ok(result) => {
                result.map(|()| Accepted { reference: Some(letter.id.clone()), ..Accepted::default() })
            }
            Err(_) if stage == Stage::Message => {
                Err(SendError::Unknown(format!("{stage}: no answer in time")))
            }
            Err(_) => Err(SendError::NotNow(format!("{stage}: no answer in time"))),
        }
    }
}

/// A connection that waits for the next message.
struct Kept {
    connection: AsyncSmtpConnection,
    since: Instant,
    /// How many messages it has carried.
    carried: u32,
}

/// Closes connections, for which no message waits: those that are still there to hear it are told.
fn say_goodbye(connections: Vec<AsyncSmtpConnection>) {
    tokio::spawn(async move {
        for mut connection in connections {
            let _ = timeout(CHECK, connection.abort()).await;
        }
    });
}

/// A message as the server gets it.
struct Letter {
    /// Its `Message-ID`, by which the server's log names it.
    id: String,
    from: Address,
    to: Address,
    text: Zeroizing<Vec<u8>>,
}

/// One mail transaction (RFC 5321, 3.3). The steps are taken one by one to know how far it came when it fails. The error within is
/// what we have to say ourselves.
async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    letter: &Letter,
    stage: &mut Stage,
) -> Result<Result<(), SendError>, smtp::Error> {
    *stage = Stage::Sender;
    let mut parameters = Vec::new();
    if !letter.to.to_string().is_ascii() {
        // RFC 6531: what is not ASCII is for servers that say that they can read it. Others may send it to who knows whom.
        let server = connection.server_info();
        if ![Extension::SmtpUtfEight, Extension::EightBitMime].iter().all(|one| server.supports_feature(*one))
        {
            return Ok(Err(SendError::Refused("the mail server takes no such address: SMTPUTF8".to_owned())));
        }
        parameters = vec![MailParameter::SmtpUtfEight, MailParameter::Body(MailBodyParameter::EightBitMime)];
    }
    connection.command(Mail::new(Some(letter.from.clone()), parameters)).await?;
    *stage = Stage::Recipient;
    connection.command(Rcpt::new(letter.to.clone(), Vec::new())).await?;
    *stage = Stage::Data;
    connection.command(Data).await?;
    *stage = Stage::Message;
    connection.message(&letter.text).await?;
    Ok(Ok(()))
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connection,
    Encryption,
    SignIn,
    Sender,
    Recipient,
    Data,
    /// From here on the server may have it.
    Message,
}

impl Stage {
    /// What an error at this stage means for the message.
    fn verdict(self, error: &smtp::Error) -> SendError {
        let text = format!("{self}: {}", described(error));
        match error.status() {
            Some(code) if error.is_permanent() && self.is_about_the_message() => match u16::from(code) {
                // Not signed in, or not well enough: a matter of settings, whenever it is said.
                530 | 534 | 535 | 538 => SendError::NotNow(text),
                _ => SendError::Refused(text),
            },
            None if self == Self::Message => SendError::Unknown(text),
            Some(_) | None => SendError::NotNow(text),
        }
    }

    /// Before, a refusal is about us: our password, our address.
    fn is_about_the_message(self) -> bool {
        matches!(self, Self::Recipient | Self::Data | Self::Message)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "connecting",
            Self::Encryption => "STARTTLS",
            Self::SignIn => "AUTH",
            Self::Sender => "MAIL FROM",
            Self::Recipient => "RCPT TO",
            Self::Data => "DATA",
            Self::Message => "the message",
        })
    }
}

/// An error without anything that the server may have repeated.
fn described(error: &smtp::Error) -> String {
    let Some(code) = error.status() else {
        return if error.is_response() {
            "the answer was cut off, or is no SMTP".to_owned()
        } else {
            innermost(error)
        };
    };
    let said = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match said.split_whitespace().next().filter(|word| is_enhanced_code(word)) {
        Some(enhanced) => format!("{code} {enhanced}"),
        None => code.to_string(),
    }
}

/// The cause of causes, which says what happened.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    loop {
        if error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof)
        {
            return "the connection was cut off".to_owned();
        }
        match error.source() {
            Some(source) => error = source,
            None => return error.to_string().replace(char::is_control, " "),
        }
    }
}

/// Whether it is a status code of RFC 3463, such as `5.1.1`.
fn is_enhanced_code(word: &str) -> bool {
    let numbers: Vec<&str> = word.split('.').collect();
    numbers.len() == 3
        && numbers
            .iter()
            .all(|number| (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit()))
}
