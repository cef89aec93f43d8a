//! A request that a guard stopped: what is kept of it until its sender has proved who they are, and how it is read back.

use iam_core::protocol::{InterruptedId, is_seen};
use iam_core::{Principal, ProofMethod, Purpose, StepUp};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::fields::FieldError;
use crate::form::form_pairs;
use crate::json::StrictObject;
use crate::message::RequestView;
use crate::next::LocalTarget;

/// The most of a value that is approved. Nobody reads more.
const MOST_APPROVED: usize = 1024;

/// Between a form's token and the request that it goes on with: no character of a token.
const RESUMES: char = '.';

/// What is kept.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stopped {
    purpose: String,
    methods: String,
    /// How old the proof may be, in seconds.
    max_age: u64,
    /// Digest of what is approved.
    approval: Option<[u8; 32]>,
    /// The same in words, for whoever approves it.
    pub(crate) approve: Vec<(String, String)>,
    /// The form itself, where it can be sent again.
    pub(crate) form: Option<StoppedForm>,
}

/// A form that can be sent again.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoppedForm {
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Stopped {
    pub(crate) fn new(
        asked: &StepUp,
        methods: &[ProofMethod],
        approval: Option<[u8; 32]>,
        approve: Vec<(String, String)>,
        form: Option<StoppedForm>,
    ) -> Self {
        let (purpose, methods) = (asked.purpose().to_string(), ProofMethod::list(methods));
        Self { purpose, methods, max_age: asked.max_age().as_secs(), approval, approve, form }
    }

    pub(crate) fn purpose(&self) -> Option<Purpose> {
        Purpose::parse(&self.purpose)
    }

    pub(crate) fn methods(&self) -> Vec<ProofMethod> {
        ProofMethod::parse_list(&self.methods)
    }

    /// Whether somebody has proved what it waits for, by the step-up proofs that were read with them.
    pub(crate) fn is_proved_by(&self, principal: &Principal) -> bool {
        let (methods, within) = (self.methods(), Duration::from_secs(self.max_age));
        self.purpose().is_some_and(|purpose| principal.has_proved(purpose, &methods, within, self.approval))
    }

    pub(crate) const fn approval(&self) -> Option<[u8; 32]> {
        self.approval
    }
}

impl StoppedForm {
    /// A form as it was sent, if a browser can send it once more as it is: by POST, to a path of this site.
    pub(crate) fn of(view: &dyn RequestView, body: &[u8]) -> Option<Self> {
        if view.method() != "POST" {
            return None;
        }
        let target = LocalTarget::parse(view.target())?.as_str().to_owned();
        let mut fields = form_pairs(&view.header("content-type"), body).ok()?;
        // It belongs to the session's old token, and the next one to the new.
        fields.retain(|(name, _)| name != "csrf_token");
        Some(Self { target, fields })
    }
}

/// The request that a form goes on with, as its token says.
pub(crate) fn resumed_by(view: &dyn RequestView, body: &[u8]) -> Option<InterruptedId> {
    let fields = form_pairs(&view.header("content-type"), body).ok()?;
    let mut tokens = fields.iter().filter(|(name, _)| name == "csrf_token");
    let (Some((_, token)), None) = (tokens.next(), tokens.next()) else { return None };
    split_token(token).1
}

/// The token for a form that goes on with a request.
pub(crate) fn resuming(token: &str, id: InterruptedId) -> String {
    format!("{token}{RESUMES}{id}")
}

/// The token itself, and the request that it goes on with.
pub(crate) fn split_token(token: &str) -> (&str, Option<InterruptedId>) {
    match token.split_once(RESUMES) {
        Some((token, id)) => (token, id.parse().ok()),
        None => (token, None),
    }
}

/// The values of the fields that a proof is bound to: of an url-encoded form, or of a JSON object. Each must be there once, or which
/// one the handler takes can't be told.
pub(crate) fn approved_values(
    view: &dyn RequestView,
    body: &[u8],
    names: &[impl AsRef<str>],
) -> Result<Vec<(String, String)>, Vec<FieldError>> {
    let content_type = view.header("content-type");
    let found: Vec<(String, String)> = match form_pairs(&content_type, body) {
        Ok(pairs) => pairs,
        Err(_) => json_members(&content_type, body).ok_or_else(Vec::new)?,
    };
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for name in names.iter().map(AsRef::as_ref) {
        let mut of_name = found.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
        let fault = match (of_name.next(), of_name.next()) {
            (Some(value), None) if !value.chars().all(is_shown) => {
                ("invalid", "has characters that can't be shown to whoever approves it")
            }
            (Some(value), None) if value.trim() != value => (
                "invalid",
                "begins or ends with a space or a line break, which whoever approves it can't see",
            ),
            (Some(value), None) if value.len() <= MOST_APPROVED => {
                // A browser sends every line break as two characters, whatever stood in the page.
                values.push((name.to_owned(), value.replace("\r\n", "\n")));
                continue;
            }
            (Some(_), None) => ("too_long", "is too long to be approved"),
            (Some(_), Some(_)) => ("duplicate", "is there more than once"),
            (None, _) => ("required", "is required"),
        };
        errors.push(FieldError { field: name.to_owned(), code: fault.0, detail: fault.1.to_owned() });
    }
    if errors.is_empty() { Ok(values) } else { Err(errors) }
}

/// Whether a character stands on a page as what it is. Lines may end, and there may be columns.
fn is_shown(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\t') || is_seen(c)
}

/// A value as a page shows it: what is not seen in it stands there with its number.
pub(crate) fn shown(value: &str) -> Cow<'_, str> {
    if value.chars().all(is_shown) {
        return Cow::Borrowed(value);
    }
    let number = |c: char| if is_shown(c) { c.to_string() } else { format!("[U+{:04X}]", u32::from(c)) };
    Cow::Owned(value.chars().map(number).collect())
}

/// The members of an object, texts as such and everything else as it is written. A text that could be taken for something else keeps its
/// quotation marks: whoever approves `null` approves no name.
fn json_members(content_type: &[&[u8]], body: &[u8]) -> Option<Vec<(String, String)>> {
    // No member twice, and nothing too deep.
    StrictObject::parse(content_type, body).ok()?;
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).ok()?;
    let text = |raw: &RawValue| match serde_json::from_str::<String>(raw.get()) {
        Ok(text) if serde_json::from_str::<IgnoredAny>(&text).is_err() => text,
        _ => raw.get().to_owned(),
    };
    Some(members.iter().map(|(name, raw)| (name.clone(), text(raw))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::WebRequest;

    fn request(content_type: &str) -> WebRequest {
        WebRequest {
            method: "POST".to_owned(),
            target: "/pay".to_owned(),
            headers: vec![("content-type".to_owned(), content_type.as_bytes().to_vec())],
            ..WebRequest::default()
        }
    }

    const FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn a_form_comes_back_field_by_field_without_its_token() {
        let form = StoppedForm::of(&request(FORM), b"a=1&a=2&csrf_token=x&b=%C3%A9+f&c=").unwrap();
        let fields: Vec<_> = form.fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(fields, [("a", "1"), ("a", "2"), ("b", "é f"), ("c", "")]);
        assert!(StoppedForm::of(&WebRequest { method: "PUT".into(), ..request(FORM) }, b"a=1").is_none());
        for target in ["//evil.example/pay", "http://evil.example/", "/\\evil"] {
            let elsewhere = WebRequest { target: target.into(), ..request(FORM) };
            assert!(StoppedForm::of(&elsewhere, b"a=1").is_none(), "{target}");
        }
        assert!(StoppedForm::of(&request("multipart/form-data"), b"a=1").is_none());
        assert!(StoppedForm::of(&request(FORM), b"a=%ff").is_none(), "it would come back otherwise");
    }

    #[test]
    fn a_page_shows_what_is_not_seen() {
        assert_eq!(shown("Dirk & S\u{f6}hne\n\t12 \u{20ac}"), "Dirk & S\u{f6}hne\n\t12 \u{20ac}");
        assert_eq!(shown("b\u{200b}ob\u{2800}\u{e0041}\0"), "b[U+200B]ob[U+2800][U+E0041][U+0000]");
    }

    #[test]
    fn a_token_says_what_it_goes_on_with() {
        let id: InterruptedId = "019b76da-a800-7000-8000-0000000000ff".parse().unwrap();
        let token = resuming("abc-_9", id);
        assert_eq!(split_token(&token), ("abc-_9", Some(id)));
        assert_eq!(split_token("abc"), ("abc", None));
        assert_eq!(split_token("abc.x"), ("abc", None));
        let body = format!("a=1&csrf_token={token}");
        assert_eq!(resumed_by(&request(FORM), body.as_bytes()), Some(id));
        let twice = format!("{body}&csrf_token={token}");
        assert_eq!(resumed_by(&request(FORM), twice.as_bytes()), None);
    }

    #[test]
    fn values_are_those_that_the_handler_reads() {
        let of = |content_type: &str, body: &str| {
            approved_values(&request(content_type), body.as_bytes(), &["amount", "payee"])
        };
        let expected = vec![("amount".to_owned(), "100".to_owned()), ("payee".to_owned(), "b\nc".to_owned())];
        assert_eq!(of(FORM, "payee=b%0D%0Ac&x=1&amount=100").unwrap(), expected);
        assert_eq!(of("application/json", r#"{"payee":"b\nc","amount":100}"#).unwrap(), expected);
        let raw = of("application/json", r#"{"payee":"p","amount":1e2}"#).unwrap();
        assert_eq!(raw[0].1, "1e2", "as it is written: what it means is the handler's to say");
        for (payee, shown) in [
            ("null", "null"),
            (r#""null""#, r#""null""#),
            (r#""\"null\"""#, r#""\"null\"""#),
            (r#""eve""#, "eve"),
        ] {
            let of = of("application/json", &format!(r#"{{"payee":{payee},"amount":1}}"#)).unwrap();
            assert_eq!(of[1].1, shown, "nothing is approved as something else");
        }
        for (content_type, body, code) in [
            (FORM, "payee=b&amount=1&amount=2", "duplicate"),
            (FORM, "payee=b", "required"),
            ("application/json", r#"{"payee":"b"}"#, "required"),
        ] {
            assert_eq!(of(content_type, body).unwrap_err()[0].code, code, "{body}");
        }
        for odd in [
            "%00",
            "%E2%80%AE",
            "%E2%81%A6",
            "%E2%80%8B",
            "%7F",
            "%D8%9C",
            "%C2%AD",
            "%E3%85%A4",
            "%F3%A0%81%81",
            // A Braille cell without dots, a joiner of graphemes, the other joiners, selectors of variants.
            "%E2%A0%80",
            "%CD%8F",
            "%E2%80%8C",
            "%E2%80%8D",
            "%EF%B8%8F",
            "%F3%A0%84%80",
            "%E1%A0%8B",
            "%EE%80%80",
        ] {
            assert_eq!(of(FORM, &format!("payee=b{odd}&amount=1")).unwrap_err()[0].code, "invalid", "{odd}");
        }
        for payee in ["b+", "+b", "b%C2%A0", "b%E3%80%80", "b%0D%0A", "+"] {
            assert_eq!(
                of(FORM, &format!("payee={payee}&amount=1")).unwrap_err()[0].code,
                "invalid",
                "{payee}"
            );
        }
        assert!(of(FORM, "payee=b+c&amount=1").is_ok());
        for odd in ["\u{2800}", "\\u2800", "\u{34f}", "\\u034f", "\\u200c", "\u{fe0f}"] {
            for payee in [format!("\"b{odd}\""), format!("[\"b{odd}\"]")] {
                let of = of("application/json", &format!("{{\"payee\":{payee},\"amount\":1}}"));
                // What is written with its number is seen.
                let is_seen = payee.starts_with('[') && odd.starts_with('\\');
                assert_eq!(of.is_ok(), is_seen, "{payee}");
            }
        }
        for charset in ["utf-16le", "iso-8859-1", "", "utf-8; charset=utf-16"] {
            let other = format!("{FORM}; charset={charset}");
            assert!(
                of(&other, "payee=b&amount=1").unwrap_err().is_empty(),
                "{charset}: others read it otherwise"
            );
        }
        assert!(of(&format!("{FORM};charset=UTF-8"), "payee=b&amount=1").is_ok());
        let long = format!("payee=b&amount={}", "1".repeat(1025));
        assert_eq!(of(FORM, &long).unwrap_err()[0].code, "too_long");
        for (content_type, body) in [
            ("application/json", r#"{"payee":"b","amount":1,"amount":2}"#),
            ("text/plain", "payee=b&amount=1"),
            ("application/json", "payee=b&amount=1"),
        ] {
            assert!(of(content_type, body).unwrap_err().is_empty(), "{body}");
        }
    }
}
