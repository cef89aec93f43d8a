//! What people have on their telephones.

use hmac::{Hmac, KeyInit, Mac};
use iam_core::Timestamp;
use sha1::Sha1;

use crate::World;

/// An authenticator app, written from RFC 6238 alone.
#[derive(Clone, Debug)]
pub(crate) struct App(pub(crate) Vec<u8>);

impl App {
    /// From the text that is typed.
    pub(crate) fn from_base32(text: &str) -> Self {
        let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
        for c in text.bytes() {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'2'..=b'7' => c - b'2' + 26,
                _ => panic!("no base32: {text}"),
            };
            bits = (bits << 5) | u32::from(value);
            count += 5;
            if count >= 8 {
                count -= 8;
                bytes.push(u8::try_from((bits >> count) & 0xff).unwrap());
            }
        }
        Self(bytes)
    }

    /// The code of now, or some steps before or after.
    pub(crate) fn code(&self, world: &World, steps: i64) -> String {
        self.code_at(world.iam.now(), steps)
    }

    /// The code of a time, or some steps before or after.
    pub(crate) fn code_at(&self, now: Timestamp, steps: i64) -> String {
        let step = now.as_micros() / 30_000_000 + steps;
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.0).unwrap();
        mac.update(&step.to_be_bytes());
        let tag = mac.finalize().into_bytes();
        let at = usize::from(tag[19] & 15);
        let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }

    /// One that is certainly wrong now.
    pub(crate) fn wrong(&self, world: &World) -> String {
        self.all_wrong(world).next().unwrap()
    }

    /// Wrong codes, each another one.
    pub(crate) fn all_wrong(&self, world: &World) -> impl Iterator<Item = String> + use<> {
        let right: Vec<String> = (-2..=2).map(|step| self.code(world, step)).collect();
        (0..1_000_000).map(|n| format!("{n:06}")).filter(move |code| !right.contains(code))
    }
}
