use crate::model::role::RoleName;
use crate::model::session::RoleOfAccount;
use async_trait::async_trait;

use super::{Inserted, StoreError};
use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ParentId, RoleId};
use crate::model::policy::FactorRequirement;
use crate::model::role::{GrantSource, Role, RoleGrant};

/// Reads of roles and their holders: in a unit of work, or beside any.
#[async_trait]
pub trait RoleReads: Send {
    /// The roles that an account was granted, those whose time is over among them, by name: a role once for each source. It MUST find them
    /// by an index.
    async fn of_account(&mut self, account: AccountId) -> Result<Vec<RoleOfAccount>, StoreError>;

    /// A role by name.
    async fn by_name(&mut self, name: &RoleName) -> Result<Option<Role>, StoreError>;
}

/// Roles and who holds them, in a unit of work.
#[async_trait]
pub trait Roles: RoleReads {
    /// Adds a role. Names are unique: it MUST give [`Inserted::Taken`] for one that exists.
    async fn insert(&mut self, role: &Role, now: Timestamp) -> Result<Inserted, StoreError>;

    /// Gives a role from a source. Says `false`, and changes nothing, when it was held already from there, from the same giver with the same
    /// expiry; else giver, time and expiry of that source's grant are replaced. What other sources gave stays.
    async fn grant(&mut self, grant: &RoleGrant) -> Result<bool, StoreError>;

    /// Takes away what a source gave. Says whether it had given the role; what other sources gave stays.
    async fn revoke(
        &mut self,
        account: AccountId,
        role: RoleId,
        source: &GrantSource,
    ) -> Result<bool, StoreError>;

    /// Takes away all that a source gave to an account. Says how many roles that were.
    async fn revoke_source(&mut self, account: AccountId, source: &GrantSource) -> Result<u64, StoreError>;

    /// Sets or takes away the requirement of a second factor, if it is `from`. Says whether it did.
    async fn set_factor_requirement(
        &mut self,
        id: RoleId,
        from: Option<FactorRequirement>,
        to: Option<FactorRequirement>,
    ) -> Result<bool, StoreError>;

    /// Whether anyone at all holds the role. The answer holds until the unit is over.
    async fn is_held(&mut self, role: RoleId) -> Result<bool, StoreError>;

    /// Whether these are the last who hold the role: one of them does, however, and nobody else does whose account and parent are active,
    /// by a grant that does not expire. The answer holds until the unit is over, as long as everybody asks who takes the role away or
    /// stops an account or a parent: of two units that ask about each other's accounts one waits for the other, or fails with a
    /// [`Conflict`](crate::StoreErrorKind::Conflict).
    async fn are_last_holders(&mut self, role: RoleId, who: Holders) -> Result<bool, StoreError>;
}

/// Accounts of which [`Roles::are_last_holders`] is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holders {
    /// One.
    Account(AccountId),
    /// All of a parent.
    Parent(ParentId),
}
