//! Making accounts: in a unit of work of this library's, or in a transaction of the host's.

use crate::audit::{Event, Subject};
use crate::base::id::{AccountId, ParentId, RoleId};
use crate::base::invalid::{Invalid, Problem};
use crate::flow::Actor;
use crate::flow::administrators::is_hosts_own;
use crate::flow::new_password::NewPassword;
use crate::iam::{Iam, Unit};
use crate::model::account::{Account, EmailAddress, ExternalId, Username};
use crate::model::conflict::Conflict;
use crate::model::error::Error;
use crate::model::role::{PLATFORM_ADMIN, RoleName};
use crate::password::{PasswordHash, PlainPassword};
use crate::store::{Inserted, Ports};

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

    /// With a role, besides those that were said before. It must be there already ([`Iam::ensure_role`]): an account is made with all of its
    /// roles, or not at all. Roles that begin with `iam:` are given by [`Iam::grant_administrator`] alone.
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

impl Iam {
    /// Makes an account.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a password that the policy refuses, a hash that no scheme can verify, and a role that is none or begins with
    /// `iam:`; [`Error::UnknownRole`] for one that is not there; [`Error::Conflict`] when name, verified address or external id is another
    /// account's.
    pub async fn create_account(&self, new: NewAccount, actor: &Actor) -> Result<AccountId, Error> {
        let prepared = self.prepare_account(new).await?;
        self.retried(|| async {
            let mut unit = self.begin().await?;
            let id = self.make_account(&mut unit, &prepared, actor).await?;
            unit.commit().await?;
            Ok(id)
        })
        .await
    }

    /// Checks a new account's password and hashes it, which takes a while, and finds its roles: before any transaction is open.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::UnknownRole`] as [`create_account`](Self::create_account).
    pub async fn prepare_account(&self, new: NewAccount) -> Result<PreparedAccount, Error> {
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

    /// Makes an account, with its audit record, in a transaction that somebody else commits: the host's own, in which it makes a
    /// customer, say. A store lends itself to one by its `within`:
    ///
    /// ```ignore
    /// let prepared = iam.prepare_account(new).await?; // hashes; the transaction is not open yet
    /// let mut transaction = pool.begin().await?;
    /// sqlx::query("INSERT INTO customer ...").execute(&mut *transaction).await?;
    /// let mut within = SqliteStore::within(&mut transaction);
    /// let account = iam.create_account_in(&mut within, &prepared, &actor).await?;
    /// transaction.commit().await?; // both, or neither
    /// ```
    ///
    /// # Errors
    /// [`Error::Conflict`] as [`create_account`](Self::create_account): nothing was written, and the transaction can go on. After
    /// [`Error::Store`] roll it back; if that was a [`Conflict`](crate::base::store_error::StoreErrorKind::Conflict), begin anew.
    pub async fn create_account_in(
        &self,
        transaction: &mut dyn Ports,
        prepared: &PreparedAccount,
        actor: &Actor,
    ) -> Result<AccountId, Error> {
        let mut unit = Unit::within(self, transaction);
        let account = self.make_account(&mut unit, prepared, actor).await?;
        unit.commit().await?;
        Ok(account)
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
        unit.record(&event, subject.clone(), &actor.client).await?;
        if let Some(password) = password {
            password.audit(unit, subject, &actor.client).await?;
        }
        for (role, name) in roles {
            self.grant_in(unit, id, *role, name.as_str(), actor).await?;
        }
        Ok(id)
    }

    /// Makes the first platform administrator, unless there is one. Says whether it did.
    pub async fn create_first_administrator(&self, new: NewAccount, actor: &Actor) -> Result<bool, Error> {
        let role = self.ensure_role(&RoleName::parse(PLATFORM_ADMIN)?, actor).await?;
        if self.begin().await?.roles().is_held(role).await? {
            return Ok(false);
        }
        let prepared = self.prepare_account(new).await?;
        self.retried(|| async {
            let mut unit = self.begin().await?;
            if unit.roles().is_held(role).await? {
                return Ok(false);
            }
            let account = self.make_account(&mut unit, &prepared, actor).await?;
            self.grant_in(&mut unit, account, role, PLATFORM_ADMIN, actor).await?;
            unit.commit().await?;
            Ok(true)
        })
        .await
    }
}
