//! Url-encoded forms and queries. A name that stands twice is refused: which value counts can't be told.

use std::fmt;

use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use crate::fields::{BodyError, FieldError, is_media_type};

const MAX_FIELDS: usize = 64;

/// The fields of a form.
pub(crate) struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// Reads a body.
    pub(crate) fn parse(content_type: &[&[u8]], body: &[u8]) -> Result<Self, BodyError> {
        if is_form(content_type) { Self::decode(body) } else { Err(BodyError::UnsupportedMediaType) }
    }

    fn decode(text: &[u8]) -> Result<Self, BodyError> {
        let mut fields: Vec<(String, Zeroizing<String>)> = Vec::new();
        for pair in text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            let mut sides = pair.splitn(2, |b| *b == b'=');
            let name = decode_part(sides.next().unwrap_or_default())?;
            let value = decode_part(sides.next().unwrap_or_default())?;
            if fields.iter().any(|(known, _)| *known == *name) {
                return Err(duplicate(&name));
            }
            if fields.len() == MAX_FIELDS {
                return Err(BodyError::Malformed("too many fields"));
            }
            fields.push((name.to_string(), value));
        }
        Ok(Self(fields))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The fields of a form as they were sent, names more than once included.
pub(crate) fn form_pairs(content_type: &[&[u8]], body: &[u8]) -> Result<Vec<(String, String)>, BodyError> {
    if !is_form(content_type) {
        return Err(BodyError::UnsupportedMediaType);
    }
    let mut fields = Vec::new();
    for pair in body.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
        let mut sides = pair.splitn(2, |b| *b == b'=');
        let name = decode_part(sides.next().unwrap_or_default())?;
        let value = decode_part(sides.next().unwrap_or_default())?;
        fields.push((name.to_string(), value.to_string()));
    }
    Ok(fields)
}

/// An url-encoded form, in UTF-8: in another charset a handler would read something else than we do.
pub(crate) fn is_form(content_type: &[&[u8]]) -> bool {
    is_media_type(content_type, b"application/x-www-form-urlencoded")
}

/// Names only: values may be secret.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Reads what a page knows of the query of its address. Whatever else stands there is somebody else's (a campaign's, a mail program's) and
/// is passed by, whether it can be read or not. What is known and stands twice is refused: which value counts can't be told. A `next` that
/// can't be read is as none.
pub(crate) fn parse_query(query: &str, known: &[&str]) -> Result<Form, BodyError> {
    let (mut fields, mut seen) = (Vec::new(), Vec::new());
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Ok(name) = decode_part(name.as_bytes()) else { continue };
        let Some(name) = known.iter().find(|known| **known == *name) else { continue };
        if seen.contains(name) {
            return Err(duplicate(name));
        }
        seen.push(*name);
        match decode_part(value.as_bytes()) {
            Ok(value) => fields.push(((*name).to_owned(), value)),
            Err(_) if *name == "next" => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Form(fields))
}

fn duplicate(name: &str) -> BodyError {
    let field = name.chars().take(64).collect();
    BodyError::Fields(vec![FieldError {
        field,
        code: "duplicate",
        detail: "is there more than once".to_owned(),
    }])
}

fn decode_part(part: &[u8]) -> Result<Zeroizing<String>, BodyError> {
    let spaced = Zeroizing::new(part.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect::<Vec<u8>>());
    let decoded = percent_decode(&spaced).decode_utf8().map_err(|_| BodyError::Malformed("not UTF-8"))?;
    Ok(Zeroizing::new(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &[u8]) -> Result<Form, BodyError> {
        Form::parse(&[b"application/x-www-form-urlencoded"], body)
    }

    #[test]
    fn decodes_as_browsers_encode() {
        let form = parse(b"username=a+b%2B%C3%A9&password=&x").unwrap();
        assert_eq!(form.get("username"), Some("a b+é"));
        assert_eq!(form.get("password"), Some(""));
        assert_eq!(form.get("x"), Some(""));
        assert_eq!(form.get("y"), None);
        assert_eq!(format!("{form:?}"), r#"["username", "password", "x"]"#);
    }

    #[test]
    fn refuses_what_is_ambiguous() {
        assert!(matches!(parse(b"a=1&a=2"), Err(BodyError::Fields(_))));
        assert!(matches!(parse(b"a=1&%61=2"), Err(BodyError::Fields(_))));
        assert!(matches!(parse(b"a=%ff"), Err(BodyError::Malformed(_))));
        let many = (0..65).map(|n| format!("f{n}=")).collect::<Vec<_>>().join("&");
        assert!(matches!(parse(many.as_bytes()), Err(BodyError::Malformed(_))));
        for types in [&[][..], &[b"text/plain".as_slice()], &[b"application/json"], &[b"multipart/form-data"]]
        {
            assert!(matches!(Form::parse(types, b""), Err(BodyError::UnsupportedMediaType)));
        }
    }

    #[test]
    fn of_a_query_a_page_reads_what_it_knows() {
        let query = |text: &str| parse_query(text, &["next", "done"]);
        let read = query("utm_source=a&utm_source=b&fbclid=%FF&%FF=1&&=&next=%2Freports&x").unwrap();
        assert_eq!((read.get("next"), read.get("done"), read.get("x")), (Some("/reports"), None, None));
        assert_eq!(query("done&next=%FF").unwrap().get("next"), None);
        assert_eq!(query("done").unwrap().get("done"), Some(""));
        let many = (0..100).map(|n| format!("f{n}=&")).collect::<Vec<_>>().concat();
        assert_eq!(query(&format!("{many}next=/a+b")).unwrap().get("next"), Some("/a b"));
        for twice in ["next=/a&next=/a", "next=%FF&next=/a", "next=/a&n%65xt=/b"] {
            assert!(matches!(query(twice), Err(BodyError::Fields(_))), "{twice}");
        }
        assert!(matches!(query("done=%FF"), Err(BodyError::Malformed(_))));
    }

    proptest::proptest! {
        #[test]
        fn no_query_does_harm(query in ".{0,100}") {
            let _ = parse_query(&query, &["next"]);
        }

        #[test]
        fn no_body_does_harm(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = parse(&body);
        }
    }
}
