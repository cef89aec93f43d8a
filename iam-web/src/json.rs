//! Strict JSON (RFC 8259): an object whose every field is known, there once, and of its type.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use zeroize::Zeroizing;

use crate::fields::{BodyError, FieldError, is_media_type};

const MAX_DEPTH: usize = 32;
/// What an answer tells at most, whatever was sent.
const MAX_ERRORS: usize = 32;
const MAX_NAME: usize = 64;

/// An object of a request, each field with its value. What is neither a string nor true or false is kept as that fact
/// alone: no request of this family has other values yet.
pub(crate) struct StrictObject(Vec<(String, Member)>);

enum Member {
    Text(Zeroizing<String>),
    Bool(bool),
    Other,
}

impl StrictObject {
    /// Reads a body.
    pub(crate) fn parse(content_type: &[&[u8]], body: &[u8]) -> Result<Self, BodyError> {
        if !is_json(content_type) {
            return Err(BodyError::UnsupportedMediaType);
        }
        let (mut members, mut duplicate) = (None, None);
        let document = Document { depth: 0, path: "", members: &mut members, duplicate: &mut duplicate };
        let mut reader = serde_json::Deserializer::from_slice(body);
        document.deserialize(&mut reader).and_then(|_| reader.end()).map_err(|error| {
            BodyError::Malformed(if error.is_data() { "nested too deeply" } else { "not JSON" })
        })?;
        let fault = |name: &str, code, detail| BodyError::Fields(vec![error_at(name, code, detail)]);
        match (members, duplicate) {
            (None, _) => Err(fault("", "wrong_type", "an object is expected")),
            (_, Some(name)) => Err(fault(&name, "duplicate", "is there more than once")),
            (Some(members), None) => Ok(Self(members)),
        }
    }

    /// To take the fields out one by one.
    pub(crate) fn fields(self) -> Fields {
        Fields { members: self.0, errors: Vec::new() }
    }
}

/// Takes fields, and collects what is wrong with them.
pub(crate) struct Fields {
    members: Vec<(String, Member)>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// A text that must be there.
    pub(crate) fn required_string(&mut self, name: &str) -> Option<Zeroizing<String>> {
        let Some(at) = self.members.iter().position(|(known, _)| known == name) else {
            self.errors.push(error_at(name, "required", "is required"));
            return None;
        };
        match self.members.swap_remove(at).1 {
            Member::Text(text) => Some(text),
            Member::Bool(_) | Member::Other => {
                self.errors.push(error_at(name, "wrong_type", "must be a string"));
                None
            }
        }
    }

    /// A text, if it is there.
    pub(crate) fn optional_string(&mut self, name: &str) -> Option<Zeroizing<String>> {
        if self.members.iter().any(|(known, _)| known == name) { self.required_string(name) } else { None }
    }

    /// Yes or no, if it is there.
    pub(crate) fn optional_bool(&mut self, name: &str) -> Option<bool> {
        let at = self.members.iter().position(|(known, _)| known == name)?;
        match self.members.swap_remove(at).1 {
            Member::Bool(value) => Some(value),
            Member::Text(_) | Member::Other => {
                self.errors.push(error_at(name, "wrong_type", "must be true or false"));
                None
            }
        }
    }

    /// Everything that was wrong, fields that nobody took included.
    pub(crate) fn finish(mut self) -> Result<(), BodyError> {
        for (name, _) in self.members.iter().take(MAX_ERRORS) {
            self.errors.push(error_at(name, "unknown", "is not known here"));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(BodyError::Fields(self.errors)) }
    }
}

fn error_at(field: &str, code: &'static str, detail: &str) -> FieldError {
    // A name comes from the request: enough of it to be recognised.
    let field = field.chars().take(MAX_NAME).collect();
    FieldError { field, code, detail: detail.to_owned() }
}

fn is_json(content_type: &[&[u8]]) -> bool {
    is_media_type(content_type, b"application/json")
}

/// Reads a value, with the duplicates in it; the outermost object gives its members away.
struct Document<'a> {
    depth: usize,
    path: &'a str,
    members: &'a mut Option<Vec<(String, Member)>>,
    duplicate: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Member, E> {
        Ok(Member::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Member, E> {
        Ok(Member::Text(Zeroizing::new(text)))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Member, E> {
        Ok(Member::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Member, A::Error> {
        let depth = deeper(self.depth)?;
        for at in 0.. {
            let path = inside(self.path, &at.to_string());
            let item = Document { depth, path: &path, members: &mut None, duplicate: &mut *self.duplicate };
            if seq.next_element_seed(item)?.is_none() {
                break;
            }
        }
        Ok(Member::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Member, A::Error> {
        let depth = deeper(self.depth)?;
        let (mut names, mut members) = (BTreeSet::new(), Vec::new());
        while let Some(name) = map.next_key::<String>()? {
            let path = inside(self.path, &name);
            let value = Document { depth, path: &path, members: &mut None, duplicate: &mut *self.duplicate };
            let value = map.next_value_seed(value)?;
            if names.insert(name.clone()) {
                members.push((name, value));
            } else {
                self.duplicate.get_or_insert(path);
            }
        }
        if self.depth == 0 {
            *self.members = Some(members);
        }
        Ok(Member::Other)
    }
}

fn deeper<E: de::Error>(depth: usize) -> Result<usize, E> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(E::custom("nested too deeply")) }
}

/// The name of what lies inside: `items.0.name`. No longer than what an error shows of it.
fn inside(path: &str, name: &str) -> String {
    let whole = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    whole.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(body: &str) -> Result<(String, String), BodyError> {
        let mut fields = StrictObject::parse(&[b"application/json"], body.as_bytes())?.fields();
        let (username, password) = (fields.required_string("username"), fields.required_string("password"));
        fields.finish()?;
        Ok((username.unwrap().to_string(), password.unwrap().to_string()))
    }

    fn wrong(body: &str) -> Vec<(String, &'static str)> {
        match login(body).unwrap_err() {
            BodyError::Fields(errors) => errors.into_iter().map(|e| (e.field, e.code)).collect(),
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn fields_are_named() {
        let right = r#"{"username": "a\u00e9", "password": "p"}"#;
        assert_eq!(login(right).unwrap(), ("aé".to_owned(), "p".to_owned()));
        assert_eq!(wrong("{}"), [("username".to_owned(), "required"), ("password".to_owned(), "required")]);
        assert_eq!(
            wrong(r#"{"username":1,"password":["p"]}"#),
            [("username".to_owned(), "wrong_type"), ("password".to_owned(), "wrong_type")]
        );
        assert_eq!(wrong(r#"{"username":null,"password":"p"}"#), [("username".to_owned(), "wrong_type")]);
        assert_eq!(wrong(r#"{"username":"a","password":"p","role":"x"}"#), [("role".to_owned(), "unknown")]);
        assert_eq!(
            wrong(r#"{"username":"a","password":"p","password":"q"}"#),
            [("password".to_owned(), "duplicate")]
        );
        assert_eq!(
            wrong(r#"{"username":"a","password":"p","passwor\u0064":"q"}"#),
            [("password".to_owned(), "duplicate")]
        );
        assert_eq!(wrong("[]"), [(String::new(), "wrong_type")]);
        assert_eq!(wrong("\"secret\""), [(String::new(), "wrong_type")]);
    }

    #[test]
    fn what_is_no_json() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        for body in ["", "{", "{}x", "{\"username\":\"a\",}", "{'a':1}", "nul", deep.as_str()] {
            assert!(matches!(login(body), Err(BodyError::Malformed(_))), "{body}");
        }
        let invalid = StrictObject::parse(&[b"application/json"], b"{\"a\":\"\xff\"}");
        assert!(matches!(invalid.map(|_| ()), Err(BodyError::Malformed(_))));
    }

    #[test]
    fn depth_and_duplicates_inside() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        let parse = |body: &str| StrictObject::parse(&[b"application/json"], body.as_bytes()).map(|_| ());
        assert_eq!(parse(&nested(32)), Ok(()));
        for deep in [nested(33), nested(100), nested(200), "[".repeat(100_000)] {
            assert_eq!(parse(&deep), Err(BodyError::Malformed("nested too deeply")));
        }
        let inside = r#"{"username":"a","password":"p","x":[{"c":1},{"c":1,"c":2}]}"#;
        assert_eq!(wrong(inside), [("x.1.c".to_owned(), "duplicate")]);
        // What can't be read is not searched for fields.
        for cut in ["[1", "[] x", "\"a", r#"{"a":1,"a":2"#] {
            assert_eq!(parse(cut), Err(BodyError::Malformed("not JSON")), "{cut}");
        }
    }

    #[test]
    fn media_types() {
        let parse = |types: &[&[u8]]| StrictObject::parse(types, b"{}").map(|_| ());
        assert!(parse(&[b"application/json"]).is_ok());
        assert!(parse(&[b"Application/JSON; charset=UTF-8"]).is_ok());
        for types in [
            &[][..],
            &[b"text/plain".as_slice()],
            &[b"application/x-www-form-urlencoded"],
            &[b"application/json; charset=latin1"],
            &[b"application/json", b"text/plain"],
            &[b"multipart/form-data"],
        ] {
            assert_eq!(parse(types), Err(BodyError::UnsupportedMediaType));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_does_harm(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = StrictObject::parse(&[b"application/json"], &body);
        }
    }
}
