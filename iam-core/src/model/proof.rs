//! Proofs: by what, and when, somebody has shown in a session who they are. All that a session is worth is a function of them.

use std::fmt;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::model::channel::Channel;
use crate::model::factor_kind::{Assurance, FactorKind};
use crate::model::policy::FactorPolicy;

/// The most words of a stored text that are looked at: several times as many as any program writes.
const MOST_WORDS: usize = 64;

/// What marks the proof of a step-up in a stored text.
const STEP_UP: &str = "step_up:";

/// A method by which somebody can prove who they are, and be asked to. [`FactorKind`] is what people set up; each is a method, and there are
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ProofMethod {
    /// The password.
    Password,
    /// A code of an authenticator app.
    Totp,
    /// A key that signed a challenge.
    WebAuthn,
    /// A code that was sent by e-mail.
    EmailOtp,
    /// A code that was sent by SMS.
    SmsOtp,
    /// A code that was sent by WhatsApp.
    WhatsappOtp,
    /// A code of the list.
    RecoveryCode,
    /// A browser that was trusted, so that no second factor was asked for. It stands in for one, and is none.
    TrustedBrowser,
    /// An invitation to set up the first factor. It shows whose the account is, and is no factor.
    Invitation,
}

impl ProofMethod {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Password,
        Self::Totp,
        Self::WebAuthn,
        Self::EmailOtp,
        Self::SmsOtp,
        Self::WhatsappOtp,
        Self::RecoveryCode,
        Self::TrustedBrowser,
        Self::Invitation,
    ];

    /// Those that somebody who has signed in, or is about to, can be asked for, in the order in which they are offered.
    pub const ASKED: [Self; 8] = [
        Self::Totp,
        Self::WebAuthn,
        Self::EmailOtp,
        Self::SmsOtp,
        Self::WhatsappOtp,
        Self::RecoveryCode,
        Self::Invitation,
        Self::Password,
    ];

    /// The name that stores use: that of the factor's kind, where it is one.
    pub const fn as_str(self) -> &'static str {
        match (self.factor(), self) {
            (Some(kind), _) => kind.as_str(),
            (None, Self::Password) => "password",
            (None, Self::Invitation) => "invitation",
            (None, _) => "trusted_browser",
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }

    /// Reads the name of one that can be [asked for](Self::ASKED), as forms and JSON say it.
    pub fn parse_asked(name: &str) -> Option<Self> {
        Self::ASKED.into_iter().find(|method| method.as_str() == name)
    }

    /// Several names in one text, as forms and addresses carry them.
    pub fn list(methods: &[Self]) -> String {
        methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Reads that text. Names that only a newer program knows are left out.
    pub fn parse_list(text: &str) -> Vec<Self> {
        text.split(' ').filter_map(Self::parse_asked).collect()
    }

    /// The kind of factor that it proves, if it proves one.
    pub const fn factor(self) -> Option<FactorKind> {
        match self {
            Self::Totp => Some(FactorKind::Totp),
            Self::WebAuthn => Some(FactorKind::WebAuthn),
            Self::EmailOtp => Some(FactorKind::EmailOtp),
            Self::SmsOtp => Some(FactorKind::SmsOtp),
            Self::WhatsappOtp => Some(FactorKind::WhatsappOtp),
            Self::RecoveryCode => Some(FactorKind::RecoveryCode),
            Self::Password | Self::Invitation | Self::TrustedBrowser => None,
        }
    }

    /// What its codes are sent by, if they are sent.
    pub const fn channel(self) -> Option<Channel> {
        match self.factor() {
            Some(kind) => kind.channel(),
            None => None,
        }
    }

    /// Whether it is answered to one question alone, so that it has to be asked for first.
    pub const fn asks_anew(self) -> bool {
        matches!(self.factor(), Some(kind) if kind.asks_anew())
    }

    /// What it adds to a session's `amr` (RFC 8176, and the channel, for which that has no values). `mfa` stands for what makes two
    /// factors of a password and this.
    pub const fn amr(self) -> &'static [&'static str] {
        match self {
            Self::Password => &["pwd"],
            Self::Totp => &["otp", "mfa"],
            Self::WebAuthn => &["pop", "mfa"],
            Self::EmailOtp => &["otp", "email"],
            Self::SmsOtp => &["otp", "sms", "mfa"],
            Self::WhatsappOtp => &["otp", "whatsapp", "mfa"],
            Self::RecoveryCode => &["recovery", "mfa"],
            Self::TrustedBrowser => &["trusted_device"],
            Self::Invitation => &[],
        }
    }

    /// What it is worth beside a password.
    pub const fn assurance(self) -> Assurance {
        match self.factor() {
            Some(kind) => kind.assurance(),
            None => Assurance::Aal1,
        }
    }

    /// Whether it proves a factor beside the password.
    pub const fn is_second_factor(self) -> bool {
        self.factor().is_some()
    }
}

impl From<FactorKind> for ProofMethod {
    fn from(kind: FactorKind) -> Self {
        match kind {
            FactorKind::Totp => Self::Totp,
            FactorKind::WebAuthn => Self::WebAuthn,
            FactorKind::EmailOtp => Self::EmailOtp,
            FactorKind::SmsOtp => Self::SmsOtp,
            FactorKind::WhatsappOtp => Self::WhatsappOtp,
            FactorKind::RecoveryCode => Self::RecoveryCode,
        }
    }
}

impl fmt::Display for ProofMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FactorPolicy {
    /// The methods that count for step-up where a route names none.
    pub fn step_up_methods(&self) -> Vec<ProofMethod> {
        self.step_up.iter().copied().map(ProofMethod::from).collect()
    }
}

/// A proof of who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Proof {
    /// By what.
    pub by: ProofMethod,
    /// When.
    pub at: Timestamp,
    /// Whether it was given for a purpose of its own (step-up). Such a proof tells of the session, and changes no factors.
    pub step_up: bool,
}

impl Proof {
    /// A proof of a session's own: at sign-in, or again after it.
    pub fn new(by: impl Into<ProofMethod>, at: Timestamp) -> Self {
        Self { by: by.into(), at, step_up: false }
    }

    /// A proof for a purpose.
    pub fn of_step_up(by: impl Into<ProofMethod>, at: Timestamp) -> Self {
        Self { step_up: true, ..Self::new(by, at) }
    }

    /// Whether it makes a session of two factors fresher. A step-up by what is weaker than two is good for its purpose alone.
    const fn renews_second_factor(&self) -> bool {
        self.by.is_second_factor() && (!self.step_up || matches!(self.by.assurance(), Assurance::Aal2))
    }
}

/// What was proved in a session: the latest proof of each method, for the session and for purposes apart, in the order in which methods
/// were first proved.
///
/// Stores keep [its text](fmt::Display), as `password@1767225600000000 totp@1767225660000000`: methods, each with the time in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proofs(Vec<Proof>);

impl Proofs {
    /// Those of a session that begins with this one.
    pub fn of(proof: Proof) -> Self {
        Self(vec![proof])
    }

    /// Reads the text that stores keep. What a newer program knows of, or nobody, is left out: no row is unreadable by it.
    pub fn parse(text: &str) -> Self {
        let words = text.split(' ').take(MOST_WORDS).filter_map(proof);
        words.fold(Self::default(), |proofs, proof| {
            let is_known = proofs.0.iter().any(|known| is_same(known, &proof) && known.at >= proof.at);
            if is_known { proofs } else { proofs.with(proof) }
        })
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Proof> {
        self.0.iter()
    }

    /// The same with one more, which takes the place of an earlier one by the same method.
    #[must_use]
    pub fn with(mut self, proof: Proof) -> Self {
        match self.0.iter_mut().find(|known| is_same(known, &proof)) {
            Some(known) => *known = proof,
            None => self.0.push(proof),
        }
        self
    }

    /// The same without what was proved by a method.
    #[must_use]
    pub fn without(mut self, method: ProofMethod) -> Self {
        self.0.retain(|proof| proof.by != method);
        self
    }

    /// The same after a change of what the account signs in with: that ended all trust in browsers, and what a browser had stood in for is
    /// to be proved.
    #[must_use]
    pub fn without_trust(self) -> Self {
        self.without(ProofMethod::TrustedBrowser)
    }

    /// The same without any second factor, and without what stood in for one.
    #[must_use]
    pub fn without_factors(mut self) -> Self {
        self.0.retain(|proof| proof.by == ProofMethod::Password);
        self
    }

    /// What still counts where everything up to a time does not. The password stays, its time with it: whoever asks for a fresh one looks
    /// at that. A browser's trust stands beside the password with which it was looked up, and goes as that does.
    #[must_use]
    pub(crate) fn after(mut self, lapsed_at: Timestamp) -> Self {
        let authenticated_at = self.authenticated_at();
        self.0.retain(|proof| match proof.by {
            ProofMethod::Password => true,
            ProofMethod::TrustedBrowser => authenticated_at.is_some_and(|at| at > lapsed_at),
            _ => proof.at > lapsed_at,
        });
        self
    }

    /// The authentication methods in words (RFC 8176), each once.
    pub fn amr(&self) -> impl Iterator<Item = &'static str> {
        let values = || self.0.iter().flat_map(|proof| proof.by.amr());
        values()
            .enumerate()
            .filter(move |(n, value)| !values().take(*n).any(|before| before == *value))
            .map(|(_, value)| *value)
    }

    /// The same as one text, separated by spaces.
    pub fn amr_text(&self) -> String {
        self.amr().collect::<Vec<_>>().join(" ")
    }

    /// How sure one may be of who it is.
    pub fn assurance(&self) -> Assurance {
        self.0.iter().map(|proof| proof.by.assurance()).max().unwrap_or(Assurance::Aal1)
    }

    /// When the password was last proved; without one, what opened the session.
    pub fn authenticated_at(&self) -> Option<Timestamp> {
        let password = self.0.iter().find(|proof| proof.by == ProofMethod::Password && !proof.step_up);
        password.or(self.0.first()).map(|proof| proof.at)
    }

    /// When a second factor was last proved.
    pub fn second_factor_at(&self) -> Option<Timestamp> {
        self.0.iter().filter(|proof| proof.renews_second_factor()).map(|proof| proof.at).max()
    }

    /// Whether a second factor was proved, or something stood in for it.
    pub(crate) fn has_second_factor(&self) -> bool {
        self.0.iter().any(|proof| proof.by.is_second_factor() || proof.by == ProofMethod::TrustedBrowser)
    }

    /// Whether a second factor that is worth at least so much was proved within a time, and not for a purpose of its own.
    pub(crate) fn has_fresh_factor(&self, least: Assurance, within: Duration, now: Timestamp) -> bool {
        self.0.iter().any(|proof| {
            proof.by.is_second_factor()
                && !proof.step_up
                && proof.by.assurance() >= least
                && proof.at.is_within(within, now)
        })
    }

    /// Whether a factor was proved that satisfies a requirement of one; or a browser stood in for it, as long as browsers may be trusted
    /// at all.
    pub(crate) fn satisfies(&self, policy: &FactorPolicy) -> bool {
        self.0.iter().any(|proof| match proof.by {
            ProofMethod::TrustedBrowser => policy.trusted_devices.is_some(),
            method => method.factor().is_some_and(|kind| policy.is_satisfied_by(kind)),
        })
    }
}

/// The text that stores keep.
impl fmt::Display for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Proof { by, at, step_up }) in self.0.iter().enumerate() {
            let (space, mark) = (if n == 0 { "" } else { " " }, if *step_up { STEP_UP } else { "" });
            write!(f, "{space}{mark}{by}@{}", at.as_micros())?;
        }
        Ok(())
    }
}

fn is_same(one: &Proof, other: &Proof) -> bool {
    one.by == other.by && one.step_up == other.step_up
}

/// Reads one word of the text.
fn proof(word: &str) -> Option<Proof> {
    let (step_up, word) = match word.strip_prefix(STEP_UP) {
        Some(word) => (true, word),
        None => (false, word),
    };
    let (method, at) = word.split_once('@')?;
    if !at.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (by, at) = (ProofMethod::parse(method)?, Timestamp::from_micros(at.parse().ok()?));
    Some(Proof { by, at, step_up })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOGIN: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

    fn after(secs: u64) -> Timestamp {
        LOGIN.plus(Duration::from_secs(secs))
    }

    fn by(method: ProofMethod, secs: u64) -> Proof {
        Proof::new(method, after(secs))
    }

    fn signed_in() -> Proofs {
        Proofs::of(by(ProofMethod::Password, 0))
    }

    #[test]
    fn amr_grows_by_each_method_once() {
        use ProofMethod::{EmailOtp, Totp, TrustedBrowser};
        let of = |methods: &[ProofMethod]| {
            methods.iter().fold(signed_in(), |proofs, method| proofs.with(by(*method, 1))).amr_text()
        };
        assert_eq!(of(&[]), "pwd");
        assert_eq!(of(&[Totp]), "pwd otp mfa");
        assert_eq!(of(&[Totp, EmailOtp, Totp]), "pwd otp mfa email");
        assert_eq!(of(&[TrustedBrowser, Totp]), "pwd trusted_device otp mfa");
        let stepped = signed_in().with(Proof::of_step_up(Totp, after(1))).with(by(Totp, 2));
        assert_eq!(stepped.amr_text(), "pwd otp mfa");
        assert_eq!(stepped.without(Totp), signed_in());
    }

    #[test]
    fn a_mailbox_is_no_second_thing() {
        for kind in FactorKind::ALL {
            let proofs = signed_in().with(Proof::new(kind, LOGIN));
            assert_eq!(proofs.assurance(), kind.assurance(), "{kind}");
            assert_eq!(proofs.amr().any(|value| value == "mfa"), kind.assurance() == Assurance::Aal2);
            assert_eq!(ProofMethod::from(kind).factor(), Some(kind));
        }
    }

    #[test]
    fn times_are_those_of_the_latest_proofs() {
        use ProofMethod::{EmailOtp, Password, Totp, TrustedBrowser};
        let proofs = signed_in().with(by(TrustedBrowser, 0));
        assert_eq!((proofs.authenticated_at(), proofs.second_factor_at()), (Some(LOGIN), None));
        let proofs = proofs.with(by(Totp, 5)).with(by(EmailOtp, 9)).with(by(Password, 7));
        assert_eq!((proofs.authenticated_at(), proofs.second_factor_at()), (Some(after(7)), Some(after(9))));
        let without = proofs.without(EmailOtp);
        assert_eq!(without.second_factor_at(), Some(after(5)));
        assert_eq!(without.without_factors().second_factor_at(), None);
        // Without a password it is what opened the session.
        assert_eq!(Proofs::of(by(Totp, 5)).with(by(EmailOtp, 6)).authenticated_at(), Some(after(5)));
        assert_eq!(Proofs::default().authenticated_at(), None);
    }

    #[test]
    fn a_step_up_changes_no_factors_and_a_weak_one_makes_nothing_fresher() {
        use ProofMethod::{EmailOtp, Totp};
        let is_fresh =
            |proofs: &Proofs| proofs.has_fresh_factor(Assurance::Aal1, Duration::from_mins(5), after(60));
        let app = signed_in().with(Proof::of_step_up(Totp, after(9)));
        assert_eq!((app.second_factor_at(), is_fresh(&app)), (Some(after(9)), false));
        let mail = signed_in().with(Proof::of_step_up(EmailOtp, after(9)));
        assert_eq!((mail.second_factor_at(), is_fresh(&mail)), (None, false));
        assert!(mail.satisfies(&FactorPolicy::default()), "as a factor of the session it counts");
        // One for a purpose takes nothing away from the session's own.
        let both = signed_in().with(by(Totp, 5)).with(Proof::of_step_up(Totp, after(9)));
        assert!(is_fresh(&both));
        assert!(!both.has_fresh_factor(Assurance::Aal1, Duration::from_secs(55), after(60)));
        assert!(!signed_in().with(by(EmailOtp, 5)).has_fresh_factor(
            Assurance::Aal2,
            Duration::from_mins(5),
            after(60)
        ));
    }

    #[test]
    fn what_lapses_is_each_proof_by_its_time() {
        use ProofMethod::{EmailOtp, Password, Totp, TrustedBrowser};
        let proofs = signed_in().with(by(TrustedBrowser, 0)).with(by(Totp, 5)).with(by(EmailOtp, 9));
        assert_eq!(proofs.clone().after(after(5)), signed_in().with(by(EmailOtp, 9)));
        assert_eq!(proofs.clone().after(after(9)), signed_in());
        let again = proofs.with(by(Password, 20)).after(after(9));
        assert_eq!(again.amr_text(), "pwd trusted_device", "trust goes as the password does");
    }

    #[test]
    fn a_text_comes_back_and_what_is_unknown_is_left_out() {
        use ProofMethod::{Password, Totp};
        let proofs = signed_in().with(by(Totp, 1)).with(Proof::of_step_up(Totp, after(2)));
        let text = "password@1767225600000000 totp@1767225601000000 step_up:totp@1767225602000000";
        assert_eq!(proofs.to_string(), text);
        assert_eq!(Proofs::parse(text), proofs);
        for (text, read) in [
            ("", vec![]),
            ("passkey@1 password@2 provider:acme@3", vec![(Password, 2)]),
            ("password@2 password@1 totp@3 totp@4", vec![(Password, 2), (Totp, 4)]),
            ("password totp@ totp@x totp@-1 totp@+1 totp@1@2 TOTP@1 @1 totp@99999999999999999999", vec![]),
            ("password@1\u{a0}totp@2", vec![]),
            (" password@1  totp@2 ", vec![(Password, 1), (Totp, 2)]),
        ] {
            let expected: Vec<_> =
                read.into_iter().map(|(by, at)| Proof::new(by, Timestamp::from_micros(at))).collect();
            assert_eq!(Proofs::parse(text).0, expected, "{text:?}");
        }
        let long = "x ".repeat(MOST_WORDS) + "password@1";
        assert_eq!(Proofs::parse(&long), Proofs::default(), "as much is looked at as anybody writes");
    }

    #[test]
    fn the_longest_text_has_room() {
        let latest = Timestamp::from_micros(i64::MAX);
        let all = ProofMethod::ALL.into_iter().fold(Proofs::default(), |proofs, method| {
            proofs.with(Proof::new(method, latest)).with(Proof::of_step_up(method, latest))
        });
        assert!(all.to_string().len() <= 768, "{}", all.to_string().len());
        assert_eq!(Proofs::parse(&all.to_string()), all);
    }

    proptest! {
        /// Whatever is proved, in whatever order: each method once, with its latest time, and the text says the same.
        #[test]
        fn no_proof_is_lost(given in proptest::collection::vec((0_usize..8, 0_i64..1000, any::<bool>()), 0..40)) {
            let given: Vec<Proof> = given
                .into_iter()
                .map(|(n, at, step_up)| Proof { by: ProofMethod::ALL[n], at: Timestamp::from_micros(at), step_up })
                .collect();
            let proofs = given.iter().fold(Proofs::default(), |proofs, proof| proofs.with(*proof));
            for proof in &given {
                let last = given.iter().rfind(|other| is_same(other, proof)).unwrap();
                prop_assert_eq!(proofs.iter().filter(|known| is_same(known, proof)).collect::<Vec<_>>(), vec![last]);
            }
            prop_assert_eq!(Proofs::parse(&proofs.to_string()), proofs);
        }
    }
}
