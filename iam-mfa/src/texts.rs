//! What messages say: a catalogue of texts, each of which a host may replace.

use std::collections::BTreeMap;

use iam_core::ports::{Content, Message};
use zeroize::Zeroizing;

const IN_CODES: &[&str] = &["service", "username", "code", "minutes"];
const IN_NOTICES: &[&str] = &["service", "username", "at", "address"];

/// The built-in texts by their keys, in English: to translate, or to see which there are.
///
/// `code.subject` and `code.body` may use `{service}`, `{username}`, `{code}` and `{minutes}`; the subjects and bodies of notices
/// `{service}`, `{username}`, `{at}` and `{address}`.
pub fn built_in_texts() -> BTreeMap<String, String> {
    // The tests read it; a catalogue that can't be read makes every message say so.
    serde_json::from_str(include_str!("../texts/en.json")).unwrap_or_default()
}

/// A message in words.
pub(crate) struct Written {
    pub(crate) subject: Zeroizing<String>,
    pub(crate) body: Zeroizing<String>,
}

/// The catalogue with what a host has replaced.
#[derive(Clone, Debug)]
pub(crate) struct Texts(BTreeMap<String, String>);

impl Texts {
    /// Replaces texts. What is wrong with them is added to the problems.
    pub(crate) fn with(replaced: Vec<(String, String)>, problems: &mut Vec<String>) -> Self {
        let mut texts = built_in_texts();
        for (key, text) in replaced {
            if !texts.contains_key(&key) {
                problems.push(format!("there is no text `{key}`"));
                continue;
            }
            let known = placeholders_of(&key);
            let unknown = parts(&text).find_map(|part| match part {
                Part::Name(name) if !known.contains(&name) => Some(name),
                _ => None,
            });
            if let Some(name) = unknown {
                problems.push(format!("the text `{key}` has {{{name}}}, which nobody fills in"));
            }
            if key == "code.body" && !text.contains("{code}") {
                problems.push(format!("the text `{key}` lacks {{code}}"));
            }
            // Who expects links beside codes can be sent to a page that asks for one.
            if key.starts_with("code.") && has_link(&text) {
                problems
                    .push(format!("the text `{key}` has a link, which a message with a code must not have"));
            }
            texts.insert(key, text);
        }
        Self(texts)
    }

    /// The words for a message, or nothing when there are none for what it says.
    pub(crate) fn write(&self, service: &str, message: &Message) -> Option<Written> {
        let (key, values) = match &message.content {
            Content::Code { code, minutes } => {
                ("code".to_owned(), vec![("code", code.clone()), ("minutes", minutes.to_string())])
            }
            Content::Notice { notice, at, address } => {
                let address = address.clone().or_else(|| self.0.get("address.unknown").cloned());
                let values = vec![("at", readable(at)), ("address", address.unwrap_or_default())];
                (format!("notice.{}", notice.as_str()), values)
            }
            _ => return None,
        };
        let mut values: Vec<_> =
            values.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect();
        values.push(("service", Zeroizing::new(harmless(service))));
        values.push(("username", Zeroizing::new(harmless(&message.username))));
        let subject = filled(self.0.get(&format!("{key}.subject"))?, &values);
        let body = filled(self.0.get(&format!("{key}.body"))?, &values);
        // A subject is one line, whatever a host's text is.
        let subject = Zeroizing::new(subject.replace(char::is_control, " "));
        Some(Written { subject, body })
    }
}

fn placeholders_of(key: &str) -> &'static [&'static str] {
    match key.split('.').next() {
        Some("code") => IN_CODES,
        Some("notice") => IN_NOTICES,
        _ => &[],
    }
}

fn has_link(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["://", "www.", "mailto:"].iter().any(|sign| text.contains(sign))
}

/// A name without what could break a line or make a link of it: people may have chosen it themselves.
fn harmless(name: &str) -> String {
    name.replace(char::is_control, " ").replace("://", " ")
}

/// `2026-01-01T00:00:00.000001Z` -> `2026-01-01 00:00 UTC`; whatever else as it is.
fn readable(at: &str) -> String {
    match (at.split_once('T'), at.strip_suffix('Z')) {
        (Some((day, time)), Some(_)) => match time.get(..5) {
            Some(minute) => format!("{day} {minute} UTC"),
            None => at.to_owned(),
        },
        _ => at.to_owned(),
    }
}

enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// Texts and `{names}` in turn.
fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut pieces = text.split('{');
    let first = pieces.next().map(Part::Text);
    let rest = pieces.flat_map(|piece| match piece.split_once('}') {
        Some((name, text)) => [Part::Name(name), Part::Text(text)],
        None => [Part::Text("{"), Part::Text(piece)],
    });
    first.into_iter().chain(rest)
}

/// Fills in all names in one go: what a value holds is not looked at again.
fn filled(text: &str, values: &[(&str, Zeroizing<String>)]) -> Zeroizing<String> {
    let value_of = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    let length = values.iter().map(|(_, value)| value.len()).sum::<usize>();
    let mut filled = Zeroizing::new(String::with_capacity(text.len() + 4 * length));
    for part in parts(text) {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Name(name) => filled.push_str(value_of(name).map_or("", |value| value.as_str())),
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use iam_core::ports::Notice;
    use serde_json::json;

    use super::*;
    use crate::testing::{code_for, message};

    fn texts(replaced: &[(&str, &str)]) -> Result<Texts, Vec<String>> {
        let mut problems = Vec::new();
        let replaced = replaced.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        let texts = Texts::with(replaced, &mut problems);
        if problems.is_empty() { Ok(texts) } else { Err(problems) }
    }

    #[test]
    fn every_notice_has_its_words() {
        let texts = texts(&[]).unwrap();
        for notice in Notice::ALL {
            let at = "2026-01-01T12:34:56.000001Z";
            let content = json!({ "notice": { "notice": notice, "at": at, "address": "192.0.2.7" } });
            let written = texts.write("Acme", &message("a@b.example", "amy", &content)).unwrap();
            assert!(written.subject.contains("Acme") && written.subject.len() < 70, "{}", *written.subject);
            for part in
                ["account amy at Acme", "When: 2026-01-01 12:34 UTC\n", "From: 192.0.2.7\n", "administrator"]
            {
                assert!(written.body.contains(part), "{}", *written.body);
            }
            assert!(!written.body.contains(['{', '}']) && !has_link(&written.body), "{}", *written.body);
            let content = json!({ "notice": { "notice": notice, "at": at, "address": null } });
            let written = texts.write("Acme", &message("a@b.example", "amy", &content)).unwrap();
            assert!(written.body.contains("From: unknown\n"));
        }
    }

    #[test]
    fn a_code_comes_without_a_link() {
        let written = texts(&[]).unwrap().write("Acme", &code_for("a@b.example")).unwrap();
        assert_eq!(*written.subject, "Your code for Acme");
        assert!(written.body.contains("\n    01234567\n") && written.body.contains("for 5 min"));
        assert!(!has_link(&written.body) && !written.body.contains(['{', '}', '/']));
    }

    #[test]
    fn built_in_texts_use_known_names_only() {
        let built_in: Vec<(String, String)> = built_in_texts().into_iter().collect();
        assert_eq!(built_in.len(), 2 + 2 * Notice::ALL.len() + 1);
        let mut problems = Vec::new();
        Texts::with(built_in, &mut problems);
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn what_can_not_work_is_said_at_once() {
        let problems = texts(&[
            ("code.subjekt", "x"),
            ("code.subject", "{at}"),
            ("code.body", "Go to https://acme.example/{minutes}"),
            ("notice.factors_reset.body", "{code}"),
            ("address.unknown", "{service}"),
        ])
        .unwrap_err();
        assert_eq!(
            problems,
            [
                "there is no text `code.subjekt`",
                "the text `code.subject` has {at}, which nobody fills in",
                "the text `code.body` lacks {code}",
                "the text `code.body` has a link, which a message with a code must not have",
                "the text `notice.factors_reset.body` has {code}, which nobody fills in",
                "the text `address.unknown` has {service}, which nobody fills in",
            ]
        );
    }

    #[test]
    fn values_are_not_read_again_and_break_nothing() {
        let texts = texts(&[
            ("code.subject", "{username}:\r\nBcc: x { {service}"),
            ("code.body", "{code} {username}"),
        ])
        .unwrap();
        let content = json!({ "code": { "code": "1", "minutes": 5 } });
        let hostile = message("a@b.example", "{code}\r\nBcc: https://evil.example", &content);
        let written = texts.write("Acme\n{username}", &hostile).unwrap();
        assert_eq!(*written.subject, "{code}  Bcc: https evil.example:  Bcc: x { Acme {username}");
        assert_eq!(*written.body, "1 {code}  Bcc: https evil.example");
    }
}
