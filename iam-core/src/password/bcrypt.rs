//! bcrypt, as other programs stored it: verified, never made.

use ::bcrypt::bcrypt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{HashMemory, HashVerdict, PasswordScheme};

/// bcrypt looks at no more of a password than this.
const MAX_BYTES: usize = 72;

const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 23;
const SALT_CHARS: usize = 22;
const TAG_CHARS: usize = 31;

const MIN_COST: u32 = 4;
/// About a second of a core. Each step more doubles it, and 31 would keep a hashing thread for days.
const MAX_COST: u32 = 14;

/// Hashes of bcrypt: `$2a$`, `$2b$` and `$2y$`, up to cost 14. Every service verifies them without being asked to.
///
/// `$2x$` marks what a faulty program made of other passwords than were typed: it is not accepted.
///
/// A password is compared as the programs that made the hash did: as a C string, so up to a zero byte, and no further than 72
/// bytes. Its bytes are those of its NFC form, as everywhere here.
///
/// At sign-in the hash is replaced by one of today's policy **only if bcrypt looked at the whole password and its end**: less
/// than 72 bytes, no zero byte. Otherwise nobody knows whether what was typed beyond is the owner's password, and a new hash
/// would bind it: the bcrypt hash stays until the password is changed.
///
/// **Timing.** A wrong password takes bcrypt's time as long as the account has such a hash, which differs from the time of
/// Argon2id. Who measures it learns that the account exists and has not signed in since it was brought over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bcrypt(());

impl PasswordScheme for Bcrypt {
    fn prefixes(&self) -> &[&'static str] {
        &["$2a$", "$2b$", "$2y$"]
    }

    fn can_verify(&self, stored: &str) -> bool {
        Stored::parse(stored).is_some()
    }

    fn verify(&self, password: &[u8], stored: &str, _: &mut HashMemory) -> HashVerdict {
        let Some(stored) = Stored::parse(stored) else { return HashVerdict::Unusable };
        let key = Zeroizing::new(c_string(password));
        let computed = bcrypt(stored.cost, stored.salt, &key);
        let computed = computed.get(..TAG_BYTES).unwrap_or_default();
        if !bool::from(computed.ct_eq(&stored.tag)) {
            return HashVerdict::Mismatch;
        }
        // One byte more than the password: its end was compared as well.
        HashVerdict::Match { outdated: key.len() == password.len() + 1 }
    }
}

/// What bcrypt's first programs took of a password: the bytes before a zero byte, with the zero byte, at most 72 in all.
fn c_string(password: &[u8]) -> Vec<u8> {
    let end = password.iter().position(|byte| *byte == 0).unwrap_or(password.len());
    let mut key = Vec::with_capacity(MAX_BYTES);
    key.extend(password.iter().take(end.min(MAX_BYTES)));
    if key.len() < MAX_BYTES {
        key.push(0);
    }
    key
}

/// A stored hash that may be computed.
pub(crate) struct Stored {
    pub(crate) cost: u32,
    salt: [u8; SALT_BYTES],
    tag: [u8; TAG_BYTES],
}

impl Stored {
    /// `$2b$12$`, 22 characters of salt, 31 of tag.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (version, rest) = text.strip_prefix('$')?.split_once('$')?;
        let (cost, rest) = rest.split_once('$')?;
        let (salt, tag) = rest.split_at_checked(SALT_CHARS)?;
        let two_digits = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
        let cost = cost.parse().ok().filter(|cost| two_digits && (MIN_COST..=MAX_COST).contains(cost))?;
        if !matches!(version, "2a" | "2b" | "2y") || tag.len() != TAG_CHARS {
            return None;
        }
        Some(Self { cost, salt: decode(salt)?, tag: decode(tag)? })
    }
}

/// bcrypt's own base64. Bits that are left over at the end count for nothing, as in its first programs.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (mut bytes, mut filled) = ([0; N], 0);
    let (mut bits, mut count) = (0_u32, 0);
    for c in text.bytes() {
        let value = match c {
            b'.' => 0,
            b'/' => 1,
            b'A'..=b'Z' => c - b'A' + 2,
            b'a'..=b'z' => c - b'a' + 28,
            b'0'..=b'9' => c - b'0' + 54,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            *bytes.get_mut(filled)? = u8::try_from((bits >> count) & 0xff).ok()?;
            filled += 1;
        }
    }
    (filled == N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(password: &[u8], stored: &str) -> HashVerdict {
        Bcrypt::default().verify(password, stored, &mut HashMemory::default())
    }

    const MATCH: HashVerdict = HashVerdict::Match { outdated: true };
    const KEPT: HashVerdict = HashVerdict::Match { outdated: false };

    /// At the least cost, to be quick.
    fn made_of(password: &[u8]) -> String {
        const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let encode = |bytes: &[u8]| {
            let mut text = String::new();
            for chunk in bytes.chunks(3) {
                let bits = chunk.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte))
                    << (8 * (3 - chunk.len()));
                for n in 0..=chunk.len() {
                    text.push(char::from(ALPHABET[(bits >> (18 - 6 * n)) as usize & 63]));
                }
            }
            text
        };
        let salt = [7; SALT_BYTES];
        let tag = bcrypt(4, salt, &c_string(password));
        format!("$2b$04${}{}", encode(&salt), encode(&tag[..TAG_BYTES]))
    }

    /// From `crypt_blowfish`'s `wrapper.c` (public domain) and jBCrypt's TestBCrypt.java; the one beyond ASCII is libxcrypt's.
    #[test]
    fn verifies_what_others_made() {
        for (password, stored) in [
            (&b"U*U"[..], "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
            (b"U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
            (b"U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
            (b"", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"),
            (b"\xff\xff\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"),
            (b"\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq"),
            (b"", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
            (
                "p\u{e4}ssw\u{f6}rd \u{20ac}".as_bytes(),
                "$2a$05$/OK.fbVrR/bpIqNJ5ianF.b9PkerSnYGdcmk30715YF6Hcl3joOYi",
            ),
            (b"abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
        ] {
            assert_eq!(verify(password, stored), MATCH, "{stored}");
            assert_eq!(verify(b"something else", stored), HashVerdict::Mismatch, "{stored}");
        }
        // 72 characters, then what nobody looks at.
        let stored = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";
        let password = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored";
        assert_eq!(verify(password, stored), KEPT);
        assert_eq!(verify(&password[..72], stored), KEPT);
        assert_eq!(verify(&password[..71], stored), HashVerdict::Mismatch);
    }

    #[test]
    fn is_renewed_only_when_the_whole_password_was_compared() {
        let password = [b'x'; 80];
        for (bytes, verdict) in [(1, MATCH), (71, MATCH), (72, KEPT), (73, KEPT), (80, KEPT)] {
            assert_eq!(verify(&password[..bytes], &made_of(&password[..bytes])), verdict, "{bytes} bytes");
        }
        assert_eq!(verify(&password[..73], &made_of(&password)), KEPT, "byte 73 was never looked at");
        assert_eq!(verify(b"before\0after", &made_of(b"before")), KEPT);
        assert_eq!(verify(b"before\0after", &made_of(b"before\0other")), KEPT);
        assert_eq!(verify(b"before\0", &made_of(b"before")), KEPT);
        assert_eq!(verify(b"before", &made_of(b"before\0after")), MATCH);
    }

    #[test]
    fn what_can_not_or_may_not_be_computed() {
        let good = made_of(b"x");
        assert_eq!(verify(b"x", &good), MATCH);
        for stored in [
            String::new(),
            "$2b$".into(),
            "$2b$04$".into(),
            good.replace("$2b$04", "$2x$04"),
            good.replace("$2b$04", "$2$04"),
            good.replace("$04$", "$03$"),
            good.replace("$04$", "$15$"),
            good.replace("$04$", "$31$"),
            good.replace("$04$", "$99$"),
            good.replace("$04$", "$+4$"),
            good.replace("$04$", "$4$"),
            format!("{good}."),
            good[..good.len() - 1].into(),
            format!("{}\u{e9}", &good[..good.len() - 2]),
            good.replacen("DO", "D\u{e9}", 1).replacen('.', "", 1),
            good.replace('.', "="),
        ] {
            if stored != good {
                assert_eq!(verify(b"x", &stored), HashVerdict::Unusable, "{stored}");
            }
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
        #[test]
        fn no_stored_text_panics(stored in "(\\$2[abxy]\\$(0[0-9]|[3-9][0-9]|\\PC{2})\\$)?\\PC{0,60}", password: Vec<u8>) {
            let _ = verify(&password, &stored);
        }

        #[test]
        fn no_well_formed_text_panics(stored in "\\$2[aby]\\$04\\$[./A-Za-z0-9]{53}", password: Vec<u8>) {
            proptest::prop_assert_eq!(verify(&password, &stored), HashVerdict::Mismatch);
        }
    }
}
