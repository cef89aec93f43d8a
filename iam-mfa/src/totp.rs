use std::fmt::Write as _;

use iam_core::ports::{
    Code, Credential, Factor, FactorBegun, FactorContext, OpenedMethod, Show, Spend, Verdict, WrongAnswer,
};
use iam_core::{FactorKind, RandomnessUnavailable, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use totp_rs::{Algorithm, Builder, Secret};
use zeroize::Zeroizing;

use crate::sent::digits;

/// As long as the hash, which RFC 4226 (R6) recommends.
const SECRET_BYTES: usize = 20;
const DIGITS: u8 = 6;
const STEP_SECONDS: u64 = 30;
const STEP_MICROS: i64 = 30_000_000;

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Codes of an authenticator app: TOTP (RFC 6238) over HOTP (RFC 4226).
///
/// The service and the device share a secret. Time is cut into steps of 30 seconds, and the code of a step is six digits of the
/// secret's HMAC-SHA-1 of its number. Both sides compute it; nothing is sent. It is SHA-1, six digits and 30 seconds because some
/// apps ignore whatever else they are told; what is known against SHA-1 does not touch HMAC.
///
/// - **Setting it up** draws a secret of 160 bits and shows it as base32 and as an `otpauth:` URI, which becomes a QR code. It counts
///   once the device has shown a right code: only then is it certain that it was scanned.
/// - **Clocks differ.** The code of the step before and of the step after count, too (RFC 6238, 5.2). [`strict`](Self::strict) takes
///   the code of this very step only, as OWASP asks (ASVS 6.5.5).
/// - **A code works once** (RFC 6238, 5.2; NIST SP 800-63B-4, 3.1.4.2; OWASP ASVS 6.5.1): [`Spend::Step`] names its step, which
///   must be later than any before. The code of an earlier step is dead as soon as that of a later one was used.
/// - **Guessing**: three codes in a million count, and five tries to a challenge; the limits of [`iam_core::FactorLimits`] see
///   to the rest.
#[derive(Clone, Debug)]
pub struct Totp {
    /// How many steps before and after this one count.
    window: i64,
}

impl Totp {
    /// Takes the code of this step, of the one before and of the one after.
    pub const fn new() -> Self {
        Self { window: 1 }
    }

    /// Takes the code of this step only: for devices whose clocks are right.
    pub const fn strict() -> Self {
        Self { window: 0 }
    }
}

impl Default for Totp {
    fn default() -> Self {
        Self::new()
    }
}

impl Factor for Totp {
    fn kind(&self) -> FactorKind {
        FactorKind::Totp
    }

    /// The secret is kept until the device has shown a right code.
    fn begin_enrolment(&self, cx: &FactorContext<'_>) -> Result<FactorBegun, RandomnessUnavailable> {
        let mut secret = Zeroizing::new(vec![0; SECRET_BYTES]);
        cx.random.fill(&mut secret)?;
        let typed = Zeroizing::new(Secret::from(secret.as_slice()).to_base32());
        let uri = uri(cx, &typed);
        Ok(FactorBegun { keep: secret, show: Show::Secret { typed, uri }, send: None })
    }

    fn finish_enrolment(
        &self,
        cx: &FactorContext<'_>,
        kept: &[u8],
        answer: &str,
    ) -> Result<Credential, WrongAnswer> {
        let step = self.step_of(kept, None, cx.now, answer).ok_or(WrongAnswer)?;
        Ok(Credential { secret: Some(Zeroizing::new(kept.to_vec())), lookup: None, step: Some(step) })
    }

    /// Six digits, whichever way they are typed or pasted.
    fn read(&self, typed: &str) -> Option<Code> {
        digits(typed, DIGITS.into())
    }

    /// Nothing to send and nothing to keep: the device knows what to show.
    fn begin(&self, _: &FactorContext<'_>, _: &[OpenedMethod]) -> Result<FactorBegun, RandomnessUnavailable> {
        Ok(FactorBegun::default())
    }

    fn finish(&self, cx: &FactorContext<'_>, _: &[u8], methods: &[OpenedMethod], answer: &str) -> Verdict {
        let right = methods.iter().find_map(|method| {
            let secret = method.secret.as_ref()?;
            Some((method.id, self.step_of(secret, method.last_step, cx.now, answer)?))
        });
        match right {
            Some((id, step)) => Verdict::Accepted { method: Some(id), spend: Spend::Step(id, step) },
            None => Verdict::Rejected,
        }
    }

    fn latest_step(&self, now: Timestamp) -> Option<i64> {
        Some(step_at(now).saturating_add(self.window))
    }
}

impl Totp {
    /// The time step whose code this is, if it counts at this time, and after the last one.
    fn step_of(&self, secret: &[u8], last_step: Option<i64>, now: Timestamp, answer: &str) -> Option<i64> {
        if answer.len() != usize::from(DIGITS) || !answer.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (generator, this) = (generator(secret)?, step_at(now));
        // All candidates are computed and compared, whichever is right, and the latest that is right counts: should two steps have
        // the same code, it does not come back for the second.
        let mut found = -1_i64;
        for step in this.saturating_sub(self.window)..=this.saturating_add(self.window) {
            let seconds = u64::try_from(step).unwrap_or(0).saturating_mul(STEP_SECONDS);
            let code = Zeroizing::new(generator.generate(seconds).to_string());
            let right = code.as_bytes().ct_eq(answer.as_bytes());
            found.conditional_assign(&step, right);
        }
        // Steps before 1970 have no codes.
        (found >= 0 && last_step.is_none_or(|last| found > last)).then_some(found)
    }
}

fn step_at(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(STEP_MICROS)
}

/// What computes codes, or nothing when the secret is too short to be one of ours.
fn generator(secret: &[u8]) -> Option<totp_rs::Totp> {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS)
        .with_step_duration(STEP_SECONDS)
        .with_secret(secret)
        .build()
        .ok()
}

/// The URI that apps read, in the form that Google Authenticator made common: `otpauth://totp/ISSUER:ACCOUNT?secret=...`.
fn uri(cx: &FactorContext<'_>, secret: &str) -> Zeroizing<String> {
    // A colon parts issuer and account, even a percent-encoded one.
    let (service, account) = (cx.service.replace(':', "-"), cx.account.replace(':', "-"));
    let issuer = utf8_percent_encode(&service, RESERVED);
    let account = utf8_percent_encode(&account, RESERVED);
    // Room for all of it: a string that grows leaves copies of the secret behind.
    let mut uri = Zeroizing::new(String::with_capacity(256 + 6 * service.len() + 3 * cx.account.len()));
    // Writing to a string does not fail.
    let _ = write!(
        uri,
        "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}"
    );
    uri
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use iam_core::ports::MethodId;
    use iam_core::{Clock, ManualClock};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{self, context};

    /// The secret of RFC 4226, appendix D, and of RFC 6238, appendix B.
    const RFC: &[u8; 20] = b"12345678901234567890";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    const PHONE: MethodId = MethodId::from_bytes([1; 16]);

    fn at_step(step: i64) -> Verdict {
        Verdict::Accepted { method: Some(PHONE), spend: Spend::Step(PHONE, step) }
    }

    fn method(id: MethodId, secret: &[u8], last_step: Option<i64>) -> OpenedMethod {
        OpenedMethod { id, secret: Some(Zeroizing::new(secret.to_vec())), last_step }
    }

    fn finish(totp: &Totp, secret: &[u8], last_step: Option<i64>, now: Timestamp, response: &str) -> Verdict {
        testing::with_digest(|digest| {
            let cx = FactorContext { now, ..context(digest) };
            totp.finish(&cx, &[], &[method(PHONE, secret, last_step)], response)
        })
    }

    fn code_of(secret: &[u8], step: i64) -> String {
        generator(secret).unwrap().generate(u64::try_from(step).unwrap() * STEP_SECONDS).to_string()
    }

    #[test]
    fn rfc_6238() {
        // Appendix B has eight digits; six are the last six of them.
        for (seconds, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let verdict = finish(&Totp::strict(), RFC, None, at(seconds), &code[2..]);
            assert_eq!(verdict, at_step(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn rfc_4226() {
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
            "520489",
        ];
        for (counter, code) in (0_i64..).zip(codes) {
            let verdict = finish(&Totp::strict(), RFC, None, at(counter * 30), code);
            assert_eq!(verdict, at_step(counter));
        }
    }

    #[test]
    fn no_code_of_the_latest_step_or_before_is_accepted_once_that_was_used() {
        for totp in [Totp::new(), Totp::strict()] {
            let now = at(1_800_000_000);
            let latest = totp.latest_step(now).unwrap();
            for step in latest - 5..=latest + 5 {
                let verdict = finish(&totp, RFC, Some(latest), now, &code_of(RFC, step));
                assert_eq!(verdict, Verdict::Rejected, "{step}");
            }
            assert_eq!(finish(&totp, RFC, Some(latest - 1), now, &code_of(RFC, latest)), at_step(latest));
        }
    }

    #[test]
    fn one_step_each_way_or_none() {
        let clock = ManualClock::new(at(1_800_000_000));
        let t = 1_800_000_000 / 30;
        // At the first and at the last moment of a step.
        for _ in 0..2 {
            let counted = |totp: &Totp| {
                let verdict = |step| finish(totp, RFC, None, clock.now(), &code_of(RFC, step));
                (t - 2..=t + 2)
                    .map(|step| {
                        let verdict = verdict(step);
                        assert!(verdict == at_step(step) || verdict == Verdict::Rejected);
                        verdict != Verdict::Rejected
                    })
                    .collect::<Vec<_>>()
            };
            assert_eq!(counted(&Totp::new()), [false, true, true, true, false]);
            assert_eq!(counted(&Totp::strict()), [false, false, true, false, false]);
            clock.advance(Duration::from_micros(29_999_999));
        }
        clock.advance(Duration::from_micros(1));
        assert_eq!(finish(&Totp::strict(), RFC, None, clock.now(), &code_of(RFC, t)), Verdict::Rejected);
    }

    #[test]
    fn a_code_works_once_and_ends_those_before_it() {
        let (t, now) = (1_000, at(30_000));
        let finish = |last, step| finish(&Totp::new(), RFC, last, now, &code_of(RFC, step)) == at_step(step);
        assert!(finish(None, t) && finish(Some(t - 1), t) && finish(Some(t), t + 1));
        assert!(!finish(Some(t), t) && !finish(Some(t), t - 1) && !finish(Some(t + 1), t + 1));
    }

    #[test]
    fn nothing_but_six_digits() {
        let (now, code) = (at(59), "287082");
        assert_eq!(finish(&Totp::new(), RFC, None, now, code), at_step(1));
        for wrong in [
            "",
            " 287082",
            "287082 ",
            "287 082",
            "+87082",
            "+287082",
            "-287082",
            "0287082",
            "94287082",
            "28708",
            "２８７０８２",
            "28708２",
            "287082\0",
            "٢٨٧٠٨٢",
            "0x4616a",
            "2870.2",
            "287083",
        ] {
            assert_eq!(finish(&Totp::new(), RFC, None, now, wrong), Verdict::Rejected, "{wrong:?}");
        }
    }

    #[test]
    fn a_code_is_read_as_it_is_pasted() {
        let read = |typed: &str| Totp::new().read(typed).map(|code| code.expose().to_owned());
        for typed in [
            "287082",
            "287 082",
            "287\u{a0}082",
            "287-082",
            "287–082",
            "２８７０８２",
            "٢٨٧٠٨٢",
            "\t287082\r\n",
            "\u{2066}287082\u{2069}",
        ] {
            assert_eq!(read(typed).as_deref(), Some("287082"), "{typed:?}");
        }
        for none in
            ["", " ", "28708", "2870822", "28708x", "+287082", "2870.2", "287082\0", "0x4616a", "²87082"]
        {
            assert_eq!(read(none), None, "{none:?}");
        }
    }

    #[test]
    fn odd_things_in_store_are_rejected() {
        for secret in [&b""[..], b"short"] {
            assert_eq!(finish(&Totp::new(), secret, None, at(59), "287082"), Verdict::Rejected);
        }
        testing::with_digest(|digest| {
            let cx = FactorContext { now: at(59), ..context(digest) };
            assert_eq!(Totp::new().finish(&cx, &[], &[], "287082"), Verdict::Rejected);
            let none = OpenedMethod { id: PHONE, secret: None, last_step: None };
            assert_eq!(Totp::new().finish(&cx, &[], &[none], "287082"), Verdict::Rejected);
        });
        for now in [i64::MIN, -1, i64::MAX] {
            let now = Timestamp::from_micros(now);
            assert!(matches!(
                finish(&Totp::new(), RFC, None, now, "287082"),
                Verdict::Rejected | Verdict::Accepted { .. }
            ));
        }
        // Before 1970 nothing is right, the code of step 0 included.
        assert_eq!(finish(&Totp::strict(), RFC, None, at(-1), "755224"), Verdict::Rejected);
        assert_eq!(finish(&Totp::strict(), RFC, Some(i64::MAX), at(59), "287082"), Verdict::Rejected);
    }

    fn enrolled(service: &str, account: &str) -> (Zeroizing<Vec<u8>>, String, url::Url) {
        testing::with_digest(|digest| {
            let cx = FactorContext { service, account, ..context(digest) };
            let FactorBegun { keep, show, send } = Totp::new().begin_enrolment(&cx).unwrap();
            let (Show::Secret { typed, uri }, None) = (&show, send) else { panic!("{show:?}") };
            (keep, typed.to_string(), uri.parse().unwrap())
        })
    }

    #[test]
    fn apps_can_read_what_is_enrolled() {
        let (secret, typed, uri) = enrolled("Acme & Co: Söhne/100%", "a b+c:d@example.org?#");
        assert_eq!((secret.len(), typed.len()), (20, 32));
        assert!(typed.bytes().all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte)));
        assert_eq!(Secret::try_from_base32(&typed).unwrap().as_bytes(), secret.as_slice());

        assert_eq!((uri.scheme(), uri.host_str()), ("otpauth", Some("totp")));
        assert_eq!(uri.path(), "/Acme%20%26%20Co-%20S%C3%B6hne%2F100%25:a%20b%2Bc-d%40example.org%3F%23");
        let pairs: Vec<_> = uri.query_pairs().into_owned().collect();
        let expected = [
            ("secret", typed.as_str()),
            ("issuer", "Acme & Co- Söhne/100%"),
            ("algorithm", "SHA1"),
            ("digits", "6"),
            ("period", "30"),
        ];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));

        let (other, ..) = enrolled("Acme", "amy");
        assert_ne!(secret, other);
    }

    #[test]
    fn without_randomness_there_is_no_secret() {
        testing::with_digest(|digest| {
            let cx = FactorContext { random: &testing::NoRandomness, ..context(digest) };
            assert!(Totp::new().begin_enrolment(&cx).is_err());
        });
    }

    #[test]
    fn a_right_code_finishes_setting_up_and_is_used_by_that() {
        testing::with_digest(|digest| {
            let cx = FactorContext { now: at(59), ..context(digest) };
            let credential = Totp::strict().finish_enrolment(&cx, RFC, "287082").unwrap();
            assert_eq!(credential.secret.unwrap().as_slice(), RFC);
            assert_eq!((credential.step, credential.lookup), (Some(1), None));
            for (kept, wrong) in [(&RFC[..], "287083"), (&RFC[..], ""), (&[], "287082")] {
                assert!(Totp::strict().finish_enrolment(&cx, kept, wrong).is_err());
            }
        });
    }

    #[test]
    fn each_device_of_an_account_counts() {
        let (now, other) = (at(59), MethodId::from_bytes([2; 16]));
        testing::with_digest(|digest| {
            let cx = FactorContext { now, ..context(digest) };
            let devices = [method(other, b"another secret of 20", None), method(PHONE, RFC, None)];
            assert_eq!(Totp::strict().finish(&cx, &[], &devices, "287082"), at_step(1));
            // The same secret on two devices: used on one, it is good on the other.
            let devices = [method(other, RFC, Some(1)), method(PHONE, RFC, None)];
            assert_eq!(Totp::strict().finish(&cx, &[], &devices, "287082"), at_step(1));
        });
    }

    /// Another implementation: oathtool of the OATH Toolkit, where it is installed.
    #[test]
    fn oathtool_agrees() {
        let (secret, typed, _) = enrolled("Acme", "amy");
        for step in [1_i64, 59_999_999, 60_000_000, 70_000_001] {
            let now = format!("--now=@{}", step * 30 + 7);
            let ran = Command::new("oathtool").args(["--totp=sha1", "--base32", &now, &typed]).output();
            let Ok(output) = ran else {
                eprintln!("skipped: oathtool is not installed");
                return;
            };
            let code = String::from_utf8(output.stdout).unwrap();
            let verdict = finish(&Totp::strict(), &secret, None, at(step * 30 + 7), code.trim());
            assert_eq!(verdict, at_step(step), "{code:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            response in any::<String>(),
            digits in "[0-9]{6}",
            secret in proptest::collection::vec(any::<u8>(), 0..40),
            now in any::<i64>(),
            last in any::<Option<i64>>(),
        ) {
            let now = Timestamp::from_micros(now);
            let _ = finish(&Totp::new(), &secret, last, now, &digits);
            let six_digits = response.len() == 6 && response.bytes().all(|byte| byte.is_ascii_digit());
            prop_assert!(six_digits || finish(&Totp::new(), &secret, last, now, &response) == Verdict::Rejected);
        }
    }
}
