//! What the service and its administrators do to accounts, parents and roles. Each change comes with its audit record.

use crate::audit::{Event, Subject};
use crate::base::id::{AccountId, ParentId, RoleId, SessionId};
use crate::delivery::Notice;
use crate::flow::administrators::is_hosts_own;
use crate::iam::{Iam, Unit};
use crate::model::account::{Account, AccountStatus, ExternalId, Username};
use crate::model::client::Client;
use crate::model::conflict::{Changing, Conflict};
use crate::model::error::Error;
use crate::model::parent::{Parent, ParentKey, ParentStatus};
use crate::model::role::{AdministratorScope, GrantSource, Role, RoleGrant, RoleName};
use crate::model::session_state::EndReason;
use crate::password::PlainPassword;
use crate::store::{Holders, Inserted};

/// Who does it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Actor {
    /// The account; nobody, when the service does it by itself.
    pub account: Option<AccountId>,
    /// From where.
    pub client: Client,
}

impl Actor {
    /// The service itself.
    pub fn service() -> Self {
        Self::default()
    }

    /// A person. Whether they may is the caller's to decide.
    pub fn account(account: AccountId, client: Client) -> Self {
        Self { account: Some(account), client }
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject { actor: self.account, ..Subject::default() }
    }

    pub(super) fn on(&self, account: AccountId) -> Subject {
        Subject { actor: self.account, account: Some(account), ..Subject::default() }
    }

    pub(super) fn in_parent(&self, parent: ParentId) -> Subject {
        Subject { actor: self.account, parent: Some(parent).into(), ..Subject::default() }
    }
}

impl Iam {
    /// Sets a password. All sessions of the account end with it, and none of its browsers is trusted any more.
    pub async fn set_password(
        &self,
        account: AccountId,
        password: &PlainPassword,
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
        let context = self.password_context(&known.username, known.email.as_ref(), known.parent).await?;
        let new = self.new_password(password, &context).await?;
        let now = self.now();
        self.retried(|| async {
            let mut unit = self.begin().await?;
            if !unit.accounts().set_password(account, &new.hash, now).await? {
                return Err(Error::NotFound("account"));
            }
            unit.record(&Event::PasswordChanged, actor.on(account), &actor.client).await?;
            self.notify(&mut unit, &known, Notice::PasswordChanged, &actor.client).await?;
            new.audit(&mut unit, actor.on(account), &actor.client).await?;
            self.end_sessions_in(&mut unit, account, actor).await?;
            self.forget_devices_in(&mut unit, account, actor.on(account), &actor.client).await?;
            unit.commit().await?;
            Ok(())
        })
        .await
    }

    /// Lets an account sign in, or not. Its sessions end with every change, and so does the trust in its browsers.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when somebody else changes it at that moment, and for the last administrator of the
    /// platform: make another one first.
    pub async fn set_account_status(
        &self,
        account: AccountId,
        to: AccountStatus,
        actor: &Actor,
    ) -> Result<(), Error> {
        let from = self
            .inner
            .store
            .reader()
            .await?
            .accounts()
            .by_id(account)
            .await?
            .ok_or(Error::NotFound("account"))?
            .status;
        if from == to {
            return Ok(());
        }
        let platform = if to == AccountStatus::Active { None } else { self.platform_role().await? };
        self.retried(|| async {
            let mut unit = self.begin().await?;
            self.leave_an_administrator(&mut unit, platform.as_ref(), Holders::Account(account)).await?;
            if !unit.accounts().set_status(account, from, to, self.now()).await? {
                return Err(Conflict::Changed(Changing::Account).into());
            }
            let event = Event::AccountStatusChanged(from.as_str(), to.as_str());
            unit.record(&event, actor.on(account), &actor.client).await?;
            self.end_sessions_in(&mut unit, account, actor).await?;
            self.forget_devices_in(&mut unit, account, actor.on(account), &actor.client).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// An account by name.
    pub async fn account_by_username(&self, username: &Username) -> Result<Option<Account>, Error> {
        Ok(self.inner.store.reader().await?.accounts().by_username(username).await?)
    }

    /// Makes a parent, or gives the one that has the key.
    pub async fn ensure_parent(&self, key: &ParentKey, actor: &Actor) -> Result<ParentId, Error> {
        if let Some(parent) = self.inner.store.reader().await?.parents().by_key(key).await? {
            return Ok(parent.id);
        }
        let now = self.now();
        let parent = Parent::new(ParentId::generate(now, self.randomness())?, key.clone());
        self.retried(|| async {
            let mut unit = self.begin().await?;
            if unit.parents().insert(&parent, now).await? != Inserted::Done {
                drop(unit);
                let parent = self.inner.store.reader().await?.parents().by_key(key).await?;
                return parent.map(|parent| parent.id).ok_or(Conflict::Changed(Changing::Parent).into());
            }
            let event = Event::ParentCreated(parent.id, key.to_string());
            unit.record(&event, actor.in_parent(parent.id), &actor.client).await?;
            unit.commit().await?;
            Ok(parent.id)
        })
        .await
    }

    /// An account by the host's own key.
    pub async fn account_by_external_id(&self, id: &ExternalId) -> Result<Option<Account>, Error> {
        Ok(self.inner.store.reader().await?.accounts().by_external_id(id).await?)
    }

    /// Ties an account to the host's own key for it, or unties it.
    ///
    /// # Errors
    /// [`Error::Conflict`] when another account has that key.
    pub async fn set_external_id(
        &self,
        account: AccountId,
        external_id: Option<&ExternalId>,
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
        if known.external_id.as_ref() == external_id {
            return Ok(());
        }
        self.retried(|| async {
            let mut unit = self.begin().await?;
            if let Inserted::Taken(key) =
                unit.accounts().set_external_id(account, external_id, self.now()).await?
            {
                return Err(Conflict::Taken(key).into());
            }
            let event = Event::ExternalIdChanged(known.external_id.clone(), external_id.cloned());
            unit.record(&event, actor.on(account), &actor.client).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// A parent by key.
    pub async fn parent_by_key(&self, key: &ParentKey) -> Result<Option<Parent>, Error> {
        Ok(self.inner.store.reader().await?.parents().by_key(key).await?)
    }

    /// Lets the accounts of a parent be used, or not, from the next request on.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is not `from`, and for the parent of the last administrators of the platform: make another one first.
    pub async fn set_parent_status(
        &self,
        parent: ParentId,
        from: ParentStatus,
        to: ParentStatus,
        actor: &Actor,
    ) -> Result<(), Error> {
        let platform = if to == ParentStatus::Active { None } else { self.platform_role().await? };
        self.retried(|| async {
            let mut unit = self.begin().await?;
            self.leave_an_administrator(&mut unit, platform.as_ref(), Holders::Parent(parent)).await?;
            if !unit.parents().set_status(parent, from, to, self.now()).await? {
                return Err(Conflict::Changed(Changing::Parent).into());
            }
            let event = Event::ParentStatusChanged(parent, from.as_str(), to.as_str());
            unit.record(&event, actor.in_parent(parent), &actor.client).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// Makes a role, or gives the one that has the name.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that begins with `iam:` and is none of this library's own roles.
    pub async fn ensure_role(&self, name: &RoleName, actor: &Actor) -> Result<RoleId, Error> {
        if AdministratorScope::of_role(name).is_none() {
            is_hosts_own(name)?;
        }
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
            let subject = Subject { actor: actor.account, ..Subject::default() };
            unit.record(&Event::RoleCreated(name.to_string()), subject, &actor.client).await?;
            unit.commit().await?;
            Ok(role.id)
        })
        .await
    }

    /// Gives a role of the host's own. It counts from the next request on.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that begins with `iam:`; administrators are made by
    /// [`grant_administrator`](Self::grant_administrator).
    pub async fn grant_role(&self, account: AccountId, name: &RoleName, actor: &Actor) -> Result<(), Error> {
        is_hosts_own(name)?;
        let role = self.ensure_role(name, actor).await?;
        self.retried(|| async {
            let mut unit = self.begin().await?;
            self.grant_in(&mut unit, account, role, name.as_str(), actor).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// Takes a role away that was given by the service or its people, from the next request on. Says whether it was held so. What another
    /// source gave, such as a provider's claims, stays.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the roles of administrators, which [`revoke_administrator`](Self::revoke_administrator) takes away.
    pub async fn revoke_role(
        &self,
        account: AccountId,
        name: &RoleName,
        actor: &Actor,
    ) -> Result<bool, Error> {
        // Another name of ours is from a time when a host could give it, and means nothing.
        if AdministratorScope::of_role(name).is_some() {
            is_hosts_own(name)?;
        }
        let Some(role) = self.inner.store.reader().await?.roles().by_name(name).await? else {
            return Ok(false);
        };
        self.retried(|| async {
            let mut unit = self.begin().await?;
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

    /// Ends a session of an account, from the next request on. Says whether there was one to end; another account's is as if it
    /// were not there.
    pub async fn revoke_session(
        &self,
        account: AccountId,
        session: SessionId,
        actor: &Actor,
    ) -> Result<bool, Error> {
        // A session never changes its account.
        let sessions = self.inner.store.reader().await?.sessions().of_account(account).await?;
        if !sessions.iter().any(|known| known.id == session) {
            return Ok(false);
        }
        self.retried(|| async {
            let mut unit = self.begin().await?;
            if !unit.sessions().end(session, EndReason::Revoked, self.now()).await? {
                return Ok(false);
            }
            let event = Event::SessionEnded(session, EndReason::Revoked);
            unit.record(&event, actor.on(account), &actor.client).await?;
            unit.commit().await?;
            Ok(true)
        })
        .await
    }

    pub(crate) async fn grant_in(
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
            granted_by: actor.account,
            granted_at: self.now(),
            expires_at: None,
        };
        if unit.roles().grant(&grant).await? {
            let event = Event::RoleGranted(name.to_owned());
            unit.record(&event, actor.on(account), &actor.client).await?;
        }
        Ok(())
    }

    pub(super) async fn end_sessions_in(
        &self,
        unit: &mut Unit<'_>,
        account: AccountId,
        actor: &Actor,
    ) -> Result<(), Error> {
        let ended = unit.sessions().end_all(account, EndReason::Revoked, self.now()).await?;
        if ended > 0 {
            unit.record(&Event::SessionsEnded(ended), actor.on(account), &actor.client).await?;
        }
        Ok(())
    }
}
