//! Accounts: made in a unit of work of this library's or in a transaction of the host's, and changed.

use super::roles::is_hosts_own;
use crate::audit::{Event, Subject};
use crate::authz::actor::{Actor, Scope};
use crate::base::id::{AccountId, ParentId, RoleId};
use crate::base::invalid::{Invalid, Problem};
use crate::delivery::Notice;
use crate::flow::new_password::NewPassword;
use crate::iam::{Accounts, Iam, Unit};
use crate::model::account::{Account, AccountStatus, EmailAddress, ExternalId, Username};
use crate::model::conflict::{Changing, Conflict};
use crate::model::error::Error;
use crate::model::role::RoleName;
use crate::password::{PasswordHash, PlainPassword};
use crate::store::{Holders, Inserted, Ports};

/// An account to be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewAccount {
    /// Its name.
    pub username: Username,
    /// Its password; none for one that signs in by other means.
    pub password: Option<FirstPassword>,
    /// Its address, and whether that is known to be theirs.
    pub email: Option<(EmailAddress, bool)>,
    /// Its parent.
    pub parent: Option<ParentId>,
    /// The host's own key for it.
    pub external_id: Option<ExternalId>,
    /// The roles that it is made with.
    pub roles: Vec<String>,
}

/// The password that an account begins with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FirstPassword {
    /// One that somebody chose: it must pass the policy.
    Plain(PlainPassword),
    /// The hash of one that they have elsewhere (Argon2, bcrypt, or a scheme that was added). No policy can look at it.
    Hash(PasswordHash),
}

impl NewAccount {
    /// An account with a name, and nothing else yet.
    pub fn new(username: Username) -> Self {
        Self { username, password: None, email: None, parent: None, external_id: None, roles: Vec::new() }
    }

    /// With a password.
    #[must_use]
    pub fn password(mut self, password: PlainPassword) -> Self {
        self.password = Some(FirstPassword::Plain(password));
        self
    }

    /// With the password that they had elsewhere, brought over as its hash. It is renewed when they sign in.
    #[must_use]
    pub fn password_hash(mut self, hash: PasswordHash) -> Self {
        self.password = Some(FirstPassword::Hash(hash));
        self
    }

    /// With an address that somebody has verified.
    #[must_use]
    pub fn verified_email(mut self, email: EmailAddress) -> Self {
        self.email = Some((email, true));
        self
    }

    /// With an address that nobody has verified: nothing is sent there but what verifies it, and it signs nobody in.
    #[must_use]
    pub fn unverified_email(mut self, email: EmailAddress) -> Self {
        self.email = Some((email, false));
        self
    }

    /// In a parent.
    #[must_use]
    pub fn parent(mut self, parent: ParentId) -> Self {
        self.parent = Some(parent);
        self
    }

    /// With the host's own key: by it the account joins a table of the host's.
    #[must_use]
    pub fn external_id(mut self, external_id: ExternalId) -> Self {
        self.external_id = Some(external_id);
        self
    }

    /// With a role, besides those that were said before. It must be there already ([`Roles::ensure`](crate::Roles::ensure)): an account is made with all of its
    /// roles, or not at all. Roles that begin with `iam:` are given by [`Roles::grant_administrator`](crate::Roles::grant_administrator) alone.
    #[must_use]
    pub fn role(mut self, name: impl Into<String>) -> Self {
        self.roles.push(name.into());
        self
    }
}

/// An account whose password was checked and hashed: nothing is left but to write it.
#[derive(Debug)]
pub struct PreparedAccount {
    new: NewAccount,
    password: Option<NewPassword>,
    roles: Vec<(RoleId, RoleName)>,
}

impl Accounts<'_> {
    /// Makes an account.
    ///
    /// # Errors
    /// [`Error::Denied`] for one outside the actor's scope, and for roles that the actor may not grant; [`Error::Invalid`] for a password that
    /// the policy refuses, a hash that no scheme can verify, and a role that is none or begins with `iam:`; [`Error::UnknownRole`] for one that
    /// is not there; [`Error::Conflict`] when name, verified address or external id is another account's.
    pub async fn create(self, new: NewAccount) -> Result<AccountId, Error> {
        let Self { iam, actor } = self;
        let prepared = self.prepare(new).await?;
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
            let id = iam.make_account(&mut unit, &prepared, actor).await?;
            unit.commit().await?;
            Ok(id)
        })
        .await
    }

    /// Checks a new account's password and hashes it, which takes a while, and finds its roles: before any transaction is open.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::Invalid`] and [`Error::UnknownRole`] as [`create`](Self::create).
    pub async fn prepare(self, new: NewAccount) -> Result<PreparedAccount, Error> {
        let may = may_create(self.actor, &new);
        self.iam.note_refused(may, self.actor, "accounts.create").await?;
        self.iam.prepare_account(new).await
    }

    /// Makes an account, with its audit record, in a transaction that somebody else commits: the host's own, in which it makes a
    /// customer, say. A store lends itself to one by its `within`:
    ///
    /// ```ignore
    /// let prepared = iam.accounts(&actor).prepare(new).await?; // hashes; the transaction is not open yet
    /// let mut transaction = pool.begin().await?;
    /// sqlx::query("INSERT INTO customer ...").execute(&mut *transaction).await?;
    /// let mut within = SqliteStore::within(&mut transaction);
    /// let account = iam.accounts(&actor).create_in(&mut within, &prepared).await?;
    /// transaction.commit().await?; // both, or neither
    /// ```
    ///
    /// # Errors
    /// [`Error::Denied`] and [`Error::Conflict`] as [`create`](Self::create): nothing was written, and the transaction can go on. After
    /// [`Error::Store`] roll it back; if that was a [`Conflict`](crate::StoreErrorKind::Conflict), begin anew.
    pub async fn create_in(
        self,
        transaction: &mut dyn Ports,
        prepared: &PreparedAccount,
    ) -> Result<AccountId, Error> {
        may_create(self.actor, &prepared.new)?;
        let mut unit = Unit::within(self.iam, transaction);
        let account = self.iam.make_account(&mut unit, prepared, self.actor).await?;
        unit.commit().await?;
        Ok(account)
    }

    /// An account by name, if the actor administers its parent.
    pub async fn by_username(self, username: &Username) -> Result<Option<Account>, Error> {
        let found = self.iam.inner.store.reader().await?.accounts().by_username(username).await?;
        Ok(found.filter(|account| self.sees(account)))
    }

    /// An account by the host's own key, if the actor administers its parent.
    pub async fn by_external_id(self, id: &ExternalId) -> Result<Option<Account>, Error> {
        let found = self.iam.inner.store.reader().await?.accounts().by_external_id(id).await?;
        Ok(found.filter(|account| self.sees(account)))
    }

    pub(in crate::flow) fn sees(self, account: &Account) -> bool {
        match self.actor.scope() {
            Scope::Platform => true,
            Scope::Parent(parent) => account.parent == Some(parent),
            Scope::Nothing => false,
        }
    }

    /// Sets a password. All sessions of the account end with it, and none of its browsers is trusted any more.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`]: for an account that the actor does not administer; [`Error::Invalid`] for a password that the
    /// policy refuses.
    pub async fn set_password(self, account: AccountId, password: &PlainPassword) -> Result<(), Error> {
        let Self { iam, actor } = self;
        let known = self.administered_now(account, "accounts.set_password").await?;
        let context = iam.password_context(&known.username, known.email.as_ref(), known.parent).await?;
        let new = iam.new_password(password, &context).await?;
        let done = iam.retried(|| async {
            let mut unit = iam.begin().await?;
            iam.administered(&mut unit, actor, account).await?;
            if !unit.accounts().set_password(account, &new.hash, iam.now()).await? {
                return Err(Error::NotFound("account"));
            }
            unit.record(&Event::PasswordChanged, actor.on(account), actor.client()).await?;
            iam.notify(&mut unit, &known, Notice::PasswordChanged, actor.client()).await?;
            new.audit(&mut unit, actor.on(account), actor.client()).await?;
            iam.end_sessions_in(&mut unit, account, actor).await?;
            iam.forget_devices_in(&mut unit, account, actor.on(account), actor.client()).await?;
            Ok(unit.commit().await?)
        });
        iam.note_refused(done.await, actor, "accounts.set_password").await
    }

    /// The account as it is now. Beside any unit of work: who is refused here has cost nothing.
    async fn administered_now(self, account: AccountId, what: &'static str) -> Result<Account, Error> {
        let found = async {
            let mut unit = self.iam.begin().await?;
            self.iam.administered(&mut unit, self.actor, account).await
        };
        self.iam.note_refused(found.await, self.actor, what).await
    }

    /// Lets an account sign in, or not. Its sessions end with every change, and so does the trust in its browsers.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`]: for an account that the actor does not administer; [`Error::Conflict`] when somebody else
    /// changes it at that moment, and for the last administrator of the platform: make another one first; [`Error::Invalid`] for
    /// [`AccountStatus::Unknown`].
    pub async fn set_status(self, account: AccountId, to: AccountStatus) -> Result<(), Error> {
        let Self { iam, actor } = self;
        if to == AccountStatus::Unknown {
            return Err(Invalid::new("status", Problem::Malformed).into());
        }
        let platform = if to == AccountStatus::Active { None } else { iam.platform_role().await? };
        let done = iam.retried(|| async {
            let mut unit = iam.begin().await?;
            iam.leave_an_administrator(&mut unit, platform.as_ref(), Holders::Account(account)).await?;
            let from = iam.administered(&mut unit, actor, account).await?.status;
            if from == to {
                return Ok(());
            }
            if !unit.accounts().set_status(account, from, to, iam.now()).await? {
                return Err(Conflict::Changed(Changing::Account).into());
            }
            let event = Event::AccountStatusChanged(from.as_str(), to.as_str());
            unit.record(&event, actor.on(account), actor.client()).await?;
            iam.end_sessions_in(&mut unit, account, actor).await?;
            iam.forget_devices_in(&mut unit, account, actor.on(account), actor.client()).await?;
            Ok(unit.commit().await?)
        });
        iam.note_refused(done.await, actor, "accounts.set_status").await
    }

    /// Ties an account to the host's own key for it, or unties it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`]: for an account that the actor does not administer; [`Error::Conflict`] when another account
    /// has that key.
    pub async fn set_external_id(
        self,
        account: AccountId,
        external_id: Option<&ExternalId>,
    ) -> Result<(), Error> {
        let Self { iam, actor } = self;
        let done = iam.retried(|| async {
            let mut unit = iam.begin().await?;
            let known = iam.administered(&mut unit, actor, account).await?;
            if known.external_id.as_ref() == external_id {
                return Ok(());
            }
            let set = unit.accounts().set_external_id(account, external_id, iam.now()).await?;
            if let Inserted::Taken(key) = set {
                return Err(Conflict::Taken(key).into());
            }
            let event = Event::ExternalIdChanged(known.external_id.clone(), external_id.cloned());
            unit.record(&event, actor.on(account), actor.client()).await?;
            Ok(unit.commit().await?)
        });
        iam.note_refused(done.await, actor, "accounts.set_external_id").await
    }
}

/// Whether an actor may make an account: in its scope, and with roles only if it may grant them.
fn may_create(actor: &Actor, new: &NewAccount) -> Result<(), Error> {
    match actor.scope() {
        Scope::Platform => Ok(()),
        Scope::Parent(parent) if new.parent == Some(parent) && new.roles.is_empty() => Ok(()),
        _ => Err(Error::Denied),
    }
}

impl Iam {
    pub(super) async fn prepare_account(&self, new: NewAccount) -> Result<PreparedAccount, Error> {
        let roles = self.roles_named(&new.roles).await?;
        let password = match &new.password {
            None => None,
            Some(FirstPassword::Plain(password)) => {
                let email = new.email.as_ref().map(|(address, _)| address);
                let context = self.password_context(&new.username, email, new.parent).await?;
                Some(self.new_password(password, &context).await?)
            }
            Some(FirstPassword::Hash(hash)) if self.inner.hashing.can_verify(hash) => {
                Some(NewPassword::brought_over(hash.clone()))
            }
            Some(FirstPassword::Hash(_)) => {
                return Err(Invalid::new("password_hash", Problem::Malformed).into());
            }
        };
        Ok(PreparedAccount { new, password, roles })
    }

    async fn roles_named(&self, names: &[String]) -> Result<Vec<(RoleId, RoleName)>, Error> {
        let mut roles: Vec<(RoleId, RoleName)> = Vec::new();
        for name in names {
            let name = RoleName::parse(name)?;
            is_hosts_own(&name)?;
            let role = self.inner.store.reader().await?.roles().by_name(&name).await?;
            let role = role.ok_or_else(|| Error::UnknownRole(name.clone()))?;
            roles.push((role.id, name));
        }
        Ok(roles)
    }

    pub(super) async fn make_account(
        &self,
        unit: &mut Unit<'_>,
        prepared: &PreparedAccount,
        actor: &Actor,
    ) -> Result<AccountId, Error> {
        let PreparedAccount { new, password, roles } = prepared;
        let now = self.now();
        let id = AccountId::generate(now, self.randomness())?;
        let account = Account {
            email: new.email.as_ref().map(|(address, _)| address.clone()),
            email_verified_at: new.email.as_ref().and_then(|(_, verified)| verified.then_some(now)),
            parent: new.parent,
            external_id: new.external_id.clone(),
            password_changed_at: matches!(new.password, Some(FirstPassword::Plain(_))).then_some(now),
            ..Account::new(id, new.username.clone(), now)
        };
        let hash = password.as_ref().map(|new| &new.hash);
        if let Inserted::Taken(key) = unit.accounts().insert(&account, hash).await? {
            return Err(Conflict::Taken(key).into());
        }
        let subject = Subject { parent: new.parent.into(), ..actor.on(id) };
        let event = Event::AccountCreated(new.username.to_string());
        unit.record(&event, subject.clone(), actor.client()).await?;
        if let Some(password) = password {
            password.audit(unit, subject, actor.client()).await?;
        }
        for (role, name) in roles {
            self.grant_in(unit, id, *role, name.as_str(), actor).await?;
        }
        Ok(id)
    }
}
