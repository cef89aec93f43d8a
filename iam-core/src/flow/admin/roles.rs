//! Roles, those that hold them, and administrators: the one way to the roles that mean something to this library, and that somebody is left who
//! administers the platform.

use crate::audit::Event;
use crate::authz::actor::Actor;
use crate::base::id::{AccountId, RoleId};
use crate::base::invalid::{Invalid, Problem};
use crate::iam::{Iam, Roles, Unit};
use crate::model::conflict::{Changing, Conflict};
use crate::model::error::Error;
use crate::model::role::{AdministratorScope, GrantSource, Role, RoleGrant, RoleName};
use crate::store::{Holders, Inserted};

impl Roles<'_> {
    /// Makes a role, or gives the one that has the name.
    ///
    /// # Errors
    /// [`Error::Denied`] for an actor that does not administer the platform; [`Error::Invalid`] for a name that begins with `iam:` and is none of
    /// this library's own roles.
    pub async fn ensure(self, name: &RoleName) -> Result<RoleId, Error> {
        self.iam.must_be_platform(self.actor, "roles.ensure").await?;
        if AdministratorScope::of_role(name).is_none() {
            is_hosts_own(name)?;
        }
        self.iam.ensure_role(name, self.actor).await
    }

    /// Gives a role of the host's own. It counts from the next request on.
    ///
    /// # Errors
    /// [`Error::Denied`] for an actor that does not administer the platform; [`Error::Invalid`] for a name that begins with `iam:`;
    /// administrators are made by [`grant_administrator`](Self::grant_administrator).
    pub async fn grant(self, account: AccountId, name: &RoleName) -> Result<(), Error> {
        let Self { iam, actor } = self;
        iam.must_be_platform(actor, "roles.grant").await?;
        is_hosts_own(name)?;
        let role = iam.ensure_role(name, actor).await?;
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
            iam.grant_in(&mut unit, account, role, name.as_str(), actor).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// Takes a role away that was given by the service or its people, from the next request on. Says whether it was held so. What another
    /// source gave, such as a provider's claims, stays.
    ///
    /// # Errors
    /// [`Error::Denied`] for an actor that does not administer the platform; [`Error::Invalid`] for the roles of administrators, which
    /// [`revoke_administrator`](Self::revoke_administrator) takes away.
    pub async fn revoke(self, account: AccountId, name: &RoleName) -> Result<bool, Error> {
        let Self { iam, actor } = self;
        iam.must_be_platform(actor, "roles.revoke").await?;
        // Another name of ours is from a time when a host could give it, and means nothing.
        if AdministratorScope::of_role(name).is_some() {
            is_hosts_own(name)?;
        }
        let Some(role) = iam.inner.store.reader().await?.roles().by_name(name).await? else {
            return Ok(false);
        };
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
            let was_held = iam.revoke_in(&mut unit, account, &role, actor).await?;
            unit.commit().await?;
            Ok(was_held)
        })
        .await
    }

    /// Makes an account an administrator, from its next request on: of everything, or of everything in its parent.
    ///
    /// # Errors
    /// [`Error::Denied`] for an actor that does not administer the platform; [`Error::NotFound`]; [`Error::Conflict`] for one of a parent
    /// that the account does not have.
    pub async fn grant_administrator(
        self,
        account: AccountId,
        scope: AdministratorScope,
    ) -> Result<(), Error> {
        let Self { iam, actor } = self;
        iam.must_be_platform(actor, "roles.grant_administrator").await?;
        let known = iam.inner.store.reader().await?.accounts().by_id(account).await?;
        let known = known.ok_or(Error::NotFound("account"))?;
        if scope == AdministratorScope::Parent && known.parent.is_none() {
            return Err(Conflict::NoParent.into());
        }
        let role = iam.ensure_role(&scope.role_name(), actor).await?;
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
            iam.grant_in(&mut unit, account, role, scope.role(), actor).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// Makes an account an administrator no longer, from its next request on. Says whether it was one.
    ///
    /// # Errors
    /// [`Error::Denied`] for an actor that does not administer the platform; [`Error::Conflict`] for the last administrator of the platform:
    /// make another one first.
    pub async fn revoke_administrator(
        self,
        account: AccountId,
        scope: AdministratorScope,
    ) -> Result<bool, Error> {
        let Self { iam, actor } = self;
        iam.must_be_platform(actor, "roles.revoke_administrator").await?;
        let name = scope.role_name();
        let Some(role) = iam.inner.store.reader().await?.roles().by_name(&name).await? else {
            return Ok(false);
        };
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
            if scope == AdministratorScope::Platform
                && unit.roles().are_last_holders(role.id, Holders::Account(account)).await?
            {
                return Err(LAST);
            }
            let was_held = iam.revoke_in(&mut unit, account, &role, actor).await?;
            unit.commit().await?;
            Ok(was_held)
        })
        .await
    }
}

impl Iam {
    /// Makes a role, or gives the one that has the name.
    pub(super) async fn ensure_role(&self, name: &RoleName, actor: &Actor) -> Result<RoleId, Error> {
        if let Some(role) = self.inner.store.reader().await?.roles().by_name(name).await? {
            return Ok(role.id);
        }
        let now = self.now();
        let role = Role::new(RoleId::generate(now, self.randomness())?, name.clone());
        self.retried(|| async {
            let mut unit = self.begin().await?;
            if unit.roles().insert(&role, now).await? != Inserted::Done {
                drop(unit);
                let role = self.inner.store.reader().await?.roles().by_name(name).await?;
                return role.map(|role| role.id).ok_or(Conflict::Changed(Changing::Role).into());
            }
            unit.record(&Event::RoleCreated(name.to_string()), actor.subject(), actor.client()).await?;
            unit.commit().await?;
            Ok(role.id)
        })
        .await
    }

    pub(super) async fn grant_in(
        &self,
        unit: &mut Unit<'_>,
        account: AccountId,
        role: RoleId,
        name: &str,
        actor: &Actor,
    ) -> Result<(), Error> {
        let grant = RoleGrant {
            account,
            role,
            source: GrantSource::LOCAL,
            granted_by: actor.account(),
            granted_at: self.now(),
            expires_at: None,
        };
        if unit.roles().grant(&grant).await? {
            let event = Event::RoleGranted(name.to_owned());
            unit.record(&event, actor.on(account), actor.client()).await?;
        }
        Ok(())
    }

    async fn revoke_in(
        &self,
        unit: &mut Unit<'_>,
        account: AccountId,
        role: &Role,
        actor: &Actor,
    ) -> Result<bool, Error> {
        let was_held = unit.roles().revoke(account, role.id, &GrantSource::LOCAL).await?;
        if was_held {
            let event = Event::RoleRevoked(role.name.to_string());
            unit.record(&event, actor.on(account), actor.client()).await?;
        }
        Ok(was_held)
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
