//! What must hold for any input, for `cargo xtask fuzz`; a plain test runs it on the inputs that are kept in `fuzz/corpus`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use iam_core::protocol::{Carrier, DeviceToken, SessionToken, is_seen};
use url::Url;

use crate::address::{ForwardHeader, ProxyConfig, TrustedProxies, client_address};
use crate::context::bearer_token;
use crate::cookies::{CookieConfig, CookieKind, CookiePrefix};
use crate::fields::BodyError;
use crate::form::{Form, parse_query};
use crate::interrupted::{StoppedForm, approved_values, resumed_by, resuming, split_token};
use crate::json::StrictObject;
use crate::message::WebRequest;
use crate::next::LocalTarget;
use crate::respond::percent_encode;

const KINDS: [CookieKind; 3] = [CookieKind::Session, CookieKind::Device, CookieKind::Pre];

fn request(name: &str, lines: &[&[u8]]) -> WebRequest {
    let headers = lines.iter().map(|line| (name.to_owned(), line.to_vec())).collect();
    WebRequest { headers, ..WebRequest::default() }
}

/// The lines of `Cookie`, and what their values may be tokens of.
pub fn cookies(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|b| *b == b'\n').collect();
    let fits = lines.iter().map(|line| line.len()).sum::<usize>() <= 8 * 1024;
    for secure in [false, true] {
        let config = CookieConfig::new(secure, &CookiePrefix::default());
        for kind in KINDS {
            let value = config.read(&request("cookie", &lines), kind);
            // The same, read another way: all that there are have one value.
            let pairs = lines.iter().flat_map(|line| line.split(|b| *b == b';'));
            let mut values: Vec<&[u8]> = pairs
                .filter_map(|pair| {
                    let at = pair.iter().position(|b| *b == b'=')?;
                    let (name, value) = (pair.get(..at)?, pair.get(at + 1..)?);
                    (name.trim_ascii_start() == config.name(kind).as_bytes()).then(|| value.trim_ascii_end())
                })
                .collect();
            values.sort_unstable();
            values.dedup();
            assert!(value.is_none() || values.len() == 1);
            if fits {
                assert_eq!(values.len() > 1, config.is_ambiguous(&request("cookie", &lines), kind));
            }
            let Some(value) = value else { continue };
            assert!((1..=512).contains(&value.len()));
            assert!(value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{value:?}");
            // What was set reads back; set twice, or beside a neighbour's, it can be told.
            let set = config.set(kind, &value, None);
            let set = set.split(';').next().unwrap_or_default();
            assert_eq!(config.read(&request("cookie", &[set.as_bytes()]), kind).as_ref(), Some(&value));
            let beside = |more: &[u8]| {
                let lines: Vec<&[u8]> = lines.iter().copied().chain([more]).collect();
                config.read(&request("cookie", &lines), kind)
            };
            let other = format!("{}=x{value}", config.name(kind));
            assert_eq!(beside(other.as_bytes()), None, "sent with two values");
            if fits {
                assert_eq!(beside(set.as_bytes()).as_ref(), Some(&value), "sent twice");
                assert_eq!(beside(b"neighbour=1; IAM_SESSION=2").as_ref(), Some(&value));
            }
            for carrier in [Carrier::Cookie, Carrier::Bearer] {
                if let Some(token) = SessionToken::parse(&value, carrier) {
                    assert_eq!(*token.expose(), value, "one text for one token");
                }
            }
            if let Some(token) = DeviceToken::parse(&value) {
                assert_eq!(token.expose(), value, "one text for one note");
            }
        }
    }
    if let Some(token) = bearer_token(data) {
        let text = token.expose();
        assert!(token.carrier() == Carrier::Bearer && data.len() == "Bearer ".len() + text.len());
        assert!(data.ends_with(text.as_bytes()));
    }
}

/// Where to go after signing in.
pub fn next(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Some(target) = LocalTarget::parse(text) else { return };
    assert_eq!(target.as_str().len() == text.len(), text.is_ascii(), "what is no ASCII is encoded");
    assert!(!text.is_ascii() || target.as_str() == text, "nothing else is repaired");
    let text = target.as_str();
    assert_eq!(LocalTarget::parse(text).as_ref(), Some(&target), "a fixed point");
    assert!(text.bytes().all(|b| b.is_ascii_graphic()), "fit for a header");
    // As a query carries it.
    let carried = parse_query(&format!("next={}", percent_encode(text)), &["next"]).ok();
    assert_eq!(carried.as_ref().and_then(|query| query.get("next")), Some(text));
    // Here for every browser, and once more for a server that decodes the path and sends the browser there.
    let mut path = text.split(['?', '#']).next().unwrap_or_default().to_owned();
    for target in [text, path.clone().as_str()] {
        assert_stays(target);
    }
    for _ in 0..4 {
        path = percent_encoding::percent_decode_str(&path).decode_utf8_lossy().into_owned();
        assert!(!path.contains('\\') && !path.chars().any(char::is_control), "{text:?}");
        assert_stays(&path);
    }
}

fn assert_stays(target: &str) {
    for base in ["https://app.example/auth/login", "http://localhost:3000/", "https://[::1]:8443/a/b/?c#d"] {
        let Ok(base) = Url::parse(base) else { continue };
        let url = base.join(target).ok();
        let url = url.as_ref().filter(|url| url.origin() == base.origin() && url.username().is_empty());
        let again = url.and_then(|url| base.join(url.path()).ok());
        assert!(again.is_some_and(|again| again.origin() == base.origin()), "{target:?} leaves {base}");
    }
}

/// Who the client is, by what proxies and others say. The first byte chooses the header.
pub fn forwarded(data: &[u8]) {
    let (first, rest) = data.split_first().map_or((0, data), |(first, rest)| (*first, rest));
    let (header, name) = match first % 2 {
        0 => (ForwardHeader::XForwardedFor, "x-forwarded-for"),
        _ => (ForwardHeader::Forwarded, "forwarded"),
    };
    // Whatever is accepted for a list of proxies, an address counts the same in either form.
    if let Ok(trusted) = TrustedProxies::parse(&String::from_utf8_lossy(rest)) {
        let config = ProxyConfig { trusted, ..ProxyConfig::default() };
        for v4 in [Ipv4Addr::new(10, 1, 2, 3), Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 0, 2, 9)] {
            assert_eq!(config.trusts(v4.into()), config.trusts(v4.to_ipv6_mapped().into()));
        }
    }
    let Ok(trusted) = TrustedProxies::parse("10.0.0.0/8, ::1, 2001:db8:ffff::/48") else { return };
    let config = ProxyConfig { trusted, header, ..ProxyConfig::default() };
    let lines: Vec<&[u8]> = rest.split(|b| *b == b'\n').collect();
    let ask = |peer: IpAddr, lines: &[&[u8]]| client_address(peer, &request(name, lines), &config);

    let stranger = IpAddr::from(Ipv4Addr::new(192, 0, 2, 9));
    assert_eq!(ask(stranger, &lines), stranger, "a stranger is not believed");
    let mapped = Ipv4Addr::new(192, 0, 2, 9).to_ipv6_mapped();
    assert_eq!(ask(mapped.into(), &lines), stranger, "in either form");

    let proxy = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
    let client = ask(proxy, &lines);
    assert_eq!(client, client.to_canonical());
    assert_eq!(ask(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().into(), &lines), client);
    if !config.trusts(client) {
        // It was named; what lies left of it is anybody's invention.
        for invention in [b"\xff".as_slice(), b"for=\"", b"198.51.100.1", b"for=198.51.100.1"] {
            let lines: Vec<&[u8]> = [invention].into_iter().chain(lines.iter().copied()).collect();
            assert_eq!(ask(proxy, &lines), client);
        }
    }
    // What the proxy adds decides, whatever came before it: on a line of its own or at the end of the last one.
    let v4 = IpAddr::from(Ipv4Addr::new(203, 0, 113, 5));
    let v6 = IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7));
    let added = match header {
        ForwardHeader::XForwardedFor => [(v4, "203.0.113.5"), (v6, "2001:db8:1::7")],
        ForwardHeader::Forwarded => {
            [(v4, "for=203.0.113.5;proto=https"), (v6, "proto=https;for=\"[2001:db8:1::7]:4711\"")]
        }
    };
    for (address, element) in added {
        let apart: Vec<&[u8]> = lines.iter().copied().chain([element.as_bytes()]).collect();
        assert_eq!(ask(proxy, &apart), address);
        let (last, before) = lines.split_last().map_or((&b""[..], &[][..]), |(last, before)| (*last, before));
        let joined = [last, b", ", element.as_bytes()].concat();
        let joined: Vec<&[u8]> = before.iter().copied().chain([joined.as_slice()]).collect();
        assert_eq!(ask(proxy, &joined), address);
    }
}

/// Bodies: as JSON, and as a form.
pub fn json(data: &[u8]) {
    let shape = Shape::of(data);
    let value = serde_json::from_slice::<serde_json::Value>(data).ok();
    match StrictObject::parse(&[b"application/json"], data) {
        Ok(object) => {
            let value = value.unwrap_or_default();
            assert!(value.is_object() && shape.depth <= 32);
            assert_eq!(shape.members, members(&value), "a name that stands twice");
            let mut fields = object.fields();
            for (name, value) in value.as_object().into_iter().flatten() {
                match value {
                    serde_json::Value::Bool(_) => assert_eq!(fields.optional_bool(name), value.as_bool()),
                    _ => assert_eq!(
                        fields.required_string(name).as_deref().map(String::as_str),
                        value.as_str()
                    ),
                }
            }
            match fields.finish() {
                Ok(()) => {}
                Err(error) => assert_told_briefly(&error),
            }
        }
        Err(error) => {
            assert_told_briefly(&error);
            if let Some(value) = value.filter(serde_json::Value::is_object) {
                assert!(shape.depth > 32 || shape.members > members(&value), "{error:?} for nothing");
            }
        }
    }
    match Form::parse(&[b"application/x-www-form-urlencoded"], data) {
        Ok(form) => {
            let mut fields: Vec<_> = form_urlencoded::parse(data).collect();
            assert!(fields.len() <= 64);
            for (name, value) in &fields {
                assert_eq!(form.get(name), Some(value.as_ref()));
            }
            fields.sort_unstable();
            assert!(
                fields.windows(2).all(|pair| !matches!(pair, [a, b] if a.0 == b.0)),
                "a name that stands twice"
            );
        }
        Err(error) => assert_told_briefly(&error),
    }
}

/// A form or a JSON object, of which a person approves some fields: it is what the handler will read, and comes back as it was.
pub fn approved(data: &[u8]) {
    const NAMES: [&str; 2] = ["amount", "payee"];
    let request = |kind: &str| WebRequest {
        method: "POST".to_owned(),
        target: "/pay".to_owned(),
        ..request("content-type", &[kind.as_bytes()])
    };
    let form = request("application/x-www-form-urlencoded");
    // As the frameworks' extractors read it.
    let read: Vec<(String, String)> = form_urlencoded::parse(data).into_owned().collect();
    if let Ok(values) = approved_values(&form, data, &NAMES) {
        for (name, value) in &values {
            assert!(value.chars().all(|c| c == '\n' || c == '\t' || c == '\r' || is_seen(c)), "{value:?}");
            let mut same = read.iter().filter(|(known, _)| known == name);
            assert_eq!(same.next().map(|(_, value)| value.replace("\r\n", "\n")).as_ref(), Some(value));
            assert!(same.next().is_none(), "{name} is there twice");
        }
    }
    if let Some(stopped) = StoppedForm::of(&form, data) {
        let sent = form_urlencoded::Serializer::new(String::new()).extend_pairs(&stopped.fields).finish();
        let again = StoppedForm::of(&form, sent.as_bytes()).map(|form| form.fields);
        assert_eq!(again.as_ref(), Some(&stopped.fields));
        let kept: Vec<_> = read.iter().filter(|(name, _)| name != "csrf_token").cloned().collect();
        assert_eq!(stopped.fields, kept);
    }
    if let Some(id) = resumed_by(&form, data) {
        let token = read.iter().find(|(name, _)| name == "csrf_token").map(|(_, token)| token.as_str());
        let (plain, again) = split_token(token.unwrap_or_default());
        assert_eq!((again, resuming(plain, id).as_str()), (Some(id), token.unwrap_or_default()));
    }
    if let Ok(values) = approved_values(&request("application/json"), data, &NAMES) {
        let object: serde_json::Value = serde_json::from_slice(data).unwrap_or_default();
        for (name, value) in values {
            // What reads as a value is that value; everything else is the text itself. So no two things are approved as one.
            match (serde_json::from_str::<serde_json::Value>(&value), object.get(&name)) {
                (Ok(read), member) => assert_eq!(Some(&read), member, "{value}"),
                (Err(_), member) => {
                    let text = member.and_then(serde_json::Value::as_str).unwrap_or_default();
                    assert_eq!(text.replace("\r\n", "\n"), value);
                }
            }
        }
    }
}

/// What an answer says of a body that somebody else wrote.
fn assert_told_briefly(error: &BodyError) {
    if let BodyError::Fields(errors) = error {
        assert!(!errors.is_empty());
        assert!(errors.iter().all(|error| error.field.chars().count() <= 64));
    }
}

/// What can be told of JSON without reading its values.
#[derive(Default)]
struct Shape {
    depth: usize,
    members: usize,
}

impl Shape {
    fn of(data: &[u8]) -> Self {
        let (mut shape, mut depth) = (Self::default(), 0_usize);
        let (mut quoted, mut escaped) = (false, false);
        for byte in data {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'{' | b'[' if !quoted => {
                    depth += 1;
                    shape.depth = shape.depth.max(depth);
                }
                b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
                b':' if !quoted => shape.members += 1,
                _ => {}
            }
        }
        shape
    }
}

/// The members of all objects in a value, where no name can stand twice.
fn members(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        serde_json::Value::Array(items) => items.iter().map(members).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// What the fuzzer begins with, and what it once found.
    fn replay(target: &str, property: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        let inputs: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(inputs.len() >= 12, "{} lacks inputs", corpus.display());
        for input in inputs {
            println!("{}", input.display());
            property(&fs::read(&input).unwrap());
        }
    }

    #[test]
    fn cookies() {
        replay("cookies", super::cookies);
    }

    #[test]
    fn next() {
        replay("next", super::next);
    }

    #[test]
    fn forwarded() {
        replay("forwarded", super::forwarded);
    }

    #[test]
    fn json() {
        replay("json", super::json);
    }

    #[test]
    fn approved() {
        replay("approved", super::approved);
    }
}
