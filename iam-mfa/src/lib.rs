//! Second factors of the IAM family, and what sends their codes.
//!
//! **Factors** have no input and output of their own; [`iam_core::ports`] says what becomes of them:
//!
//! - [`Totp`]: codes of an authenticator app;
//! - [`SentCode`]: codes by e-mail; by SMS and WhatsApp once accounts have telephone numbers;
//! - [`RecoveryCodes`]: a list on paper for the day when all else is lost.
//!
//! [`standard`] has the three that need nothing but a mail server.
//!
//! **Senders** implement [`OtpSender`](iam_core::ports::OtpSender):
//!
//! - [`Smtp`]: e-mail by a mail server;
//! - [`Console`]: standard error, for development;
//! - [`MemorySender`]: memory, for tests.
//!
//! What messages say is a catalogue of [texts](built_in_texts), each of which can be replaced.
//!
//! ```
//! use iam_core::FactorKind;
//!
//! let kinds: Vec<_> = iam_mfa::standard().iter().map(|factor| factor.kind()).collect();
//! assert_eq!(kinds, [FactorKind::Totp, FactorKind::EmailOtp, FactorKind::RecoveryCode]);
//!
//! let mail = iam_mfa::Smtp::from_url("smtps://user:password@mail.example.com")
//!     .from("Acme <no-reply@acme.example>")
//!     .text("code.subject", "Acme: your code")
//!     .build()?;
//! # let _ = mail;
//! # Ok::<_, iam_mfa::InvalidSmtp>(())
//! ```

mod console;
mod memory;
mod recovery;
mod sent;
mod smtp;
#[cfg(test)]
mod testing;
mod texts;
mod totp;

pub use console::Console;
pub use memory::{MemoryOutcome, MemorySender};
pub use recovery::RecoveryCodes;
pub use sent::SentCode;
pub use smtp::{InvalidSmtp, Smtp, SmtpBuilder};
pub use texts::built_in_texts;
pub use totp::Totp;

use iam_core::ports::Factor;

/// An app, codes by e-mail, and recovery codes, in the order in which they are offered. [`SentCode`] says who should leave out e-mail.
pub fn standard() -> Vec<Box<dyn Factor>> {
    vec![Box::new(Totp::new()), Box::new(SentCode::email()), Box::new(RecoveryCodes::new())]
}
