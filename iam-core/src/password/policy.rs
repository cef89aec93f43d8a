//! What a new password must be.

use std::collections::HashSet;

use super::PlainPassword;
use super::blocklist::{self, Canonical};
use crate::base::base_url::BaseUrl;
use crate::base::invalid::{Invalid, Problem};
use crate::model::account::{EmailAddress, Username};
use crate::model::parent::Parent;

/// What a new password must be: long enough, not one that is guessed first, and not made of what everybody knows about its
/// account. No rules of composition, no expiry (NIST SP 800-63B-4).
///
/// ```
/// use iam_core::Username;
/// use iam_core::Problem;
/// use iam_core::{PasswordContext, PasswordPolicy, PlainPassword};
///
/// let policy = PasswordPolicy::default().service("Acme Rockets").forbid(["we are hiring"]);
/// let context = PasswordContext::default().username(&Username::parse("alice")?);
/// let problem = |text| policy.check(&PlainPassword::new(text)?, &context).map_err(|invalid| invalid);
///
/// assert!(problem("correct horse battery").is_ok());
/// assert_eq!(problem("correct horse").unwrap_err().problem, Problem::TooShort { min: 15 });
/// assert_eq!(problem("password12345678").unwrap_err().problem, Problem::TooCommon);
/// assert_eq!(problem("WE ARE HIRING 2026").unwrap_err().problem, Problem::TooCommon);
/// assert_eq!(problem("alicealicealice").unwrap_err().problem, Problem::MadeOfContext);
/// assert_eq!(problem("Acme Rockets 2026").unwrap_err().problem, Problem::MadeOfContext);
/// # Ok::<_, iam_core::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordPolicy {
    /// The least number of Unicode code points. 15 where the password is the only factor, never below 8 (NIST SP 800-63B-4).
    pub min_length: usize,
    forbidden: HashSet<String>,
    service: PasswordContext,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self { min_length: 15, forbidden: HashSet::new(), service: PasswordContext::default() }
    }
}

impl PasswordPolicy {
    /// Another least length.
    #[must_use]
    pub fn min_length(mut self, code_points: usize) -> Self {
        self.min_length = code_points;
        self
    }

    /// More words that count as common: alone, repeated, with digits, years and runs of the keyboard. Those that this library
    /// knows of count in any case.
    #[must_use]
    pub fn forbid<T: AsRef<str>>(mut self, words: impl IntoIterator<Item = T>) -> Self {
        self.forbidden.extend(words.into_iter().map(|word| Canonical::of(word.as_ref()).as_str().to_owned()));
        self
    }

    /// A name of the service, of which nobody may make a password. The host of its base URL counts in any case.
    #[must_use]
    pub fn service(mut self, name: &str) -> Self {
        self.service = self.service.word(name);
        self
    }

    /// Checks a password that is to be set for an account.
    ///
    /// # Errors
    /// The first rule that it breaks: length, context, common passwords.
    pub fn check(&self, password: &PlainPassword, context: &PasswordContext) -> Result<(), Invalid> {
        let refused = |problem| Err(Invalid::new("password", problem));
        if password.code_points() < self.min_length {
            return refused(Problem::TooShort { min: self.min_length });
        }
        let password = Canonical::of(password.text());
        // First what is the more helpful to say of a name over and over.
        let words = self.service.words.union(&context.words).cloned().collect();
        if blocklist::is_made_of(&password, &words) {
            return refused(Problem::MadeOfContext);
        }
        if blocklist::is_common(&password, &self.forbidden) {
            return refused(Problem::TooCommon);
        }
        Ok(())
    }
}

/// What everybody knows about the account that a password is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PasswordContext {
    /// In canonical form.
    words: HashSet<String>,
}

impl PasswordContext {
    /// Its name.
    #[must_use]
    pub fn username(self, username: &Username) -> Self {
        self.word(username.as_str())
    }

    /// Its address: whole, what is before the `@`, and the domain with its labels but the last.
    #[must_use]
    pub fn email(self, email: &EmailAddress) -> Self {
        let (local, domain) = email.as_str().split_once('@').unwrap_or((email.as_str(), ""));
        self.word(email.as_str()).word(local).host(domain)
    }

    /// Its parent: key and name.
    #[must_use]
    pub fn parent(self, parent: &Parent) -> Self {
        self.word(parent.key.as_str()).word(&parent.name)
    }

    /// Where the service is found: the host with its labels but the last.
    #[must_use]
    pub fn base_url(self, base_url: &BaseUrl) -> Self {
        let origin = base_url.origin();
        let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host);
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        self.host(host)
    }

    /// Something else that is known. It counts with its signs and without them.
    #[must_use]
    pub fn word(mut self, word: &str) -> Self {
        let word = Canonical::of(word);
        self.words.insert(word.as_str().chars().filter(|c| c.is_alphanumeric()).collect());
        self.words.insert(word.as_str().to_owned());
        self
    }

    fn host(self, host: &str) -> Self {
        let labels = host.rsplit('.').skip(1);
        labels.fold(self.word(host), Self::word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::ParentId;
    use crate::model::parent::ParentKey;

    fn context() -> PasswordContext {
        let mut parent = Parent::new(ParentId::from_bytes([0; 16]), ParentKey::parse("globex-corp").unwrap());
        parent.name = "Globex Corporation".to_owned();
        PasswordContext::default()
            .username(&Username::parse("alice").unwrap())
            .email(&EmailAddress::parse("alice.b-smith@mail.initech.example").unwrap())
            .parent(&parent)
            .base_url(&"https://app.umbrella.example:8443".parse().unwrap())
    }

    fn problem(text: &str) -> Option<Problem> {
        let policy = PasswordPolicy::default().service("Wonder Ship").forbid(["soylent"]);
        let checked = PlainPassword::new(text).and_then(|password| policy.check(&password, &context()));
        checked.err().map(|invalid| invalid.problem)
    }

    #[test]
    fn what_is_known_of_the_account_is_no_password() {
        for text in [
            "alicealicealice",
            "Alice-2026-alice",
            "alice.b-smith@mail.initech.example",
            "ALICEBSMITH12345",
            "mail.initech.example",
            "initechinitech!",
            "globex-corp-globex-corp",
            "globexcorpglobexcorp",
            "Globex Corporation",
            "GlobexCorporation1",
            "app.umbrella.example",
            "umbrella12345678",
            "wondershipalice",
            "Wonder Ship 2026",
        ] {
            assert_eq!(problem(text), Some(Problem::MadeOfContext), "{text}");
        }
        for text in
            ["correct horse battery", "alice under an umbrella", "globexcorporatio", "qjvwkzpxmbtrnsd"]
        {
            assert_eq!(problem(text), None, "{text}");
        }
    }

    #[test]
    fn length_comes_first_and_counts_code_points() {
        assert_eq!(problem("password"), Some(Problem::TooShort { min: 15 }));
        assert_eq!(problem("aaaaaaaaaaaaaaa"), Some(Problem::TooCommon));
        assert_eq!(problem("soylentsoylent 1"), Some(Problem::TooCommon));
        assert_eq!(problem(&"\u{1f511}".repeat(15)), None);
        assert_eq!(problem(&"\u{1f511}".repeat(14)), Some(Problem::TooShort { min: 15 }));
    }

    #[test]
    fn the_list_serves_a_shorter_length_too() {
        let policy = PasswordPolicy::default().min_length(8);
        let check = |text| policy.check(&PlainPassword::new(text).unwrap(), &PasswordContext::default());
        for text in
            ["password", "Password1", "iloveyou", "12345678", "qwertyui", "liverpool", "trustno1", "dragon99"]
        {
            assert_eq!(check(text).unwrap_err().problem, Problem::TooCommon, "{text}");
        }
        for text in ["kettle-7", "vqzmxkwp"] {
            assert!(check(text).is_ok(), "{text}");
        }
    }
}
