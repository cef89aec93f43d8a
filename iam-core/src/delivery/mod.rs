//! What is to be sent: codes and notices, kept with the change that they tell of, and delivered by the [`Worker`](crate::Worker).
//!
//! Nothing that answers a request waits for a provider. A [`Message`] is sealed and put into the store in the unit of work that it
//! belongs to; its first attempt follows at once. What definitely failed is tried again, later each time, and never after the message
//! has expired. When nobody knows what became of it, it is not sent again. What is over is wiped: accepted (or, where the provider says so,
//! delivered), refused, expired or replaced. A channel may have several senders, which are tried in their order.

use crate::model::channel::Channel;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::code::Code;
use crate::base::id::{AccountId, ChallengeId, MessageId};
use crate::model::account::{EmailAddress, Username};

/// Something for one person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Message {
    /// Where to: an address of its channel.
    pub to: String,
    /// The account's name.
    pub username: String,
    /// What it says.
    pub content: Content,
}

/// What a message says. Whoever sends it finds the words.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Content {
    /// A code, and for how many minutes it is good.
    Code {
        /// The code.
        code: String,
        /// Minutes.
        minutes: u64,
    },
    /// News of the account, with the time and the address that it came from, as far as known.
    Notice {
        /// What happened.
        notice: Notice,
        /// When, in RFC 3339.
        at: String,
        /// From where.
        address: Option<String>,
    },
}

/// What an account's owner is told, so that they notice what somebody else did (OWASP ASVS 6.3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notice {
    /// The password was changed.
    PasswordChanged,
    /// A factor was added.
    FactorAdded,
    /// A factor was removed.
    FactorRemoved,
    /// New recovery codes were made.
    RecoveryCodesMade,
    /// A recovery code was used.
    RecoveryCodeUsed,
    /// An administrator took all factors away.
    FactorsReset,
    /// The password was right, and second factors were wrong until the challenge had no tries left.
    SecondFactorFailed,
    /// The password was right, and second factors were wrong so often that no more are taken.
    SecondFactorLocked,
    /// The password was right, after it had been wrong so often that tries were slowed down.
    PasswordAfterFailures,
    /// A session was ended because the password was wrong in it too often.
    SessionEndedByFailures,
    /// A session was ended because somebody else has a copy of its token.
    SessionCopied,
}

impl Notice {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::PasswordChanged,
        Self::FactorAdded,
        Self::FactorRemoved,
        Self::RecoveryCodesMade,
        Self::RecoveryCodeUsed,
        Self::FactorsReset,
        Self::SecondFactorFailed,
        Self::SecondFactorLocked,
        Self::PasswordAfterFailures,
        Self::SessionEndedByFailures,
        Self::SessionCopied,
    ];

    /// The key of its texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordChanged => "password_changed",
            Self::FactorAdded => "factor_added",
            Self::FactorRemoved => "factor_removed",
            Self::RecoveryCodesMade => "recovery_codes_made",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::FactorsReset => "factors_reset",
            Self::SecondFactorFailed => "second_factor_failed",
            Self::SecondFactorLocked => "second_factor_locked",
            Self::PasswordAfterFailures => "password_after_failures",
            Self::SessionEndedByFailures => "session_ended_by_failures",
            Self::SessionCopied => "session_copied",
        }
    }
}

impl Message {
    /// A code.
    pub(crate) fn code(to: &str, username: &Username, code: &Code, minutes: u64) -> Self {
        let content = Content::Code { code: code.expose().to_owned(), minutes };
        Self { to: to.to_owned(), username: username.to_string(), content }
    }

    /// News.
    pub(crate) fn notice(
        to: &EmailAddress,
        username: &Username,
        notice: Notice,
        at: Timestamp,
        address: Option<std::net::IpAddr>,
    ) -> Self {
        let address = address.map(|address| address.to_string());
        let content = Content::Notice { notice, at: at.to_string(), address };
        Self { to: to.as_str().to_owned(), username: username.to_string(), content }
    }
}

/// Neither the address nor the content shows.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Code { .. } => f.write_str("Message(code)"),
            Content::Notice { notice, .. } => write!(f, "Message({})", notice.as_str()),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Content(..)")
    }
}

/// Sends messages by one channel: an SMTP server, a provider of SMS, the console.
///
/// An implementation MUST end by itself, within ten seconds or so: what it waits for may never answer. It MUST NOT log what a message
/// says. Which error it gives decides whether the message is sent again.
#[async_trait]
pub trait OtpSender: Send + Sync + fmt::Debug + 'static {
    /// The provider's name, as attempts and receipts are written down: at most 64 bytes, and another one for each sender of a channel.
    fn provider(&self) -> &str;

    /// By what it sends.
    fn channel(&self) -> Channel;

    /// Sends a message; `service` is the service's name. Accepted means that the provider has taken it over.
    async fn send(&self, service: &str, message: &Message) -> Result<Accepted, SendError>;
}

/// A message that a provider has taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The provider's own name for it, at most 255 bytes.
    pub reference: Option<String>,
    /// Its cost, in millionths of the unit that the service counts in.
    pub cost_micros: Option<i64>,
    /// Whether the provider says later what became of it ([`Iam::record_receipt`](crate::Iam::record_receipt)). Until then, or until it expires,
    /// the message is kept, so that another provider can be tried.
    pub receipt_follows: bool,
}

/// Why a message was not sent. The text is for the log: it MUST NOT hold what the message says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It was not taken over, for certain; later it may be.
    #[error("not now: {0}")]
    NotNow(String),
    /// The same, and the provider says how long to wait at least.
    #[error("not for {} s: {why}", .retry_after.as_secs())]
    Busy {
        /// Why.
        why: String,
        /// How long.
        retry_after: Duration,
    },
    /// It was not taken over, and never will be: no such address, say.
    #[error("refused: {0}")]
    Refused(String),
    /// Nobody knows whether it was taken over: the answer was lost. It is not sent again.
    #[error("unknown: {0}")]
    Unknown(String),
}

/// How many messages one process sends at once.
pub(crate) const AT_ONCE: u32 = 8;

/// The longest time that a sender may take, whatever it promised.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest time that all senders of a channel together may take for one message: well before its worker counts as dead.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(40);

/// The longest reference of a provider's that is kept, in bytes.
pub(crate) const MOST_REFERENCE: usize = 255;

/// One provider's part in an attempt at a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// The message.
    pub message: MessageId,
    /// Which attempt at it, from 1.
    pub attempt: u32,
    /// The provider's place in it, from 0.
    pub position: u32,
    /// The provider.
    pub provider: String,
    /// The provider's own name for it.
    pub reference: Option<String>,
    /// What came of it.
    pub outcome: AttemptOutcome,
    /// Its cost, in millionths.
    pub cost_micros: Option<i64>,
    /// When it ended.
    pub at: Timestamp,
}

/// The outcome of one provider's part in an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// The provider took it over.
    Accepted,
    /// The provider did not take it over, and may later.
    NotNow,
    /// The provider never will.
    Refused,
    /// Nobody knows.
    Unknown,
    /// The provider says that it arrived.
    Delivered,
    /// The provider says that it did not arrive.
    Undelivered,
}

impl AttemptOutcome {
    const ALL: [Self; 6] =
        [Self::Accepted, Self::NotNow, Self::Refused, Self::Unknown, Self::Delivered, Self::Undelivered];

    /// The name that stores use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NotNow => "not_now",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }

    /// Whether the provider has failed with the message for good.
    pub const fn has_failed(self) -> bool {
        matches!(self, Self::Refused | Self::Undelivered)
    }
}

/// A provider's word on what became of a message that it had taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Receipt {
    /// It arrived.
    Delivered,
    /// It did not arrive, and will not.
    Undelivered,
}

impl Receipt {
    /// The outcome of the attempt.
    pub const fn outcome(self) -> AttemptOutcome {
        match self {
            Self::Delivered => AttemptOutcome::Delivered,
            Self::Undelivered => AttemptOutcome::Undelivered,
        }
    }
}

/// A message to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Which one.
    pub id: MessageId,
    /// Whose it is.
    pub account: AccountId,
    /// The challenge whose code it carries.
    pub challenge: Option<ChallengeId>,
    /// By what it is sent.
    pub channel: Channel,
    /// The sealed [`Message`].
    pub sealed: Vec<u8>,
    /// When it was made; it is due at once.
    pub created_at: Timestamp,
    /// After this it is not sent any more.
    pub expires_at: Timestamp,
}

/// A message that one worker may now try to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// What was kept.
    pub message: NewMessage,
    /// Which attempt this is, from 1. What comes of it is written down under this number.
    pub attempt: u32,
    /// How many attempts nobody wrote anything down of: their worker died.
    pub lost: u32,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Delivery {
    /// It waits for its first or its next attempt.
    Waiting,
    /// An attempt is under way.
    Claimed,
    /// The provider has it.
    Accepted,
    /// The provider says that it arrived.
    Delivered,
    /// No provider brought it there.
    Undelivered,
    /// It was refused.
    Refused,
    /// Nobody knows.
    Unknown,
    /// It was too late.
    Expired,
    /// Another one took its place.
    Replaced,
}

impl Delivery {
    const ALL: [Self; 9] = [
        Self::Waiting,
        Self::Claimed,
        Self::Accepted,
        Self::Delivered,
        Self::Undelivered,
        Self::Refused,
        Self::Unknown,
        Self::Expired,
        Self::Replaced,
    ];

    /// The name that stores use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Claimed => "claimed",
            Self::Accepted => "accepted",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether it failed for good.
    pub const fn has_failed(self) -> bool {
        matches!(self, Self::Undelivered | Self::Refused | Self::Unknown | Self::Expired)
    }
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// To be tried again at this time.
    Again(Timestamp),
    /// A provider has it and will say what became of it: [`Accepted`](Delivery::Accepted), and not over until then, or until it expires. The
    /// sealed message stays.
    AwaitsReceipt,
    /// It is over: [`Accepted`](Delivery::Accepted), [`Delivered`](Delivery::Delivered), [`Undelivered`](Delivery::Undelivered),
    /// [`Refused`](Delivery::Refused), [`Unknown`](Delivery::Unknown) or [`Expired`](Delivery::Expired). The sealed message goes.
    Over(Delivery),
}
