//! What is wrong with a field of a request.

use iam_core::{Invalid, Problem};

use crate::message::RequestView;

/// A field that can't be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

impl From<&Invalid> for FieldError {
    fn from(invalid: &Invalid) -> Self {
        let code = match invalid.problem {
            Problem::Required => "required",
            Problem::TooLong { .. } => "too_long",
            Problem::TooShort { .. } => "too_short",
            Problem::Taken => "taken",
            Problem::Reserved => "reserved",
            Problem::TooCommon => "too_common",
            Problem::MadeOfContext => "context",
            Problem::Breached => "breached",
            _ => "invalid",
        };
        Self { field: invalid.field.to_owned(), code, detail: invalid.problem.to_string() }
    }
}

/// A body that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Another media type than the address takes.
    UnsupportedMediaType,
    /// Not readable at all; why.
    Malformed(&'static str),
    /// Readable, with fields that can't be accepted.
    Fields(Vec<FieldError>),
}

/// Whether a body would have to be unpacked first. Whoever reads it after us may do so, and then reads something else. Of several codings or
/// lines it can't be told which ones others mind.
pub(crate) fn is_encoded(view: &dyn RequestView) -> bool {
    match view.header("content-encoding")[..] {
        [] => false,
        [value] => !value.trim_ascii().eq_ignore_ascii_case(b"identity"),
        _ => true,
    }
}

/// Whether a body is of a media type, in UTF-8 if that is said at all. Another parameter could make whoever reads the body after us take it
/// for something else.
pub(crate) fn is_media_type(content_type: &[&[u8]], essence: &[u8]) -> bool {
    let [value] = content_type else { return false };
    let mut parts = value.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    parts.next().is_some_and(|found| found.eq_ignore_ascii_case(essence))
        && parts.all(|parameter| {
            // Both forms of a value mean the same (RFC 9110, 5.6.6).
            [&b""[..], b"charset=utf-8", b"charset=\"utf-8\""]
                .iter()
                .any(|known| parameter.eq_ignore_ascii_case(known))
        })
}

#[cfg(test)]
mod tests {
    use iam_core::{PasswordContext, PasswordPolicy, PlainPassword, Username};

    use super::*;

    #[test]
    fn a_refused_password_names_the_rule_and_what_to_do() {
        let context = PasswordContext::default().username(&Username::parse("alice").unwrap());
        for (text, code) in
            [("too short", "too_short"), ("password12345678", "too_common"), ("alice-alice-alice", "context")]
        {
            let password = PlainPassword::new(text).unwrap();
            let error = FieldError::from(&PasswordPolicy::default().check(&password, &context).unwrap_err());
            assert_eq!((error.field.as_str(), error.code), ("password", code), "{text}");
            assert!(code == "too_short" || error.detail.contains("choose"), "{}", error.detail);
            assert!(!error.detail.contains("alice"), "{}", error.detail);
        }
    }
}
