//! Sealing: authenticated encryption of what is secret at rest, bound to the place where it lies.
//!
//! XChaCha20-Poly1305 under a key ring. A sealed value names its key and is bound to table, column, owner and row:
//! copied to another row, or to another person's, it does not open.

use std::fmt;

use base64ct::{Base64, Encoding};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::base::random::{self, Randomness, RandomnessUnavailable};
use crate::secrets::secret_key::InvalidKey;

const VERSION: u8 = 1;
const NONCE: usize = 24;
const HEADER: usize = 1 + 4;

/// The place that a sealed value belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Table name.
    pub table: &'static str,
    /// Column name.
    pub column: &'static str,
    /// Whose it is; the account's id, or empty.
    pub owner: &'a [u8],
    /// Which row; its key.
    pub row: &'a [u8],
}

/// The value does not open: it was changed, moved, or its key is not in the ring. Which of these is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed value does not open")]
pub struct CannotOpen;

/// Keys by id. The first one seals, all of them open.
#[derive(Clone)]
pub struct KeyRing(Vec<(u32, Zeroizing<[u8; 32]>)>);

impl KeyRing {
    /// A ring of one key, which has the id 0.
    pub fn single(key: [u8; 32]) -> Self {
        Self(vec![(0, Zeroizing::new(key))])
    }

    /// A ring of one new key.
    pub fn generate(random: &dyn Randomness) -> Result<Self, RandomnessUnavailable> {
        Ok(Self::single(random::bytes(random)?))
    }

    /// Reads `id:base64,id:base64,...`, or one bare base64 key, which gets the id 0. Keys have 32 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let mut keys: Vec<(u32, Zeroizing<[u8; 32]>)> = Vec::new();
        for entry in text.split(',').map(str::trim) {
            let (id, encoded) = match entry.split_once(':') {
                Some((id, encoded)) => (id.trim().parse().map_err(|_| InvalidKey::KeyId)?, encoded.trim()),
                None => (0, entry),
            };
            if keys.iter().any(|(known, _)| *known == id) {
                return Err(InvalidKey::KeyId);
            }
            let bytes = Zeroizing::new(Base64::decode_vec(encoded).map_err(|_| InvalidKey::Encoding)?);
            let length = InvalidKey::Length { found: bytes.len(), needed: 32 };
            let key = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| length)?);
            if keys.iter().any(|(_, known)| *known == key) {
                return Err(InvalidKey::Twice);
            }
            keys.push((id, key));
        }
        Ok(Self(keys))
    }

    /// The form that [`parse`](Self::parse) reads, to be kept where only the service can read it.
    pub fn expose(&self) -> Zeroizing<String> {
        let entries: Vec<_> =
            self.0.iter().map(|(id, key)| format!("{id}:{}", Base64::encode_string(key.as_ref()))).collect();
        Zeroizing::new(entries.join(","))
    }

    /// The ids of all keys, that of the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().map(|(id, _)| *id)
    }

    /// The keys themselves, the one that seals first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.0.iter().map(|(_, key)| &**key)
    }

    /// The id of the key that seals.
    pub fn sealing_key(&self) -> u32 {
        self.0.first().map_or(0, |(id, _)| *id)
    }

    /// Seals a value for its place, under the first key.
    pub fn seal(
        &self,
        place: Place<'_>,
        value: &[u8],
        random: &dyn Randomness,
    ) -> Result<Vec<u8>, RandomnessUnavailable> {
        let nonce = random::bytes::<NONCE>(random)?;
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&self.sealing_key().to_be_bytes());
        let aad = aad(&sealed, place);
        // Encryption fails only beyond 256 GiB or without a key; both mean that nothing may be written.
        let body = self
            .cipher(self.sealing_key())
            .and_then(|cipher| cipher.encrypt(&XNonce::from(nonce), Payload { msg: value, aad: &aad }).ok())
            .ok_or(RandomnessUnavailable)?;
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// Opens a value that was sealed for this place.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        let (header, rest) = sealed.split_at_checked(HEADER).ok_or(CannotOpen)?;
        let (nonce, body) = rest.split_at_checked(NONCE).ok_or(CannotOpen)?;
        let [VERSION, id @ ..] = header else { return Err(CannotOpen) };
        let id = u32::from_be_bytes(id.try_into().map_err(|_| CannotOpen)?);
        let nonce = <[u8; NONCE]>::try_from(nonce).map_err(|_| CannotOpen)?;
        let aad = aad(header, place);
        self.cipher(id)
            .and_then(|cipher| cipher.decrypt(&XNonce::from(nonce), Payload { msg: body, aad: &aad }).ok())
            .map(Zeroizing::new)
            .ok_or(CannotOpen)
    }

    fn cipher(&self, id: u32) -> Option<XChaCha20Poly1305> {
        let (_, key) = self.0.iter().find(|(known, _)| *known == id)?;
        XChaCha20Poly1305::new_from_slice(key.as_ref()).ok()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

/// The id of the key that a value says it is sealed under; nothing, when it is too short to say so.
pub fn key_id(sealed: &[u8]) -> Option<u32> {
    let id = sealed.get(1..HEADER)?;
    Some(u32::from_be_bytes(id.try_into().ok()?))
}

fn aad(header: &[u8], place: Place<'_>) -> Vec<u8> {
    let mut aad = header.to_vec();
    for part in [place.table.as_bytes(), place.column.as_bytes(), place.owner, place.row] {
        aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
        aad.extend_from_slice(part);
    }
    aad
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::OsRandomness;

    const HERE: Place<'_> = Place { table: "t", column: "c", owner: b"alice", row: b"1" };

    fn sealed() -> (KeyRing, Vec<u8>) {
        let ring = KeyRing::generate(&OsRandomness).unwrap();
        let sealed = ring.seal(HERE, b"secret", &OsRandomness).unwrap();
        (ring, sealed)
    }

    #[test]
    fn opens_only_in_its_place() {
        let (ring, sealed) = sealed();
        assert_eq!(ring.open(HERE, &sealed).unwrap().as_slice(), b"secret");
        for elsewhere in [
            Place { table: "u", ..HERE },
            Place { column: "d", ..HERE },
            Place { owner: b"bob", ..HERE },
            Place { row: b"2", ..HERE },
            // The same bytes, split elsewhere.
            Place { owner: b"alice1", row: b"", ..HERE },
        ] {
            assert_eq!(ring.open(elsewhere, &sealed), Err(CannotOpen));
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_fails() {
        let (ring, sealed) = sealed();
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert_eq!(ring.open(HERE, &changed), Err(CannotOpen), "byte {i}");
            assert_eq!(ring.open(HERE, &sealed[..i]), Err(CannotOpen), "cut at {i}");
        }
    }

    #[test]
    fn an_old_key_still_opens_and_a_new_one_seals() {
        let (old, sealed) = sealed();
        let old_key = old.expose().split_once(':').unwrap().1.to_owned();
        let new_key = Base64::encode_string(&[9; 32]);
        let ring = KeyRing::parse(&format!("3:{new_key}, 0:{old_key}")).unwrap();
        assert_eq!(ring.open(HERE, &sealed).unwrap().as_slice(), b"secret");
        let fresh = ring.seal(HERE, b"new", &OsRandomness).unwrap();
        assert_eq!(old.open(HERE, &fresh), Err(CannotOpen));
        assert_eq!((key_id(&sealed), key_id(&fresh)), (Some(0), Some(3)));
        assert_eq!((key_id(&fresh[..5]), key_id(&fresh[..4]), key_id(&[])), (Some(3), None, None));
        assert_eq!(ring.ids().collect::<Vec<_>>(), [3, 0]);
        assert_eq!(format!("{ring:?}"), "[3, 0]");
        assert_eq!(KeyRing::parse(&old_key).unwrap().sealing_key(), 0);
    }

    #[test]
    fn malformed_rings_are_refused() {
        let key = Base64::encode_string(&[9; 32]);
        assert_eq!(KeyRing::parse(&format!("1:{key},1:{key}")).unwrap_err(), InvalidKey::KeyId);
        assert_eq!(KeyRing::parse(&format!("x:{key}")).unwrap_err(), InvalidKey::KeyId);
        assert_eq!(KeyRing::parse("AAAA").unwrap_err(), InvalidKey::Length { found: 3, needed: 32 });
        assert_eq!(KeyRing::parse("").unwrap_err(), InvalidKey::Length { found: 0, needed: 32 });
    }
}
