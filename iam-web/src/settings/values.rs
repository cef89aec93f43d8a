//! The settings that there are, and the one place where a value's text is looked at before anything reads it: what is around it is
//! trimmed, what is in it and can't be meant is refused.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use iam_core::typed::is_around;

/// What may stand around a value, or in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// White space around it is no part of it.
    Text,
    /// Comma-separated: nor is it around an entry.
    List,
    /// A password: spaces around it are part of it. A line break behind it is not, nor a byte order mark before it: those come from the
    /// file that it was in.
    Secret,
}

/// All that are read.
const SETTINGS: [(&str, Kind); 26] = [
    ("IAM_ADMIN_PASSWORD", Kind::Secret),
    ("IAM_ADMIN_USERNAME", Kind::Text),
    ("IAM_ALLOWED_ORIGINS", Kind::List),
    ("IAM_AUDIT_RETENTION", Kind::Text),
    ("IAM_BASE_URL", Kind::Text),
    ("IAM_CLIENT_IP_HEADER", Kind::Text),
    ("IAM_COOKIE_PREFIX", Kind::Text),
    ("IAM_DATABASE_URL", Kind::Text),
    ("IAM_DEMO_USERS", Kind::List),
    ("IAM_ENV", Kind::Text),
    ("IAM_HSTS", Kind::Text),
    ("IAM_IDLE_CONNECTION", Kind::Text),
    ("IAM_LISTEN", Kind::Text),
    ("IAM_LONG_SESSIONS", Kind::Text),
    ("IAM_LONG_SESSIONS_FOR", Kind::List),
    ("IAM_PASSWORD_PEPPER", Kind::List),
    ("IAM_SECRET_KEY", Kind::Text),
    ("IAM_SESSION_ABSOLUTE_TIMEOUT", Kind::Text),
    ("IAM_SESSION_TIMEOUT", Kind::Text),
    ("IAM_TRUSTED_DEVICES", Kind::Text),
    ("IAM_TRUSTED_PROXIES", Kind::List),
    ("MFA_ENCRYPTION_KEY", Kind::List),
    ("SMTP_FROM", Kind::Text),
    ("SMTP_HELLO", Kind::Text),
    ("SMTP_ROOT_CERTIFICATES", Kind::Text),
    ("SMTP_URL", Kind::Text),
];

/// What others of the family read: its tests, and its chores.
const OTHERS: [&str; 8] = [
    "IAM_ADVISORY_DB",
    "IAM_BENCH_SERVE",
    "IAM_BROWSER_MODULES",
    "IAM_CACHE",
    "IAM_MYSQL_ARCHIVE",
    "IAM_MYSQL_DATABASE_URL",
    "IAM_TEST_",
    "IAM_WRITE_SCHEMA",
];

/// What the names of settings begin with that nobody else has.
const OURS: &str = "IAM_";

/// How far a name may be from a setting's to be taken for a slip of the pen, where others have names that begin like it.
const SLIP: usize = 2;

/// The values that are set, by their names: what is wrong with one, or its text.
pub(super) struct Values(BTreeMap<&'static str, Result<String, String>>);

impl Values {
    pub(super) fn read(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let read = |(name, kind)| Some((name, cleaned(kind, lookup(name)?).transpose()?));
        Self(SETTINGS.into_iter().filter_map(read).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        debug_assert!(SETTINGS.iter().any(|(known, _)| *known == name), "{name} is in no table");
        self.0.get(name)?.as_ref().ok().cloned()
    }

    pub(super) fn is_unreadable(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(Result::is_err)
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let wrong =
            |(name, value): (&&str, &Result<_, String>)| Some(format!("{name}: {}", value.as_ref().err()?));
        self.0.iter().filter_map(wrong).collect()
    }
}

/// A value's text, if it has any. What is wrong with it never repeats it.
fn cleaned(kind: Kind, value: OsString) -> Result<Option<String>, String> {
    let value = value.into_string().map_err(|_| "is not UTF-8".to_owned())?;
    let text = match kind {
        Kind::Text => value.trim_matches(is_around).to_owned(),
        Kind::List => {
            value.split(',').map(|entry| entry.trim_matches(is_around)).collect::<Vec<_>>().join(",")
        }
        Kind::Secret => value.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']).to_owned(),
    };
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(format!("has a control character in it ({})", control.escape_unicode()));
    }
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

/// What is said of the names that look like a setting's and are none.
pub(super) fn unknown(names: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let mut warnings: Vec<String> = names.into_iter().filter_map(|name| unknown_name(&name)).collect();
    warnings.sort();
    warnings
}

fn unknown_name(name: &OsStr) -> Option<String> {
    let name = name.to_string_lossy();
    let is_ours = name.starts_with(OURS);
    let is_known = SETTINGS.iter().any(|(known, _)| *known == name)
        || OTHERS.iter().any(|other| name == *other || other.ends_with('_') && name.starts_with(other));
    if is_known || ![OURS, "MFA_", "SMTP_"].iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    let near = SETTINGS.iter().map(|(known, _)| (strsim::damerau_levenshtein(known, &name), *known)).min()?;
    let shown = name.escape_debug();
    match near {
        (distance, known)
            if distance <= SLIP || is_ours && distance <= known.len().saturating_sub(OURS.len()) / 2 =>
        {
            Some(format!("{shown} is set, and nothing reads it: is {known} meant?"))
        }
        _ if is_ours => Some(format!("{shown} is set, and nothing reads it")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_around_a_value_is_no_part_of_it() {
        for (kind, value, text) in [
            (Kind::Text, "sqlite://a.db\n", "sqlite://a.db"),
            (Kind::Text, "\u{feff}\t https://a.example\u{200b}\r\n", "https://a.example"),
            (Kind::Text, "/srv/my ca.pem", "/srv/my ca.pem"),
            (Kind::List, "1:NEW,\n  0:OLD\n", "1:NEW,0:OLD"),
            (Kind::List, ",", ","),
            (Kind::Secret, "a long pass phrase\r\n", "a long pass phrase"),
            (Kind::Secret, "\u{feff} spaces are typed ", " spaces are typed "),
        ] {
            assert_eq!(cleaned(kind, value.into()), Ok(Some(text.to_owned())), "{value:?}");
        }
        for kind in [Kind::Text, Kind::List, Kind::Secret] {
            for nothing in ["", " ", "\n", "\u{feff}\r\n"] {
                assert_eq!(cleaned(kind, nothing.into()), Ok(None), "{kind:?} {nothing:?}");
            }
        }
    }

    #[test]
    fn what_can_not_be_meant_is_refused_and_not_repeated() {
        for kind in [Kind::Text, Kind::List, Kind::Secret] {
            for value in ["s3cret\ns3cret", "s3cret\0", "s3cret\ts3cret", "s3cret\u{7f}x", "s3cret\u{85}x"] {
                let problem = cleaned(kind, value.into()).unwrap_err();
                // A zero byte at the end, say, is around nothing.
                assert!(problem.contains("a control character") && !problem.contains("s3cret"), "{problem}");
            }
        }
        assert!(cleaned(Kind::Secret, "\ts3cret".into()).is_err(), "it would be part of the password");
        #[cfg(unix)]
        {
            let bytes = std::os::unix::ffi::OsStringExt::from_vec(b"s3cret\xff".to_vec());
            assert_eq!(cleaned(Kind::Secret, bytes), Err("is not UTF-8".to_owned()));
        }
    }

    #[test]
    fn names_that_nothing_reads_are_said_with_the_nearest_that_is_read() {
        let said = |name: &str| unknown([OsString::from(name)]).pop();
        for (name, meant) in [
            ("IAM_SESION_TIMEOUT", "IAM_SESSION_TIMEOUT"),
            ("IAM_DB_URL", "IAM_BASE_URL"),
            ("IAM_DATABASE", "IAM_DATABASE_URL"),
            ("IAM_ADMIN_USER", "IAM_ADMIN_USERNAME"),
            ("SMTP_URI", "SMTP_URL"),
            ("SMTP_FORM", "SMTP_FROM"),
            ("MFA_ENCRYPTION_KEYS", "MFA_ENCRYPTION_KEY"),
        ] {
            let warning = said(name).unwrap();
            assert_eq!(warning, format!("{name} is set, and nothing reads it: is {meant} meant?"));
        }
        assert_eq!(said("IAM_").as_deref(), Some("IAM_ is set, and nothing reads it"));
        assert!(said("IAM_QUITE_SOMETHING_ELSE_OF_THE_HOSTS").is_some());
        for name in ["PATH", "SMTP_HOST", "MFA_ISSUER", "IAM_TEST_MYSQL_URL", "IAM_CACHE", "iam_env", "IAM"] {
            assert_eq!(said(name), None, "{name}");
        }
        for (name, _) in SETTINGS {
            assert_eq!(said(name), None);
        }
    }
}
