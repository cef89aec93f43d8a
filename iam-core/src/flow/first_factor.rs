//! The first factor of an account that must have one. The password alone must not open its setting up, or whoever stole that would set up theirs
//! (OWASP ASVS 6.1.1, NIST SP 800-63B-4 4.1.2.1): a code to the account's verified address does, or an invitation, which is a ticket.

use std::time::Duration;

use crate::authz::principal::Principal;
use crate::base::clock::Timestamp;
use crate::base::code::Code;
use crate::base::id::AccountId;
use crate::iam::{Iam, Unit};
use crate::model::channel::Channel;
use crate::model::error::{Error, ProofKind};
use crate::model::proof::ProofMethod;
use crate::model::purpose::Purpose;
use crate::model::step_up_proof::StepUpProof;
use crate::model::ticket::{TicketPurpose, TicketToken};

/// How fresh the proof must be that the account is theirs. Confirming the factor asks again.
const WITHIN: Duration = Duration::from_mins(20);

/// Whether a method opens the setting up of a first factor.
pub(super) fn opens(method: ProofMethod) -> bool {
    method == ProofMethod::Invitation || method.channel() == Some(Channel::Email)
}

/// What somebody typed as an invitation: a token, in which hyphens count. It is trimmed as names are.
pub(super) fn read_invitation(typed: &str) -> Option<Code> {
    let token = crate::base::typed::name(typed.trim());
    TicketToken::parse(token).map(|_| Code::new(token))
}

/// Uses up an invitation of this account. Says whether it was one.
pub(super) async fn consume_invitation(
    unit: &mut Unit<'_>,
    account: AccountId,
    answer: &str,
    now: Timestamp,
) -> Result<bool, Error> {
    let Some(token) = TicketToken::parse(answer) else { return Ok(false) };
    let hash = token.hash_for(account);
    Ok(unit.tickets().consume(&hash, TicketPurpose::Invitation, now).await?.is_some())
}

impl Iam {
    /// Whether somebody may set up a first factor: who must have one has to have shown in this session that the account is theirs.
    pub(super) async fn may_set_up_first(&self, principal: &Principal) -> Result<(), Error> {
        if principal.factor_due_at().is_none() {
            return Ok(());
        }
        let shown = |proof: &StepUpProof| {
            proof.purpose == Purpose::ENROL && proof.proved_at.is_within(WITHIN, self.now())
        };
        if self.protocol().with_step_up_proofs(principal).await?.step_up_proofs().iter().any(shown) {
            Ok(())
        } else {
            Err(Error::Stale { proof: ProofKind::FirstFactor, max_age: WITHIN })
        }
    }
}
