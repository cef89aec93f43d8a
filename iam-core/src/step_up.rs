//! Step-up: a fresh proof for one purpose (RFC 9470). What a route asks for, and what a session can show for it.
//!
//! A [`Grant`] is a challenge that was answered for a [`Purpose`] of the host's: it belongs to one session, account and parent, and to
//! nothing else. Signing in makes none, and no grant opens what another purpose guards.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::account::AuthVersion;
use crate::clock::Timestamp;
use crate::id::{AccountId, ChallengeId, ParentId};
use crate::keys::MacKey;
use crate::mfa::FactorKind;

/// How old a grant may be, unless the route says otherwise.
pub const WITHIN: Duration = Duration::from_mins(5);

/// The oldest that a grant may be, whatever the route says.
pub const MOST_WITHIN: Duration = Duration::from_hours(1);

/// What somebody proves who they are for, such as `payroll`: lower-case letters, digits and `_ . : -`, beginning with a letter, at
/// most 32. Those that begin with `iam:` are this library's own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Purpose {
    length: u8,
    bytes: [u8; Self::MOST_BYTES],
}

impl Purpose {
    const MOST_BYTES: usize = 32;

    /// To set up the first factor of an account that must have one: the password alone must not do for that.
    pub const ENROL: Self = Self::own(b"iam:enrol");

    /// What challenges are for otherwise; a host's purpose must not look like one of them.
    const TAKEN: [&'static str; 3] = ["sign_in", "reauthenticate", "enrol"];

    const fn own(name: &[u8]) -> Self {
        let mut bytes = [0; Self::MOST_BYTES];
        let (target, _) = bytes.split_at_mut(name.len());
        target.copy_from_slice(name);
        #[expect(clippy::cast_possible_truncation, reason = "a name of ours, far shorter than 256")]
        let length = name.len() as u8;
        Self { length, bytes }
    }

    /// Reads a purpose.
    pub const fn parse(name: &str) -> Option<Self> {
        let name = name.as_bytes();
        if name.len() > Self::MOST_BYTES || !is_well_formed(name) || is_any_of(name, &Self::TAKEN) {
            return None;
        }
        Some(Self::own(name))
    }

    /// A purpose of a service's own, for a `const`: there a name that is none does not compile.
    ///
    /// ```
    /// # use iam_core::step_up::Purpose;
    /// const PAYROLL: Purpose = Purpose::of("payroll");
    /// assert_eq!(PAYROLL.as_str(), "payroll");
    /// ```
    /// ```compile_fail,E0080
    /// # use iam_core::step_up::Purpose;
    /// const PAYROLL: Purpose = Purpose::of("Pay Out");
    /// # let _ = PAYROLL;
    /// ```
    ///
    /// # Panics
    /// For a name that is no purpose, or is reserved for this library. For one that is not known when the program is compiled there is
    /// [`parse`](Self::parse), and `TryFrom`.
    #[expect(clippy::panic, reason = "for constants: there it stops the compiler, and no program")]
    pub const fn of(name: &'static str) -> Self {
        match Self::parse(name) {
            Some(purpose) if !purpose.is_reserved() => purpose,
            _ => panic!(
                "this is no purpose of a service: lower-case letters, digits and `_ . : -`, beginning with a letter, at most 32, and not \
                 with `iam:`"
            ),
        }
    }

    /// Whether it is one of this library's own, which no host's route may ask for.
    pub const fn is_reserved(&self) -> bool {
        matches!(self.bytes.split_first_chunk(), Some((b"iam:", _)))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        let name = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }
}

/// Begins with a letter and has nothing but what a purpose may have.
const fn is_well_formed(name: &[u8]) -> bool {
    if !matches!(name.first(), Some(b'a'..=b'z')) {
        return false;
    }
    let mut left = name;
    while let Some((byte, rest)) = left.split_first() {
        if !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b':' | b'-') {
            return false;
        }
        left = rest;
    }
    true
}

/// What `contains` would say, which a constant can't ask.
const fn is_any_of(name: &[u8], list: &[&str]) -> bool {
    let mut left = list;
    while let Some((known, rest)) = left.split_first() {
        let (mut one, mut other) = (name, known.as_bytes());
        while let (Some((a, more)), Some((b, others))) = (one.split_first(), other.split_first()) {
            if *a != *b {
                break;
            }
            (one, other) = (more, others);
        }
        if one.is_empty() && other.is_empty() {
            return true;
        }
        left = rest;
    }
    false
}

/// That a text is no purpose of a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no purpose: lower-case letters, digits and `_ . : -`, beginning with a letter, at most 32, and not with `iam:`"
)]
pub struct InvalidPurpose(String);

/// For what a host's routes ask for: the library's own purposes are none of theirs.
impl TryFrom<&str> for Purpose {
    type Error = InvalidPurpose;

    fn try_from(name: &str) -> Result<Self, InvalidPurpose> {
        Self::parse(name)
            .filter(|purpose| !purpose.is_reserved())
            .ok_or_else(|| InvalidPurpose(name.to_owned()))
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Purpose({:?})", self.as_str())
    }
}

/// A fresh proof that a route asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUp {
    purpose: Purpose,
    within: Duration,
    factors: Option<Vec<FactorKind>>,
    once: bool,
    approves: Vec<Cow<'static, str>>,
}

impl StepUp {
    /// For a purpose: by a factor that the service's policy counts for step-up, within the last [`WITHIN`], as often as one likes.
    pub const fn new(purpose: Purpose) -> Self {
        Self { purpose, within: WITHIN, factors: None, once: false, approves: Vec::new() }
    }

    /// How old the proof may be: from a second to [`MOST_WITHIN`]; what lies beyond is the nearest of these.
    #[must_use]
    pub fn within(self, age: Duration) -> Self {
        Self { within: age.clamp(Duration::from_secs(1), MOST_WITHIN), ..self }
    }

    /// Only by these, whatever the policy says. It is the one way in which codes by e-mail, recovery codes and the password count. An
    /// empty list lets nobody pass.
    #[must_use]
    pub fn factors(self, kinds: impl IntoIterator<Item = FactorKind>) -> Self {
        Self { factors: Some(kinds.into_iter().collect()), ..self }
    }

    /// Each proof is good for one request, which uses it up whatever becomes of the request.
    #[must_use]
    pub fn once(self) -> Self {
        Self { once: true, ..self }
    }

    /// The proof is good only for these values of the request's fields, which its sender was shown: those of an url-encoded form, or
    /// of a JSON object. The whole address is bound, too, but not shown: a handler takes what it acts on from the body.
    #[must_use]
    pub fn approving(self, fields: impl IntoIterator<Item = impl Into<Cow<'static, str>>>) -> Self {
        Self { approves: fields.into_iter().map(Into::into).collect(), ..self }
    }

    /// What for.
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// How old the proof may be.
    pub const fn max_age(&self) -> Duration {
        self.within
    }

    /// Which factors the route itself names.
    pub fn named_factors(&self) -> Option<&[FactorKind]> {
        self.factors.as_deref()
    }

    /// Whether a proof is good for one request only.
    pub const fn is_once(&self) -> bool {
        self.once
    }

    /// The fields whose values are approved.
    pub fn approved_fields(&self) -> &[Cow<'static, str>] {
        &self.approves
    }

    /// The factors that count, when those count by policy for routes that name none.
    pub fn accepted<'a>(&'a self, by_policy: &'a [FactorKind]) -> &'a [FactorKind] {
        self.factors.as_deref().unwrap_or(by_policy)
    }

    /// Whether a grant is what is asked for. `approval` is what the request is about, where the route binds the proof to that.
    pub(crate) fn is_met_by(
        &self,
        grant: &Grant,
        by_policy: &[FactorKind],
        approval: Option<&Approval>,
        now: Timestamp,
    ) -> bool {
        let for_this = if self.approves.is_empty() {
            // What was approved as such says nothing of anything else.
            grant.approval.is_none()
        } else {
            approval.is_some() && grant.approval == approval.map(|approval| approval.digest)
        };
        for_this && grant.is_of(self.purpose, self.accepted(by_policy), self.within, now)
    }
}

/// Shown in the audit log, and in the inventory of a service's routes.
impl fmt::Display for StepUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step-up for {} within {} s", self.purpose, self.within.as_secs())?;
        match self.factors.as_deref() {
            None => {}
            Some([]) => f.write_str(" by nothing")?,
            Some(kinds) => {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
                write!(f, " by {}", names.join(" or "))?;
            }
        }
        if self.once {
            f.write_str(", once")?;
        }
        if !self.approves.is_empty() {
            write!(f, ", approving {}", self.approves.join(" and "))?;
        }
        Ok(())
    }
}

/// What somebody has proved in a session for a purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The challenge that was answered.
    pub id: ChallengeId,
    /// Whose it was.
    pub account: AccountId,
    /// The parent that the account had then.
    pub parent: Option<ParentId>,
    /// The account's version then: a change of factors or of the password ends it.
    pub auth_version: AuthVersion,
    /// What for.
    pub purpose: Purpose,
    /// By what.
    pub kind: FactorKind,
    /// When.
    pub proved_at: Timestamp,
    /// For which request alone, as [`Approval::digest`].
    pub approval: Option<[u8; 32]>,
}

impl Grant {
    /// Whether it is for a purpose, by one of these kinds, and young enough.
    pub(crate) fn is_of(
        &self,
        purpose: Purpose,
        kinds: &[FactorKind],
        within: Duration,
        now: Timestamp,
    ) -> bool {
        self.purpose == purpose && kinds.contains(&self.kind) && self.proved_at.is_within(within, now)
    }
}

/// What a proof is to be good for, and for nothing else: a request with the values of its fields that matter.
#[derive(Clone, PartialEq, Eq)]
pub struct Approval {
    digest: [u8; 32],
    fields: Vec<(String, String)>,
}

impl Approval {
    /// Of a request (method and target, as sent) with these fields. Amounts and names are found by trying, so the digest has a key. In which
    /// order the route names the fields is for whoever reads them, and changes nothing.
    pub(crate) fn new(key: &MacKey, method: &str, target: &str, fields: Vec<(String, String)>) -> Self {
        let mut parts: Vec<&[u8]> = vec![method.as_bytes(), target.as_bytes()];
        let mut sorted: Vec<&(String, String)> = fields.iter().collect();
        sorted.sort();
        for (name, value) in sorted {
            parts.extend([name.as_bytes(), value.as_bytes()]);
        }
        Self { digest: key.tag(&parts), fields }
    }

    /// What a grant for it keeps.
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What is approved, for showing it to whoever does so: names and values, in the order in which the route names them.
    pub fn fields(&self) -> &[(String, String)] {
        &self.fields
    }
}

/// The values do not show.
impl fmt::Debug for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Approval").field("fields", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    #[test]
    fn purposes_have_plain_names() {
        for name in ["payroll", "a", "iam:administer", "pay.out_2-x", &"x".repeat(32)] {
            assert_eq!(Purpose::parse(name).unwrap().as_str(), name);
        }
        for name in
            ["", "Payroll", "1", ":a", "a b", "é", "sign_in", "reauthenticate", "enrol", &"x".repeat(33)]
        {
            assert_eq!(Purpose::parse(name), None, "{name}");
        }
        assert_eq!(Some(Purpose::ENROL), Purpose::parse("iam:enrol"));
    }

    #[test]
    fn our_own_purposes_are_known() {
        assert!(Purpose::ENROL.is_reserved());
        for name in ["iam", "iamx", "i", "sign_i", "sign_in_x"] {
            assert_eq!(Purpose::try_from(name).unwrap().as_str(), name);
        }
        for name in ["iam:enrol", "iam:", "Pay Out", "", "enrol"] {
            let error = Purpose::try_from(name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{name}` is no purpose")), "{error}");
        }
        assert!(!Purpose::parse("iam").unwrap().is_reserved());
        assert!(!Purpose::parse("payroll").unwrap().is_reserved());
    }

    #[test]
    fn an_approval_is_of_one_request_with_its_values() {
        let key = SecretKey::from_bytes(&[1; 32]).unwrap().derive("approval");
        let of = |method: &str, target: &str, fields: &[(&str, &str)]| {
            let fields =
                fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Approval::new(&key, method, target, fields)
        };
        let approved = of("POST", "/pay", &[("amount", "100"), ("payee", "bob")]);
        assert_eq!(approved, of("POST", "/pay", &[("amount", "100"), ("payee", "bob")]));
        assert_eq!(approved.digest(), of("POST", "/pay", &[("payee", "bob"), ("amount", "100")]).digest());
        for other in [
            of("POST", "/pay", &[("amount", "1000"), ("payee", "bob")]),
            of("POST", "/pay", &[("amount", "100"), ("payee", "eve")]),
            of("POST", "/pay", &[("amount", "100p"), ("ayee", "bob")]),
            of("POST", "/pay", &[("payee", "100"), ("amount", "bob")]),
            of("POST", "/pay?x", &[("amount", "100"), ("payee", "bob")]),
            of("PUT", "/pay", &[("amount", "100"), ("payee", "bob")]),
        ] {
            assert_ne!(other.digest(), approved.digest(), "{other:?}");
        }
        assert!(!format!("{approved:?}").contains("bob"));
    }

    #[test]
    fn ages_stay_within_bounds() {
        let asked = StepUp::new(Purpose::parse("x").unwrap());
        assert_eq!(asked.max_age(), WITHIN);
        assert_eq!(asked.clone().within(Duration::from_hours(9)).max_age(), MOST_WITHIN);
        assert_eq!(asked.within(Duration::ZERO).max_age(), Duration::from_secs(1));
    }
}
