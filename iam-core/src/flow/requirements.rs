//! Who must have a second factor: what administrators set, what it means for somebody now, and how they come to their first one.

use std::fmt;
use std::time::Duration;

use crate::audit::{Event, Subject, Target};
use crate::authz::principal::Principal;
use crate::base::id::{AccountId, ParentId};
use crate::base::invalid::{Invalid, Problem};
use crate::flow::Actor;
use crate::flow::second_factor::is_confirmed;
use crate::flow::tickets::NewTicket;
use crate::iam::Iam;
use crate::model::account::AccountStatus;
use crate::model::conflict::{Changing, Conflict};
use crate::model::error::Error;
use crate::model::factor_kind::FactorKind;
use crate::model::policy::{FactorRequirement, MOST_GRACE};
use crate::model::role::RoleName;
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

impl Iam {
    /// Requires a second factor of everybody who holds a role, or belongs to a parent. From now on, or from when they come to be among
    /// them, they have so long to set one up; after that they can do nothing else. It counts from their next request on. Given again,
    /// it begins anew. Says whether anything changed.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a grace of more than [`MOST_GRACE`]; [`Error::NotFound`]; [`Error::Conflict`] if no factor that counts
    /// ([`FactorPolicy::sign_in`](crate::model::policy::FactorPolicy::sign_in)) is offered: nobody could ever meet it.
    pub async fn require_second_factor(
        &self,
        of: &RequirementOf,
        grace: Duration,
        actor: &Actor,
    ) -> Result<bool, Error> {
        if grace > MOST_GRACE {
            return Err(Invalid::new("grace", Problem::Malformed).into());
        }
        if self.counting().is_empty() {
            return Err(Conflict::NoFactorOffered.into());
        }
        self.set_requirement(of, Some(grace), actor).await
    }

    /// Requires a second factor no longer. Says whether it was required.
    pub async fn lift_second_factor(&self, of: &RequirementOf, actor: &Actor) -> Result<bool, Error> {
        self.set_requirement(of, None, actor).await
    }

    /// What is required of the holders of a role, or of the accounts of a parent.
    pub async fn factor_requirement(&self, of: &RequirementOf) -> Result<Option<FactorRequirement>, Error> {
        let store = &self.inner.store;
        Ok(match of {
            RequirementOf::Role(name) => {
                store
                    .reader()
                    .await?
                    .roles()
                    .by_name(name)
                    .await?
                    .ok_or(Error::NotFound("role"))?
                    .factor_required
            }
            RequirementOf::Parent(id) => {
                store
                    .reader()
                    .await?
                    .parents()
                    .by_id(*id)
                    .await?
                    .ok_or(Error::NotFound("parent"))?
                    .factor_required
            }
        })
    }

    async fn set_requirement(
        &self,
        of: &RequirementOf,
        grace: Option<Duration>,
        actor: &Actor,
    ) -> Result<bool, Error> {
        self.retried(|| async {
            let now = self.now();
            let from = self.factor_requirement(of).await?;
            let to = grace.map(|grace| FactorRequirement { since: now, grace });
            if from.is_none() && to.is_none() {
                return Ok(false);
            }
            let mut unit = self.begin().await?;
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
            unit.record(&event, of.changed_by(actor), &actor.client).await?;
            unit.commit().await?;
            Ok(true)
        })
        .await
    }

    /// What somebody has to do whose second factor is due.
    pub async fn factor_due(&self, principal: &Principal) -> Result<FactorDue, Error> {
        let methods = self.inner.store.reader().await?.methods().of_account(principal.account).await?;
        let confirmed: Vec<_> = methods.iter().filter(|method| is_confirmed(method)).collect();
        let kinds = self.counting();
        let known = confirmed.iter().filter_map(|method| method.kind.known());
        let mut proved: Vec<FactorKind> = known.filter(|kind| kinds.contains(kind)).collect();
        proved.dedup();
        if !proved.is_empty() {
            return Ok(FactorDue::Prove(proved));
        }
        Ok(FactorDue::SetUp { kinds, first: confirmed.is_empty() })
    }

    /// The factors that satisfy a requirement and can be set up.
    fn counting(&self) -> Vec<FactorKind> {
        let (offered, counts) = (self.offered_factors(), &self.inner.factor_policy.sign_in);
        FactorKind::ALL.into_iter().filter(|kind| counts.contains(kind) && offered.contains(kind)).collect()
    }

    /// An invitation to set up the first factor of an account, for somebody who has no verified address: to be handed over in a way
    /// that shows who they are. It works once, for a day, for this account alone, and beside its password. An earlier one is void.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an account that does not exist or may not sign in; [`Error::Conflict`] for one that has a factor.
    pub async fn invite_to_enrol(&self, account: AccountId, actor: &Actor) -> Result<TicketToken, Error> {
        let known = self.inner.store.reader().await?.accounts().by_id(account).await?;
        known.filter(|known| known.status == AccountStatus::Active).ok_or(Error::NotFound("account"))?;
        if self.inner.store.reader().await?.methods().of_account(account).await?.iter().any(is_confirmed) {
            return Err(Conflict::HasFactor.into());
        }
        self.retried(|| async {
            let mut unit = self.begin().await?;
            let new = NewTicket {
                purpose: TicketPurpose::Invitation,
                account: Some(account),
                parent: None,
                payload: None,
                lifetime: INVITATION_FOR,
            };
            let token = self.issue_ticket(&mut unit, new).await?;
            unit.record(&Event::InvitationIssued, actor.on(account), &actor.client).await?;
            unit.commit().await?;
            Ok(token)
        })
        .await
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
