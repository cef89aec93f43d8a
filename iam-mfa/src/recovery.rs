use iam_core::ports::{
    Code, Credential, Factor, FactorBegun, FactorContext, OpenedMethod, Show, Spend, Verdict, WrongAnswer,
};
use iam_core::{FactorKind, RandomnessUnavailable, typed};
use zeroize::Zeroizing;

/// Crockford's base32: no I, L, O or U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Characters of a code, five bits each.
const LENGTH: usize = 24;

/// Codes of a list.
const COUNT: usize = 10;

/// Characters between hyphens, as a code is shown.
const GROUP: usize = 6;

/// Recovery codes: a list on paper for the day when the device is gone (NIST SP 800-63B-4, 3.1.2 and 4.2.1.1; OWASP ASVS 6.5).
///
/// A list has ten codes, each of 120 random bits, so that a keyed digest is all that has to be kept of them. Each works once, and a
/// new list ends the one before.
///
/// A code is 24 characters of [Crockford's base32](https://www.crockford.com/base32.html), in which no two look alike. What core
/// stores and digests is the [canonical](Self::canonical) form, and so are the codes of [`Show::Codes`]; people are
/// [shown](Self::shown) groups of six, and may type them in small letters, without hyphens, and with the look-alikes that the alphabet
/// leaves out.
///
/// ```
/// use iam_mfa::RecoveryCodes;
///
/// let code = RecoveryCodes::canonical("o123vw-6789ab-cdefgh jkmnpq").expect("a code");
/// assert_eq!(code.expose(), "0123VW6789ABCDEFGHJKMNPQ");
/// assert_eq!(RecoveryCodes::shown(&code).as_str(), "0123VW-6789AB-CDEFGH-JKMNPQ");
/// ```
#[derive(Clone, Debug, Default)]
pub struct RecoveryCodes;

impl RecoveryCodes {
    /// A list of ten.
    pub const fn new() -> Self {
        Self
    }

    /// The one form of a code that is digested, or nothing when the text is no code: upper case, as [`typed::code`] reads what is typed,
    /// `O` read as zero, `I` and `L` as one. The number of its line in a list (`1. `) is left out, where it can't belong to the code.
    pub fn canonical(text: &str) -> Option<Code> {
        Self::of_one(text).or_else(|| Self::of_one(behind_number(text)?))
    }

    fn of_one(text: &str) -> Option<Code> {
        // With its full room from the start: a string that grows leaves copies behind.
        let mut code = Zeroizing::new(String::with_capacity(LENGTH));
        for typed in typed::code(text).chars() {
            let character = match typed.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let known = u8::try_from(character).is_ok_and(|byte| ALPHABET.contains(&byte));
            if !known || code.len() == LENGTH {
                return None;
            }
            code.push(character);
        }
        (code.len() == LENGTH).then(|| Code::new(std::mem::take(&mut *code)))
    }

    /// A code as people are shown it: `XXXXXX-XXXXXX-XXXXXX-XXXXXX`.
    pub fn shown(code: &Code) -> Zeroizing<String> {
        let text = code.expose();
        let mut shown = Zeroizing::new(String::with_capacity(text.len() + text.len() / GROUP));
        for (place, character) in text.chars().enumerate() {
            if place > 0 && place % GROUP == 0 {
                shown.push('-');
            }
            shown.push(character);
        }
        shown
    }
}

/// What stands behind the number of a line: one or two digits, then a sign that is in no code, or white space. Where that is a code, the
/// whole was too long for one.
fn behind_number(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let end = text.find(|c: char| {
        typed::code(c.encode_utf8(&mut [0; 4])).bytes().any(|byte| !byte.is_ascii_digit())
            || c.is_whitespace()
    })?;
    let (number, rest) = text.split_at_checked(end)?;
    (1..=2).contains(&typed::code(number).len()).then(|| rest.trim_start_matches(['.', ')', ':']))
}

impl Factor for RecoveryCodes {
    fn kind(&self) -> FactorKind {
        FactorKind::RecoveryCode
    }

    fn begin_enrolment(&self, cx: &FactorContext<'_>) -> Result<FactorBegun, RandomnessUnavailable> {
        let codes = (0..COUNT).map(|_| Code::draw(ALPHABET, LENGTH, cx.random)).collect::<Result<_, _>>()?;
        Ok(FactorBegun { show: Show::Codes(codes), ..FactorBegun::default() })
    }

    /// A list counts as soon as it is drawn: there is nothing to be finished.
    fn finish_enrolment(&self, _: &FactorContext<'_>, _: &[u8], _: &str) -> Result<Credential, WrongAnswer> {
        Err(WrongAnswer)
    }

    fn read(&self, typed: &str) -> Option<Code> {
        Self::canonical(typed)
    }

    /// Nothing to send and nothing to keep: the list is there already.
    fn begin(&self, _: &FactorContext<'_>, _: &[OpenedMethod]) -> Result<FactorBegun, RandomnessUnavailable> {
        Ok(FactorBegun::default())
    }

    fn finish(&self, cx: &FactorContext<'_>, _: &[u8], _: &[OpenedMethod], answer: &str) -> Verdict {
        match Self::canonical(answer) {
            Some(code) => {
                Verdict::Accepted { method: None, spend: Spend::Code(cx.digest.of_account(code.expose())) }
            }
            None => Verdict::Rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{self, context};

    fn codes() -> Vec<Code> {
        testing::with_digest(|digest| {
            match RecoveryCodes::new().begin_enrolment(&context(digest)).unwrap().show {
                Show::Codes(codes) => codes,
                other => panic!("{other:?}"),
            }
        })
    }

    #[test]
    fn ten_codes_that_are_canonical_already() {
        let codes = codes();
        assert_eq!(codes.len(), 10);
        assert_eq!(codes.iter().map(Code::expose).collect::<HashSet<_>>().len(), 10);
        for code in &codes {
            assert_eq!(code.expose().len(), 24);
            assert_eq!(RecoveryCodes::canonical(code.expose()).as_ref(), Some(code));
        }
    }

    #[test]
    fn whichever_way_it_is_typed_it_has_one_digest() {
        let code = Code::new("0123VW6789ABCDEFGH1KMNP0");
        let shown = RecoveryCodes::shown(&code);
        assert_eq!(shown.as_str(), "0123VW-6789AB-CDEFGH-1KMNP0");
        testing::with_digest(|digest| {
            let spend = Spend::Code(digest.of_account(code.expose()));
            let expected = Verdict::Accepted { method: None, spend };
            for typed in [
                code.expose(),
                &shown,
                &shown.to_lowercase(),
                "  0123vw 6789ab cdefgh 1kmnp0  ",
                "O123VW-6789AB-CDEFGH-IKMNPo",
                "o123vw6789abcdefghlkmnpO",
                "0123VW--6789AB-CDEFGH- LKMNP0",
                "0123VW–6789AB–CDEFGH–1KMNP0",
                "0123VW\t6789AB\tCDEFGH\t1KMNP0",
                "0123VW\u{2011}6789AB\u{a0}CDEFGH\u{200b}1KMNP０",
                "1. 0123VW-6789AB-CDEFGH-1KMNP0",
                " 10.\t0123VW-6789AB-CDEFGH-1KMNP0\n",
                "3) 0123vw-6789ab-cdefgh-1kmnp0",
                "٣. 0123VW-6789AB-CDEFGH-1KMNP0",
                "7 0123VW-6789AB-CDEFGH-1KMNP0",
                "0: 0123VW6789ABCDEFGH1KMNP0",
            ] {
                assert_eq!(
                    RecoveryCodes::new().finish(&context(digest), &[], &[], typed),
                    expected,
                    "{typed:?}"
                );
            }
            for wrong in [
                "",
                "0123VW-6789AB-CDEFGH-1KMNP",
                "0123VW-6789AB-CDEFGH-1KMNP00",
                "0123VW-6789AB-CDEFGH-1KMNPU",
                "0123VW_6789AB_CDEFGH_1KMNP0",
                "100. 0123VW-6789AB-CDEFGH-1KMNP0",
                "1.",
                "1. 2. 0123VW-6789AB-CDEFGH-1KMNP0",
                "12 3VW67-89ABCD-EFGH1K-MNP0",
                "1x 0123VW-6789AB-CDEFGH-1KMNP0",
                "70123VW-6789AB-CDEFGH-1KMNP0",
                "ſ123VW6789ABCDEFGH1KMNP0",
            ] {
                assert_eq!(
                    RecoveryCodes::new().finish(&context(digest), &[], &[], wrong),
                    Verdict::Rejected,
                    "{wrong:?}"
                );
            }
        });
    }

    #[test]
    fn without_randomness_there_are_no_codes() {
        testing::with_digest(|digest| {
            let cx = FactorContext { random: &testing::NoRandomness, ..context(digest) };
            assert!(RecoveryCodes::new().begin_enrolment(&cx).is_err());
        });
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(response in any::<String>(), near in "[0-9A-Za-z -]{20,30}") {
            testing::with_digest(|digest| {
                for response in [&response, &near] {
                    let verdict = RecoveryCodes::new().finish(&context(digest), &[], &[], response);
                    assert_eq!(verdict == Verdict::Rejected, RecoveryCodes::canonical(response).is_none());
                }
            });
        }

        #[test]
        fn what_is_shown_can_be_typed(text in "[0-9A-HJKMNP-TV-Z]{24}") {
            let code = Code::new(text);
            prop_assert_eq!(RecoveryCodes::canonical(&RecoveryCodes::shown(&code)), Some(code));
        }
    }
}
