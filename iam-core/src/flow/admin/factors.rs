//! Who must have a second factor: what administrators set, what it means for somebody now, and how they come to their first one.

use std::fmt;
use std::time::Duration;

use crate::audit::{Event, Subject, Target};
use crate::authz::actor::{Actor, Scope};
use crate::authz::principal::Principal;
use crate::base::id::{AccountId, ParentId};
use crate::base::invalid::{Invalid, Problem};
use crate::base::store_error::{StoreError, StoreErrorKind};
use crate::delivery::Notice;
use crate::flow::second_factor::is_confirmed;
use crate::flow::tickets::NewTicket;
use crate::iam::{Factors, Iam, Protocol, Unit};
use crate::model::account::{Account, AccountStatus};
use crate::model::conflict::{Changing, Conflict};
use crate::model::error::Error;
use crate::model::factor_kind::FactorKind;
use crate::model::policy::{FactorRequirement, MOST_GRACE};
use crate::model::role::RoleName;
use crate::model::session_state::EndReason;
use crate::model::ticket::{TicketPurpose, TicketToken};

/// How long an invitation works.
const INVITATION_FOR: Duration = Duration::from_hours(24);

/// Of whom a second factor is required.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequirementOf {
    /// Of everybody who holds a role.
    Role(RoleName),
    /// Of everybody who belongs to a parent.
    Parent(ParentId),
}

impl fmt::Display for RequirementOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(name) => write!(f, "role {name}"),
            Self::Parent(id) => write!(f, "parent {id}"),
        }
    }
}

impl RequirementOf {
    fn target(&self) -> Target {
        match self {
            Self::Role(name) => Target::role(name),
            Self::Parent(id) => Target::parent(*id),
        }
    }

    fn changed_by(&self, actor: &Actor) -> Subject {
        match self {
            Self::Role(_) => actor.subject(),
            Self::Parent(id) => actor.in_parent(*id),
        }
    }
}

/// What somebody has to do whose second factor is due.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FactorDue {
    /// To prove one of these, which they have.
    Prove(Vec<FactorKind>),
    /// To set up one of these. `first`: they have none at all, and need an invitation or a code to their verified address for it.
    SetUp {
        /// What will do.
        kinds: Vec<FactorKind>,
        /// Whether it is their first.
        first: bool,
    },
}

impl Factors<'_> {
    /// Requires a second factor of everybody who holds a role, or belongs to a parent. From now on, or from when they come to be among
    /// them, they have so long to set one up; after that they can do nothing else. It counts from their next request on. Given again,
    /// it begins anew. Says whether anything changed.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a grace of more than [`MOST_GRACE`]; [`Error::NotFound`]; [`Error::Conflict`] if no factor that counts
    /// ([`FactorPolicy::sign_in`](crate::model::policy::FactorPolicy::sign_in)) is offered: nobody could ever meet it.
    pub async fn require(self, of: &RequirementOf, grace: Duration) -> Result<bool, Error> {
        if grace > MOST_GRACE {
            return Err(Invalid::new("grace", Problem::Malformed).into());
        }
        if self.iam.counting().is_empty() {
            return Err(Conflict::NoFactorOffered.into());
        }
        self.set_requirement(of, Some(grace)).await
    }

    /// Requires a second factor no longer. Says whether it was required.
    pub async fn lift(self, of: &RequirementOf) -> Result<bool, Error> {
        self.set_requirement(of, None).await
    }

    /// What is required of the holders of a role, or of the accounts of a parent.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`].
    pub async fn requirement(self, of: &RequirementOf) -> Result<Option<FactorRequirement>, Error> {
        self.must_administer(of).await?;
        self.required(of).await
    }

    async fn required(self, of: &RequirementOf) -> Result<Option<FactorRequirement>, Error> {
        let mut reader = self.iam.inner.store.reader().await?;
        Ok(match of {
            RequirementOf::Role(name) => {
                let role = reader.roles().by_name(name).await?;
                role.ok_or(Error::NotFound("role"))?.factor_required
            }
            RequirementOf::Parent(id) => {
                let parent = reader.parents().by_id(*id).await?;
                parent.ok_or(Error::NotFound("parent"))?.factor_required
            }
        })
    }

    /// Roles are the platform's; of a parent its own administrators decide, too.
    async fn must_administer(self, of: &RequirementOf) -> Result<(), Error> {
        let own = match (self.actor.scope(), of) {
            (Scope::Platform, _) => true,
            (Scope::Parent(own), RequirementOf::Parent(parent)) => own == *parent,
            _ => false,
        };
        let may = if own { Ok(()) } else { Err(Error::Denied) };
        self.iam.note_refused(may, self.actor, "factors.require").await
    }

    async fn set_requirement(self, of: &RequirementOf, grace: Option<Duration>) -> Result<bool, Error> {
        let Self { iam, actor } = self;
        self.must_administer(of).await?;
        iam.retried(|| async {
            let now = iam.now();
            let from = self.required(of).await?;
            let to = grace.map(|grace| FactorRequirement { since: now, grace });
            if from.is_none() && to.is_none() {
                return Ok(false);
            }
            let mut unit = iam.begin().await?;
            let changed = match of {
                RequirementOf::Parent(id) => {
                    unit.parents().set_factor_requirement(*id, from, to, now).await?
                }
                RequirementOf::Role(name) => {
                    let role = unit.roles().by_name(name).await?.ok_or(Error::NotFound("role"))?;
                    unit.roles().set_factor_requirement(role.id, from, to).await?
                }
            };
            if !changed {
                return Err(Conflict::Changed(Changing::Requirement).into());
            }
            let event = Event::FactorRequirementChanged(of.target(), in_words(from), in_words(to));
            unit.record(&event, of.changed_by(actor), actor.client()).await?;
            unit.commit().await?;
            Ok(true)
        })
        .await
    }

    /// An invitation to set up the first factor of an account, for somebody who has no verified address: to be handed over in a way
    /// that shows who they are. It works once, for a day, for this account alone, and beside its password. An earlier one is void.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an account that does not exist or may not sign in; [`Error::Denied`] for one that the actor does not administer;
    /// [`Error::Conflict`] for one that has a factor.
    pub async fn invite_to_enrol(self, account: AccountId) -> Result<TicketToken, Error> {
        let Self { iam, actor } = self;
        let done = iam.retried(|| async {
            let mut unit = iam.begin().await?;
            let known = iam.administered(&mut unit, actor, account).await?;
            if known.status != AccountStatus::Active {
                return Err(Error::NotFound("account"));
            }
            if unit.methods().of_account(account).await?.iter().any(is_confirmed) {
                return Err(Conflict::HasFactor.into());
            }
            let new = NewTicket {
                purpose: TicketPurpose::Invitation,
                account: Some(account),
                parent: None,
                payload: None,
                lifetime: INVITATION_FOR,
            };
            let token = iam.issue_ticket(&mut unit, new).await?;
            unit.record(&Event::InvitationIssued, actor.on(account), actor.client()).await?;
            unit.commit().await?;
            Ok(token)
        });
        iam.note_refused(done.await, actor, "factors.invite_to_enrol").await
    }

    /// Takes all factors of an account away, for somebody who has lost them: after that the password alone signs in. All sessions end,
    /// no browser is trusted, failures are forgotten. Whoever calls it has made sure whom they do it for. Says how many factors there were.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`]: for an account that the actor does not administer.
    pub async fn reset(self, account: AccountId) -> Result<u64, Error> {
        let Self { iam, actor } = self;
        let done = iam.retried(|| async {
            let mut unit = iam.begin().await?;
            let known = iam.administered(&mut unit, actor, account).await?;
            let removed = iam.reset_factors_in(&mut unit, &known, actor).await?;
            unit.commit().await?;
            Ok(removed)
        });
        iam.note_refused(done.await, actor, "factors.reset").await
    }
}

impl Protocol<'_> {
    /// What somebody has to do whose second factor is due.
    pub async fn factor_due(self, principal: &Principal) -> Result<FactorDue, Error> {
        let iam = self.iam;
        let methods = iam.inner.store.reader().await?.methods().of_account(principal.account).await?;
        let confirmed: Vec<_> = methods.iter().filter(|method| is_confirmed(method)).collect();
        let kinds = iam.counting();
        let known = confirmed.iter().filter_map(|method| method.kind.known());
        let mut proved: Vec<FactorKind> = known.filter(|kind| kinds.contains(kind)).collect();
        proved.dedup();
        if !proved.is_empty() {
            return Ok(FactorDue::Prove(proved));
        }
        Ok(FactorDue::SetUp { kinds, first: confirmed.is_empty() })
    }
}

impl Iam {
    async fn reset_factors_in(
        &self,
        unit: &mut Unit<'_>,
        known: &Account,
        actor: &Actor,
    ) -> Result<u64, Error> {
        let (account, now, subject) = (known.id, self.now(), actor.on(known.id));
        // Also of an account that is locked: then there is no session to end. One that changed meanwhile is tried again.
        let raised = unit.accounts().raise_version(account, known.auth_version, now).await?;
        if !raised && known.status == AccountStatus::Active {
            return Err(StoreError::new(StoreErrorKind::Conflict, "the account changed").into());
        }
        let ended = unit.sessions().end_all(account, EndReason::FactorsChanged, now).await?;
        for key in &self.failure_keys(account) {
            unit.limits().forget(key).await?;
        }
        let removed = unit.methods().remove_all(account).await?;
        unit.tickets().void(TicketPurpose::Invitation, account, now).await?;
        unit.recovery_codes().replace(account, &[], now).await?;
        unit.record(&Event::FactorsReset(removed), subject.clone(), actor.client()).await?;
        if ended > 0 {
            unit.record(&Event::SessionsEnded(ended), subject.clone(), actor.client()).await?;
        }
        self.forget_devices_in(unit, account, subject, actor.client()).await?;
        self.notify(unit, known, Notice::FactorsReset, actor.client()).await?;
        Ok(removed)
    }

    /// The factors that satisfy a requirement and can be set up.
    fn counting(&self) -> Vec<FactorKind> {
        let (offered, counts) = (self.offered_factors(), &self.inner.factor_policy.sign_in);
        FactorKind::ALL.into_iter().filter(|kind| counts.contains(kind) && offered.contains(kind)).collect()
    }
}

fn in_words(requirement: Option<FactorRequirement>) -> String {
    match requirement {
        None => "not required".to_owned(),
        Some(FactorRequirement { since, grace }) => {
            format!("required since {since}, grace {} s", grace.as_secs())
        }
    }
}
