//! What the service and its administrators do to accounts, parents, roles, sessions and factors. Each change comes with its audit record, and the
//! actor's scope is looked at in the unit of work that makes it.

pub(super) mod accounts;
mod factors;
mod parents;
mod roles;
mod sessions;
mod setup;

pub use accounts::{FirstPassword, NewAccount, PreparedAccount};
pub use factors::{FactorDue, RequirementOf};

use crate::audit::Event;
use crate::authz::actor::{Actor, Scope};
use crate::base::id::AccountId;
use crate::iam::{Iam, Unit};
use crate::model::account::Account;
use crate::model::error::Error;
use crate::model::role::RoleName;

impl Iam {
    /// An account that an actor may administer. One of another parent is as if it were not there; administrators are administered by the platform's
    /// alone.
    pub(super) async fn administered(
        &self,
        unit: &mut Unit<'_>,
        actor: &Actor,
        account: AccountId,
    ) -> Result<Account, Error> {
        if actor.scope() == Scope::Nothing {
            return Err(Error::Denied);
        }
        let known = unit.accounts().by_id(account).await?.ok_or(Error::NotFound("account"))?;
        let Scope::Parent(parent) = actor.scope() else { return Ok(known) };
        if known.parent != Some(parent) {
            return Err(Error::NotFound("account"));
        }
        let roles = unit.roles().of_account(account).await?;
        if roles.iter().any(|role| RoleName::is_reserved(&role.name)) {
            return Err(Error::Denied);
        }
        Ok(known)
    }

    /// Writes down what an actor was refused because of its scope. To be called with no unit of work open.
    async fn note_refused<T>(
        &self,
        done: Result<T, Error>,
        actor: &Actor,
        what: &'static str,
    ) -> Result<T, Error> {
        let is_refusal = match &done {
            Err(Error::Denied) => true,
            Err(Error::NotFound(_)) => actor.scope() != Scope::Platform,
            _ => false,
        };
        if is_refusal {
            let event = Event::AccessDenied(what.to_owned());
            self.record_refusal(&event, actor.subject(), actor.client()).await;
        }
        done
    }

    /// Refuses what only the platform's administrators, and the service itself, may do.
    pub(super) async fn must_be_platform(&self, actor: &Actor, what: &'static str) -> Result<(), Error> {
        let allowed = if actor.scope() == Scope::Platform { Ok(()) } else { Err(Error::Denied) };
        self.note_refused(allowed, actor, what).await
    }
}
