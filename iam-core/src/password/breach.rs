//! Whether a password is known from a breach, asked so that nobody learns the password.

use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::PlainPassword;

/// How long an answer may take. After that the password is taken, and the audit log says that it was not checked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Characters of the SHA-1 that the service is told.
const PREFIX: usize = 5;
/// Characters that it gives back, and that stay here.
const SUFFIX: usize = 35;

/// A service that knows passwords from breaches, such as Have I Been Pwned, by k-anonymity: it is told the first five
/// hexadecimal digits of the password's SHA-1 and gives back all that it knows with this beginning. Several hundred passwords
/// share a beginning, so it learns next to nothing.
///
/// There is no HTTP here, so the request is the host's to send. It SHOULD ask for padding (`Add-Padding: true`), bound the
/// answer's size, and follow no redirects. It need not bound the time: after two seconds nobody waits any more, and the future
/// is dropped.
///
/// ```
/// use iam_core::{BreachCheckFailed, BreachedPasswords};
///
/// /// Stands for a client of `https://api.pwnedpasswords.com/range/{prefix}`.
/// #[derive(Debug)]
/// struct Downloaded(std::collections::HashMap<String, String>);
///
/// #[async_trait::async_trait]
/// impl BreachedPasswords for Downloaded {
///     async fn range(&self, prefix: &str) -> Result<String, BreachCheckFailed> {
///         self.0.get(prefix).cloned().ok_or_else(|| BreachCheckFailed::new("the file is incomplete"))
///     }
/// }
/// ```
#[async_trait]
pub trait BreachedPasswords: Send + Sync + std::fmt::Debug + 'static {
    /// A line for each known password whose SHA-1 begins with these five upper-case hexadecimal digits: the other 35, a colon, and
    /// how often it was found. A count of 0 is padding.
    async fn range(&self, prefix: &str) -> Result<String, BreachCheckFailed>;
}

/// The service could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("the service of breached passwords failed")]
pub struct BreachCheckFailed(#[source] Box<dyn std::error::Error + Send + Sync>);

impl BreachCheckFailed {
    /// For this reason.
    pub fn new(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(reason.into())
    }
}

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    Unknown,
    Known,
    /// It was not found out; why.
    Skipped(&'static str),
}

pub(crate) async fn look_up(service: &dyn BreachedPasswords, password: &PlainPassword) -> Breach {
    let digest = Zeroizing::new(<[u8; 20]>::from(Sha1::digest(password.expose())));
    let mut hex = Zeroizing::new(String::with_capacity(PREFIX + SUFFIX));
    for byte in digest.iter() {
        // Writing into a string does not fail.
        let _ = write!(hex, "{byte:02X}");
    }
    let Some((prefix, suffix)) = hex.split_at_checked(PREFIX) else { return Breach::Skipped("answer") };
    match tokio::time::timeout(PATIENCE, service.range(prefix)).await {
        Ok(Ok(answer)) => find(&answer, suffix),
        Ok(Err(error)) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a password was not checked for breaches"
            );
            Breach::Skipped("error")
        }
        Err(_) => {
            tracing::warn!("a password was not checked for breaches: no answer in time");
            Breach::Skipped("timeout")
        }
    }
}

/// Not in constant time: nobody can choose what it is compared with and measure it, and the service has the list anyway.
fn find(answer: &str, suffix: &str) -> Breach {
    let mut found = Breach::Unknown;
    for line in answer.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let parsed =
            line.split_once(':').and_then(|(known, count)| Some((known, count.trim().parse::<u64>().ok()?)));
        // Something else answers in the service's place, such as a proxy's page.
        let Some((known, count)) = parsed.filter(|(known, _)| known.len() == SUFFIX) else {
            return Breach::Skipped("answer");
        };
        if count > 0 && known.eq_ignore_ascii_case(suffix) {
            found = Breach::Known;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug)]
    struct Fake {
        asked: Mutex<Vec<String>>,
        answer: Option<&'static str>,
    }

    #[async_trait]
    impl BreachedPasswords for Fake {
        async fn range(&self, prefix: &str) -> Result<String, BreachCheckFailed> {
            self.asked.lock().unwrap().push(prefix.to_owned());
            self.answer.map(str::to_owned).ok_or_else(|| BreachCheckFailed::new("down"))
        }
    }

    /// Of `password`, whose SHA-1 is 5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8.
    async fn ask(answer: Option<&'static str>) -> Breach {
        let fake = Fake { asked: Mutex::default(), answer };
        let breach = look_up(&fake, &PlainPassword::new("password").unwrap()).await;
        assert_eq!(*fake.asked.lock().unwrap(), ["5BAA6"], "nothing but the prefix leaves the process");
        breach
    }

    #[tokio::test]
    async fn only_a_prefix_is_asked_for() {
        let answer =
            "003D68EB55068C33ACE09247EE4C639306B:3\r\n1E4C9B93F3F0682250B6CF8331B7EE68FD8:52256179\r\n";
        assert_eq!(ask(Some(answer)).await, Breach::Known);
        assert_eq!(ask(Some("1e4c9b93f3f0682250b6cf8331b7ee68fd8:1")).await, Breach::Known);
        assert_eq!(ask(Some("1E4C9B93F3F0682250B6CF8331B7EE68FD8:0")).await, Breach::Unknown, "padding");
        assert_eq!(ask(Some("003D68EB55068C33ACE09247EE4C639306B:3")).await, Breach::Unknown);
        assert_eq!(ask(Some("")).await, Breach::Unknown);
    }

    #[tokio::test]
    async fn what_is_no_answer_is_none() {
        for answer in ["<!doctype html>", "1E4C9B93F3F0682250B6CF8331B7EE68FD8", "1E4C9B:1", "\u{e9}:1"] {
            assert_eq!(ask(Some(answer)).await, Breach::Skipped("answer"), "{answer}");
        }
        assert_eq!(ask(None).await, Breach::Skipped("error"));
    }

    #[derive(Debug)]
    struct Hanging;

    #[async_trait]
    impl BreachedPasswords for Hanging {
        async fn range(&self, _: &str) -> Result<String, BreachCheckFailed> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let begun = tokio::time::Instant::now();
        let breach = look_up(&Hanging, &PlainPassword::new("password").unwrap()).await;
        assert_eq!(breach, Breach::Skipped("timeout"));
        assert_eq!(begun.elapsed(), PATIENCE);
    }
}
