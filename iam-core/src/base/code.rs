use std::fmt;

use zeroize::Zeroizing;

use crate::base::random::{Randomness, RandomnessUnavailable};

/// A code for somebody's eyes only.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(Zeroizing<String>);

impl Code {
    /// A code as it is compared: without spaces and signs.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Uniform characters of an alphabet of at most 256, by rejection: no character is likelier than another.
    pub fn draw(
        alphabet: &[u8],
        length: usize,
        random: &dyn Randomness,
    ) -> Result<Self, RandomnessUnavailable> {
        let Some(size) = u8::try_from(alphabet.len()).ok().filter(|size| *size > 0) else {
            return Err(RandomnessUnavailable);
        };
        // The largest multiple of the alphabet's size that a byte can hold.
        let fair = u8::MAX - (u8::MAX % size + 1) % size;
        let mut code = Zeroizing::new(String::with_capacity(length));
        while code.len() < length {
            let mut bytes = Zeroizing::new([0; 32]);
            random.fill(bytes.as_mut())?;
            for byte in bytes.iter().filter(|byte| **byte <= fair) {
                if code.len() < length
                    && let Some(character) = alphabet.get(usize::from(byte % size))
                {
                    code.push(char::from(*character));
                }
            }
        }
        Ok(Self(code))
    }

    /// The text, for its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::OsRandomness;

    #[test]
    fn every_character_is_as_likely_as_every_other() {
        let mut counts = [0_u32; 10];
        let mut leading_zeros = 0;
        for _ in 0..20_000 {
            let code = Code::draw(b"0123456789", 8, &OsRandomness).unwrap();
            assert_eq!(code.expose().len(), 8);
            leading_zeros += u32::from(code.expose().starts_with('0'));
            for digit in code.expose().bytes() {
                counts[usize::from(digit - b'0')] += 1;
            }
        }
        // Chi squared with nine degrees of freedom: above 27.9 once in a thousand; 60 never.
        let expected = 16_000.0;
        let chi: f64 = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
        assert!(chi < 60.0, "{counts:?}");
        assert!((1_600..2_400).contains(&leading_zeros), "{leading_zeros}");
    }

    #[test]
    fn odd_alphabets_end() {
        for size in [1, 2, 3, 7, 32, 100, 255] {
            let alphabet = vec![b'x'; size];
            assert_eq!(Code::draw(&alphabet, 40, &OsRandomness).unwrap().expose().len(), 40);
        }
        assert!(Code::draw(&[], 1, &OsRandomness).is_err());
        assert_eq!(format!("{:?}", Code::new("12345678")), "Code(..)");
    }
}
