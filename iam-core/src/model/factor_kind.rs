//! Kinds of factors, and what a proof by one is worth.

use std::fmt;

use crate::model::channel::Channel;

/// A kind of factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FactorKind {
    /// Codes that a device computes from a secret and the time (RFC 6238).
    Totp,
    /// Codes that are sent to a verified address.
    EmailOtp,
    /// Codes that are sent to a verified telephone number.
    SmsOtp,
    /// The same by WhatsApp.
    WhatsappOtp,
    /// A code of a list that was handed out for the day when all else is lost.
    RecoveryCode,
    /// A code that an administrator handed out, for setting up the first factor. It is asked for nowhere else.
    Invitation,
    /// The password, where a route says that proving it once more will do.
    Password,
}

impl FactorKind {
    /// In the order in which they are offered.
    pub const ALL: [Self; 7] = [
        Self::Totp,
        Self::EmailOtp,
        Self::SmsOtp,
        Self::WhatsappOtp,
        Self::RecoveryCode,
        Self::Invitation,
        Self::Password,
    ];

    /// The name in forms, JSON and stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::EmailOtp => "email_otp",
            Self::SmsOtp => "sms_otp",
            Self::WhatsappOtp => "whatsapp_otp",
            Self::RecoveryCode => "recovery_code",
            Self::Invitation => "invitation",
            Self::Password => "password",
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Several names in one text, as forms and addresses carry them.
    pub fn list(kinds: &[Self]) -> String {
        kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Reads that text. Names that only a newer program knows are left out.
    pub fn parse_list(text: &str) -> Vec<Self> {
        text.split(' ').filter_map(Self::parse).collect()
    }

    /// What it is worth beside a password. A code by e-mail proves no second thing that somebody has: often the password of a mailbox
    /// is all that it takes to read it (NIST SP 800-63B-4, 3.1.3.1).
    pub const fn assurance(self) -> Assurance {
        match self {
            Self::EmailOtp | Self::Invitation | Self::Password => Assurance::Aal1,
            Self::Totp | Self::SmsOtp | Self::WhatsappOtp | Self::RecoveryCode => Assurance::Aal2,
        }
    }

    /// Whether people set it up, one by one. Recovery codes come as a list, and the others need no setting up.
    pub const fn is_set_up(self) -> bool {
        matches!(self, Self::Totp | Self::EmailOtp | Self::SmsOtp | Self::WhatsappOtp)
    }

    /// Whether its codes are sent, and by what.
    pub const fn channel(self) -> Option<Channel> {
        match self {
            Self::EmailOtp => Some(Channel::Email),
            Self::SmsOtp => Some(Channel::Sms),
            Self::WhatsappOtp => Some(Channel::Whatsapp),
            Self::Totp | Self::RecoveryCode | Self::Invitation | Self::Password => None,
        }
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
        assert_eq!(FactorKind::parse("push"), None);
    }
}
