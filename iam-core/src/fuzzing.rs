//! What must hold for any input, for `cargo xtask fuzz`; a plain test runs it on the inputs that are kept in `fuzz/corpus`.

use unicode_normalization::char::canonical_combining_class;

use crate::base::base_url::BaseUrl;
use crate::base::id::AccountId;
use crate::base::text::{is_ignorable, is_seen};
use crate::base::typed;
use crate::model::account::{EmailAddress, LoginIdentifier, MAX_IDENTIFIER_BYTES, Username};
use crate::model::parent::ParentKey;
use crate::model::proof::{ProofMethod, Proofs};
use crate::model::role::RoleName;
use crate::password::{
    Argon2id, HashMemory, HashVerdict, PasswordHash, PasswordScheme, argon2id, bcrypt, pepper,
};

/// What people type and paste.
pub fn typed(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let code = typed::code(text);
    assert_eq!(typed::code(&code).as_str(), code.as_str(), "a fixed point");
    assert!(code.len() <= text.len(), "{text:?}");
    assert!(!code.chars().any(|c| c.is_whitespace() || matches!(c, '-' | '\u{2212}')), "{text:?}");
    assert!(code.chars().all(|c| is_seen(c) || c.is_control() || !is_ignorable(c)), "{text:?}");
    // Nothing comes into it, and no letter or sign is lost on the way.
    let counts = |text: &str| text.chars().filter(|c| c.is_alphabetic() && !is_ignorable(*c)).count();
    assert_eq!(counts(&code), counts(text), "{text:?}");
    let name = typed::name(text);
    assert_eq!(typed::name(name), name, "a fixed point");
    assert!(text.contains(name));
    let without = text.replacen(name, "", 1);
    assert!(name.is_empty() || without.chars().all(|c| c.is_whitespace() || !is_seen(c)), "{text:?}");
    assert!(!name.starts_with(' ') && !name.ends_with(' '), "{text:?}");
}

/// Everything that names somebody or something.
pub fn identifiers(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(name) = Username::parse(text) {
        assert_eq!(Username::parse(name.as_str()).as_ref(), Ok(&name));
        assert!(!name.as_str().contains(['@', ' ']), "{name:?}");
        assert_presentable(name.as_str());
        assert_eq!(LoginIdentifier::parse(text), Ok(LoginIdentifier::Username(name)));
    }
    if let Ok(address) = EmailAddress::parse(text) {
        assert_eq!(EmailAddress::parse(address.as_str()).as_ref(), Ok(&address));
        let (local, domain) = address.as_str().split_once('@').unwrap_or_default();
        assert!(!local.is_empty() && !domain.is_empty() && !domain.contains('@'), "{address:?}");
        assert!(domain.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b)));
        assert_presentable(address.as_str());
        // Nothing that is not seen is left out on the way: that would be another spelling of the address.
        let is_joiner = |c| matches!(c, '\u{200c}' | '\u{200d}');
        assert!(text.chars().all(|c| is_seen(c) || is_joiner(c)), "{text:?}");
        assert!(Username::parse(text).is_err(), "an address is no name");
        assert_eq!(LoginIdentifier::parse(text), Ok(LoginIdentifier::Email(address)));
    }
    if let Ok(identifier) = LoginIdentifier::parse(text) {
        let canonical = identifier.canonical();
        assert!(!canonical.chars().any(char::is_control), "{canonical:?}");
        // Never anybody's name.
        assert_eq!(matches!(identifier, LoginIdentifier::Unknown(_)), canonical.starts_with(' '));
        assert_eq!(LoginIdentifier::parse(&format!(" {text} ")).as_ref(), Ok(&identifier));
    }
    if let Ok(role) = RoleName::parse(text) {
        assert_eq!(role.as_str(), text);
        assert!(
            text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>&,@/\\".contains(&b))
        );
        assert_eq!(role.is_reserved(), text.to_ascii_lowercase().starts_with("iam:"));
    }
    if let Ok(key) = ParentKey::parse(text) {
        assert_eq!(key.as_str(), text);
        // Where it does not claim to be in another alphabet.
        let is_label = BaseUrl::parse(&format!("https://{text}.example")).is_ok();
        assert!(is_label || text.starts_with("xn--"), "a label of a host");
    }
    if let Ok(id) = text.parse::<AccountId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(base) = BaseUrl::parse(text) {
        assert_eq!(BaseUrl::parse(&base.origin()).as_ref(), Ok(&base));
        assert!(base.is_https() || base.is_loopback());
    }
}

/// No character that can't be seen, or that changes how its neighbours are shown.
fn assert_presentable(name: &str) {
    assert!(name.len() <= MAX_IDENTIFIER_BYTES, "{name:?}");
    let mut before = None;
    for c in name.chars() {
        let hidden = matches!(c,
            '\0'..='\x20' | '\x7f'..='\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{1680}'
            | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200b}' | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{3000}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{10ffff}');
        assert!(!hidden, "{c:?} in {name:?}");
        // The joiners are letters where a script needs them (RFC 5892, appendix A): after a virama, or between letters that join.
        let after_virama = before.is_some_and(|before| canonical_combining_class(before) == 9);
        let after_letter = before.is_some_and(|before: char| !before.is_ascii());
        assert!(c != '\u{200d}' || after_virama, "{name:?}");
        assert!(c != '\u{200c}' || after_letter, "{name:?}");
        before = Some(c);
    }
}

/// What a session has proved, as a store may have it.
pub fn proofs(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let proofs = Proofs::parse(text);
    assert!(proofs.iter().count() <= 2 * ProofMethod::ALL.len(), "{text:?}");
    // Nothing is made up, and what is written is read as it was.
    for proof in proofs.iter() {
        let word = format!("{}@", proof.by);
        assert!(text.contains(&word) && (!proof.step_up || text.contains("step_up:")), "{text:?}");
    }
    let written = proofs.to_string();
    assert!(written.len() <= 768, "{written:?}");
    assert_eq!(Proofs::parse(&written), proofs, "a fixed point");
    assert_eq!(
        proofs.amr_text().split(' ').any(|value| value == "mfa"),
        proofs.assurance().as_str() == "aal2"
    );
}

/// A stored hash, which somebody else may have put there.
pub fn phc(data: &[u8]) {
    let stored = PasswordHash::from_stored_bytes(data);
    let text = stored.expose();
    let inner = pepper::split(text).map_or(text, |(_, inner)| inner);
    let argon2 = argon2id::Stored::parse(inner);
    let bcrypt = bcrypt::Stored::parse(inner);
    assert!(argon2.is_none() || bcrypt.is_none(), "one text, two schemes");
    if let Some(stored) = argon2 {
        assert!(stored.params.block_count() <= 256 * 1024);
        for (name, most) in [("m=", 256 * 1024), ("t=", 10), ("p=", 16)] {
            for value in inner.split(['$', ',']).filter_map(|part| part.strip_prefix(name)) {
                assert!(value.parse::<u64>().is_ok_and(|value| (1..=most).contains(&value)), "{inner:?}");
            }
        }
        // What costs nothing is computed.
        if stored.params.m_cost() <= 16 && stored.params.t_cost() == 1 {
            let verdict = Argon2id::default().verify(b"x", inner, &mut HashMemory::default());
            assert!(matches!(verdict, HashVerdict::Mismatch | HashVerdict::Unusable), "{inner:?}");
        }
    }
    if let Some(stored) = bcrypt {
        assert!((4..=14).contains(&stored.cost) && inner.len() == 60, "{inner:?}");
        assert_eq!(inner.get(4..7), Some(format!("{:02}$", stored.cost).as_str()));
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
    fn identifiers() {
        replay("identifiers", super::identifiers);
    }

    #[test]
    fn typed() {
        replay("typed", super::typed);
    }

    #[test]
    fn proofs() {
        replay("proofs", super::proofs);
    }

    #[test]
    fn phc() {
        replay("phc", super::phc);
    }
}
