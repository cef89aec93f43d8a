//! Kinds of factors, and what a proof by one is worth.

use std::fmt;

use crate::model::channel::Channel;

/// A kind of factor: something that people set up beside the password. What can have been proved, and be asked for, is a
/// [`ProofMethod`](crate::ports::ProofMethod).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FactorKind {
    /// Codes that a device computes from a secret and the time (RFC 6238).
    Totp,
    /// Keys that sign a challenge: passkeys and security keys (Web Authentication).
    WebAuthn,
    /// Codes that are sent to a verified address.
    EmailOtp,
    /// Codes that are sent to a verified telephone number.
    SmsOtp,
    /// The same by WhatsApp.
    WhatsappOtp,
    /// A code of a list that was handed out for the day when all else is lost.
    RecoveryCode,
}

/// The properties of a kind: all that the flows ask of it.
struct Description {
    name: &'static str,
    assurance: Assurance,
    channel: Option<Channel>,
    set_up: SetUp,
    /// Each asking draws something to be answered, which an earlier one does not share.
    asks_anew: bool,
}

/// How a kind is set up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SetUp {
    /// One by one, any number of them.
    Each,
    /// One of an account.
    Single,
    /// As a list of codes, which stands in for whichever other one was lost.
    List,
}

impl FactorKind {
    /// In the order in which they are offered.
    pub const ALL: [Self; 6] =
        [Self::Totp, Self::WebAuthn, Self::EmailOtp, Self::SmsOtp, Self::WhatsappOtp, Self::RecoveryCode];

    /// The one table of what kinds there are. A code by e-mail proves no second thing that somebody has: often the password of a mailbox is
    /// all that it takes to read it (NIST SP 800-63B-4, 3.1.3.1).
    const fn describe(self) -> Description {
        use Assurance::{Aal1, Aal2};
        let (name, assurance, channel, set_up, asks_anew) = match self {
            Self::Totp => ("totp", Aal2, None, SetUp::Each, false),
            Self::WebAuthn => ("webauthn", Aal2, None, SetUp::Each, true),
            Self::EmailOtp => ("email_otp", Aal1, Some(Channel::Email), SetUp::Single, true),
            Self::SmsOtp => ("sms_otp", Aal2, Some(Channel::Sms), SetUp::Single, true),
            Self::WhatsappOtp => ("whatsapp_otp", Aal2, Some(Channel::Whatsapp), SetUp::Single, true),
            Self::RecoveryCode => ("recovery_code", Aal2, None, SetUp::List, false),
        };
        Description { name, assurance, channel, set_up, asks_anew }
    }

    /// The name in forms, JSON and stores.
    pub const fn as_str(self) -> &'static str {
        self.describe().name
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Several names in one text, as forms and addresses carry them.
    pub fn list(kinds: &[Self]) -> String {
        kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Its worth beside a password.
    pub const fn assurance(self) -> Assurance {
        self.describe().assurance
    }

    /// Whether people set it up, one by one. Recovery codes come as a list.
    pub const fn is_set_up(self) -> bool {
        !self.is_list()
    }

    /// Whether an account has one of the kind at most: it is about the account's own address.
    pub const fn is_single(self) -> bool {
        matches!(self.describe().set_up, SetUp::Single)
    }

    /// Whether it is a list of codes, each good once, that stands in for whichever other factor was lost.
    pub const fn is_list(self) -> bool {
        matches!(self.describe().set_up, SetUp::List)
    }

    /// What its codes are sent by, if they are sent.
    pub const fn channel(self) -> Option<Channel> {
        self.describe().channel
    }

    /// Whether its answer is typed by a person: every code is; a signature comes from the browser.
    pub const fn is_typed(self) -> bool {
        !self.asks_anew() || self.channel().is_some()
    }

    /// Whether it is answered to one question alone, so that it has to be asked for first: a code was sent, or a challenge is to be signed.
    pub const fn asks_anew(self) -> bool {
        self.describe().asks_anew
    }
}

/// The kind of a stored method: one that this program knows, or one that only a newer program does. The latter counts as a second factor that
/// an account has, and nothing that this program could check proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredKind {
    /// One of today's.
    Known(FactorKind),
    /// The name of another.
    Unknown(String),
}

impl StoredKind {
    /// Reads the name that stores use.
    pub fn parse(name: &str) -> Self {
        FactorKind::parse(name).map_or_else(|| Self::Unknown(name.to_owned()), Self::Known)
    }

    /// That name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(kind) => kind.as_str(),
            Self::Unknown(name) => name,
        }
    }

    /// The kind, if this program knows it.
    pub const fn known(&self) -> Option<FactorKind> {
        match self {
            Self::Known(kind) => Some(*kind),
            Self::Unknown(_) => None,
        }
    }

    /// Its worth beside a password. One that is not known may be worth as much as any.
    pub const fn assurance(&self) -> Assurance {
        match self {
            Self::Known(kind) => kind.assurance(),
            Self::Unknown(_) => Assurance::Aal2,
        }
    }
}

impl From<FactorKind> for StoredKind {
    fn from(kind: FactorKind) -> Self {
        Self::Known(kind)
    }
}

impl PartialEq<FactorKind> for StoredKind {
    fn eq(&self, kind: &FactorKind) -> bool {
        self.known() == Some(*kind)
    }
}

impl fmt::Display for StoredKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for FactorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How sure one may be of who it is (authenticator assurance level of NIST SP 800-63B-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Assurance {
    /// One factor.
    Aal1,
    /// Two different ones.
    Aal2,
}

impl Assurance {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aal1 => "aal1",
            Self::Aal2 => "aal2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names() {
        for kind in FactorKind::ALL {
            assert_eq!(FactorKind::parse(kind.as_str()), Some(kind));
        }
        for unknown in ["push", "password", "invitation", "trusted_browser"] {
            assert_eq!(FactorKind::parse(unknown), None);
        }
    }

    #[test]
    fn a_kind_of_a_newer_program_is_worth_as_much_as_any() {
        let newer = StoredKind::parse("palm");
        assert_eq!((newer.as_str(), newer.known(), newer.assurance()), ("palm", None, Assurance::Aal2));
        assert!(
            FactorKind::ALL.into_iter().all(|kind| newer != kind && newer.assurance() >= kind.assurance())
        );
        assert_eq!(StoredKind::parse("totp"), StoredKind::Known(FactorKind::Totp));
    }
}
