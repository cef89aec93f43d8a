//! Administrators: the one way to the roles that mean something to this library, and that somebody is left who administers the platform.

use crate::audit::Event;
use crate::base::id::AccountId;
use crate::base::invalid::{Invalid, Problem};
use crate::flow::Actor;
use crate::iam::{Iam, Unit};
use crate::model::conflict::Conflict;
use crate::model::error::Error;
use crate::model::role::{AdministratorScope, GrantSource, Role, RoleName};
use crate::store::Holders;

impl Iam {
    /// Makes an account an administrator, from its next request on. Whether the actor may is the caller's to decide: who does this can
    /// do everything, or everything in a parent.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] for one of a parent that the account does not have.
    pub async fn grant_administrator(
        &self,
        account: AccountId,
        scope: AdministratorScope,
        actor: &Actor,
    ) -> Result<(), Error> {
        let known = self
            .inner
            .store
            .reader()
            .await?
            .accounts()
            .by_id(account)
            .await?
            .ok_or(Error::NotFound("account"))?;
        if scope == AdministratorScope::Parent && known.parent.is_none() {
            return Err(Conflict::NoParent.into());
        }
        let role = self.ensure_role(&scope.role_name(), actor).await?;
        self.retried(|| async {
            let mut unit = self.begin().await?;
            self.grant_in(&mut unit, account, role, scope.role(), actor).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// Makes an account an administrator no longer, from its next request on. Says whether it was one.
    ///
    /// # Errors
    /// [`Error::Conflict`] for the last administrator of the platform: make another one first.
    pub async fn revoke_administrator(
        &self,
        account: AccountId,
        scope: AdministratorScope,
        actor: &Actor,
    ) -> Result<bool, Error> {
        let name = scope.role_name();
        let Some(role) = self.inner.store.reader().await?.roles().by_name(&name).await? else {
            return Ok(false);
        };
        self.retried(|| async {
            let mut unit = self.begin().await?;
            if scope == AdministratorScope::Platform
                && unit.roles().are_last_holders(role.id, Holders::Account(account)).await?
            {
                return Err(LAST);
            }
            if !unit.roles().revoke(account, role.id, &GrantSource::LOCAL).await? {
                return Ok(false);
            }
            let event = Event::RoleRevoked(name.to_string());
            unit.record(&event, actor.on(account), &actor.client).await?;
            unit.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Whether somebody is left to administer the platform when these are stopped. To be asked before anything else in the unit.
    pub(super) async fn leave_an_administrator(
        &self,
        unit: &mut Unit<'_>,
        platform: Option<&Role>,
        without: Holders,
    ) -> Result<(), Error> {
        match platform {
            Some(role) if unit.roles().are_last_holders(role.id, without).await? => Err(LAST),
            _ => Ok(()),
        }
    }

    /// The role of platform administrators, if there ever was one.
    pub(super) async fn platform_role(&self) -> Result<Option<Role>, Error> {
        Ok(self
            .inner
            .store
            .reader()
            .await?
            .roles()
            .by_name(&AdministratorScope::Platform.role_name())
            .await?)
    }
}

const LAST: Error = Error::Conflict(Conflict::LastAdministrator);

/// That a role is a host's own to give and to take away.
pub(super) fn is_hosts_own(name: &RoleName) -> Result<(), Error> {
    if name.is_reserved() { Err(Invalid::new("role", Problem::Reserved).into()) } else { Ok(()) }
}
