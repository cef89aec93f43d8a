//! Step-up: a fresh proof for one purpose (RFC 9470). What a route asks for, and what a session can show for it.
//!
//! A [`StepUpProof`] comes of a challenge that was answered for a [`Purpose`] of the host's: it belongs to one session, account and parent,
//! and to nothing else. Signing in makes none, and no proof opens what another purpose guards.

use crate::model::purpose::Purpose;
use crate::model::step_up_proof::StepUpProof;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::model::proof::ProofMethod;
use crate::secrets::secret_key::MacKey;

/// How old a proof may be, unless the route says otherwise.
pub const WITHIN: Duration = Duration::from_mins(5);

/// The oldest that a proof may be, whatever the route says.
pub const MOST_WITHIN: Duration = Duration::from_hours(1);

/// A fresh proof that a route asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUp {
    purpose: Purpose,
    within: Duration,
    factors: Option<Vec<ProofMethod>>,
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
    pub fn factors(self, methods: impl IntoIterator<Item = impl Into<ProofMethod>>) -> Self {
        Self { factors: Some(methods.into_iter().map(Into::into).collect()), ..self }
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
    pub fn named_factors(&self) -> Option<&[ProofMethod]> {
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
    pub fn accepted<'a>(&'a self, by_policy: &'a [ProofMethod]) -> &'a [ProofMethod] {
        self.factors.as_deref().unwrap_or(by_policy)
    }

    /// Whether a proof is what is asked for. `approval` is what the request is about, where the route binds the proof to that.
    pub(crate) fn is_met_by(
        &self,
        proof: &StepUpProof,
        by_policy: &[ProofMethod],
        approval: Option<&Approval>,
        now: Timestamp,
    ) -> bool {
        let for_this = if self.approves.is_empty() {
            // What was approved as such says nothing of anything else.
            proof.approval.is_none()
        } else {
            approval.is_some() && proof.approval == approval.map(|approval| approval.digest)
        };
        for_this && proof.is_of(self.purpose, self.accepted(by_policy), self.within, now)
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

    /// What a proof for it keeps.
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
    use crate::secrets::secret_key::SecretKey;

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
