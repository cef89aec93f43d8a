use iam_core::ports::{
    Code, Credential, Factor, FactorBegun, FactorContext, OpenedMethod, Show, Spend, Verdict, WrongAnswer,
};
use iam_core::{FactorKind, RandomnessUnavailable};
use zeroize::Zeroizing;

/// Digits of a code: about 26.5 bits. NIST SP 800-63B-4 (3.1.3) and OWASP ASVS (6.5.4) ask for 20 at least.
const DIGITS: usize = 8;

/// Codes that are sent: by e-mail, and by SMS or WhatsApp once accounts have telephone numbers (NIST SP 800-63B-4, 3.1.3; OWASP ASVS 6.5 and 6.6).
///
/// Each challenge draws a code of eight digits, each as likely as any other, so that leading zeros are part of it. What is kept is a
/// keyed digest bound to the challenge; the code itself goes into a sealed message and nowhere else. It is good for some minutes, for
/// five tries, and once.
///
/// Setting it up takes an address, which counts once a code that was sent there comes back. Accounts have no telephone numbers yet, so
/// [`IamBuilder::build`](iam_core::IamBuilder::build) refuses [`sms`](Self::sms) and [`whatsapp`](Self::whatsapp).
///
/// What such a code proves is less than an app does: whoever reads somebody's mail has the code, and telephone numbers can be taken
/// over. NIST does not take e-mail for out-of-band authentication (3.1.3.1), nor does OWASP (ASVS 6.6), and both want something
/// stronger beside the telephone (3.1.3.3; ASVS 6.6.1). A service that must follow them leaves e-mail out; all others offer
/// [`Totp`](crate::Totp) first.
///
/// ```
/// use iam_core::FactorKind;
/// use iam_core::ports::Factor;
/// use iam_mfa::SentCode;
///
/// assert_eq!(SentCode::email().kind(), FactorKind::EmailOtp);
/// assert_eq!(SentCode::sms().kind(), FactorKind::SmsOtp);
/// ```
#[derive(Clone, Debug)]
pub struct SentCode {
    kind: FactorKind,
}

impl SentCode {
    /// Codes by e-mail.
    pub const fn email() -> Self {
        Self { kind: FactorKind::EmailOtp }
    }

    /// Codes by SMS. Refused by `build()` until accounts have telephone numbers.
    pub const fn sms() -> Self {
        Self { kind: FactorKind::SmsOtp }
    }

    /// Codes by WhatsApp. Refused by `build()` until accounts have telephone numbers.
    pub const fn whatsapp() -> Self {
        Self { kind: FactorKind::WhatsappOtp }
    }
}

impl Factor for SentCode {
    fn kind(&self) -> FactorKind {
        self.kind
    }

    /// A code to the address: it is the method's once the code comes back.
    fn begin_enrolment(&self, cx: &FactorContext<'_>) -> Result<FactorBegun, RandomnessUnavailable> {
        self.begin(cx, &[])
    }

    fn finish_enrolment(
        &self,
        cx: &FactorContext<'_>,
        kept: &[u8],
        answer: &str,
    ) -> Result<Credential, WrongAnswer> {
        if is_sent(cx, kept, answer) { Ok(Credential::default()) } else { Err(WrongAnswer) }
    }

    /// Eight digits, whichever way they are typed or pasted.
    fn read(&self, typed: &str) -> Option<Code> {
        digits(typed, DIGITS)
    }

    fn begin(
        &self,
        cx: &FactorContext<'_>,
        _: &[OpenedMethod],
    ) -> Result<FactorBegun, RandomnessUnavailable> {
        let code = Code::draw(b"0123456789", DIGITS, cx.random)?;
        let keep = Zeroizing::new(cx.digest.of(code.expose()).to_vec());
        Ok(FactorBegun { keep, show: Show::Nothing, send: Some(code) })
    }

    fn finish(&self, cx: &FactorContext<'_>, kept: &[u8], methods: &[OpenedMethod], answer: &str) -> Verdict {
        if is_sent(cx, kept, answer) {
            Verdict::Accepted { method: methods.first().map(|method| method.id), spend: Spend::Challenge }
        } else {
            Verdict::Rejected
        }
    }
}

/// Whether an answer is the code of which this digest was kept.
fn is_sent(cx: &FactorContext<'_>, kept: &[u8], answer: &str) -> bool {
    let is_code = answer.len() == DIGITS && answer.bytes().all(|byte| byte.is_ascii_digit());
    is_code && cx.digest.matches(answer, kept)
}

/// A code of so many digits, as it was typed or pasted.
pub(crate) fn digits(typed: &str, count: usize) -> Option<Code> {
    let code = iam_core::typed::code(typed);
    let is_code = code.len() == count && code.bytes().all(|byte| byte.is_ascii_digit());
    is_code.then(|| Code::new(code.as_str()))
}

#[cfg(test)]
mod tests {
    use iam_core::Channel;
    use iam_core::ports::MethodId;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{self, context};

    /// A right answer before there is any method.
    const RIGHT: Verdict = Verdict::Accepted { method: None, spend: Spend::Challenge };

    #[test]
    fn what_was_sent_is_right_and_nothing_else() {
        testing::with_digest(|digest| {
            let factor = SentCode::email();
            let cx = context(digest);
            let begun = factor.begin(&cx, &[]).unwrap();
            let code = begun.send.unwrap();
            let code = code.expose();
            assert_eq!(begun.keep.as_slice(), digest.of(code));
            let finish = |response: &str| factor.finish(&cx, &begun.keep, &[], response);
            assert_eq!(finish(code), RIGHT);
            assert!(factor.finish_enrolment(&cx, &begun.keep, code).is_ok());
            let id = MethodId::from_bytes([1; 16]);
            let mailbox = OpenedMethod { id, secret: None, last_step: None };
            let verdict = factor.finish(&cx, &begun.keep, &[mailbox], code);
            assert_eq!(verdict, Verdict::Accepted { method: Some(id), spend: Spend::Challenge });
            let full_width: String =
                code.chars().map(|c| char::from_u32(u32::from(c) + 0xFEE0).unwrap()).collect();
            let spaced = format!("{} {}", &code[..4], &code[4..]);
            let other = if code == "00000000" { "00000001" } else { "00000000" };
            for wrong in [
                "",
                &code[1..],
                &format!("0{code}"),
                &format!(" {code}"),
                &spaced,
                &full_width,
                "+1234567",
                other,
            ] {
                assert_eq!(finish(wrong), Verdict::Rejected, "{wrong:?}");
                assert!(factor.finish_enrolment(&cx, &begun.keep, wrong).is_err(), "{wrong:?}");
            }
            assert_eq!(factor.finish(&cx, &[], &[], code), Verdict::Rejected, "nothing was kept");
        });
    }

    #[test]
    fn a_code_is_read_as_it_is_pasted() {
        let read = |typed: &str| SentCode::email().read(typed).map(|code| code.expose().to_owned());
        for typed in [
            "12345678",
            "1234 5678",
            " 1234\u{a0}5678\n",
            "1234-5678",
            "１２３４５６７８",
            "१२३४ ५६७८",
            "\u{200e}12 34 56 78\u{200f}",
        ] {
            assert_eq!(read(typed).as_deref(), Some("12345678"), "{typed:?}");
        }
        for none in ["", "1234567", "123456789", "1234567a", "+12345678", "1234.5678", "123456"] {
            assert_eq!(read(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_code_is_bound_to_its_challenge() {
        let begun = testing::with_digest(|digest| SentCode::sms().begin(&context(digest), &[]).unwrap());
        testing::with_other_challenge(|digest| {
            let code = begun.send.as_ref().unwrap().expose();
            let verdict = SentCode::sms().finish(&context(digest), &begun.keep, &[], code);
            assert_eq!(verdict, Verdict::Rejected);
        });
    }

    #[test]
    fn twenty_thousand_codes_are_uniform() {
        let mut counts = [[0_u32; 10]; DIGITS];
        testing::with_digest(|digest| {
            for _ in 0..20_000 {
                let code = SentCode::email().begin(&context(digest), &[]).unwrap().send.unwrap();
                assert_eq!(code.expose().len(), DIGITS);
                for (place, digit) in code.expose().bytes().enumerate() {
                    counts[place][usize::from(digit - b'0')] += 1;
                }
            }
        });
        for (place, counts) in counts.iter().enumerate() {
            // Nine degrees of freedom: above 27.9 once in a thousand, above 70 never. Place 0 keeps its zeros like all others.
            let chi: f64 = counts.iter().map(|count| (f64::from(*count) - 2_000.0).powi(2) / 2_000.0).sum();
            assert!(chi < 70.0, "place {place}: {counts:?}");
        }
    }

    #[test]
    fn kinds_and_channels() {
        for (factor, channel) in [
            (SentCode::email(), Channel::Email),
            (SentCode::sms(), Channel::Sms),
            (SentCode::whatsapp(), Channel::Whatsapp),
        ] {
            assert_eq!(factor.kind().channel(), Some(channel));
        }
        testing::with_digest(|digest| {
            let cx = FactorContext { random: &testing::NoRandomness, ..context(digest) };
            assert!(SentCode::email().begin(&cx, &[]).is_err());
        });
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(response in any::<String>(), digits in "[0-9]{8}") {
            testing::with_digest(|digest| {
                let answer = digest.of("no code of ours");
                for response in [&response, &digits] {
                    let verdict = SentCode::email().finish(&context(digest), &answer, &[], response);
                    assert_eq!(verdict, Verdict::Rejected);
                }
            });
        }
    }
}
