//! Actors: the account or service that administers something, from where, and what it may administer.

use crate::authz::principal::Principal;
use crate::base::id::{AccountId, ParentId};
use crate::model::client::Client;
use crate::model::role::{PARENT_ADMIN, PLATFORM_ADMIN};

/// What an [`Actor`] may administer. Outside it everything is [`Error::Denied`](crate::Error::Denied), or not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Everything.
    Platform,
    /// The accounts of one parent, but for administrators.
    Parent(ParentId),
    /// Nothing.
    Nothing,
}

/// The account that does something, or the service itself, from where, and within which [`Scope`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    account: Option<AccountId>,
    client: Client,
    scope: Scope,
}

impl Actor {
    /// The service itself, which may administer everything.
    pub fn service() -> Self {
        Self { account: None, client: Client::default(), scope: Scope::Platform }
    }

    /// The service itself, on behalf of somebody who is not signed in.
    pub fn service_for(client: Client) -> Self {
        Self { client, ..Self::service() }
    }

    /// A person who is signed in. They may administer what their roles say, as of this request: everything with `iam:platform-admin`, the accounts of
    /// their parent with `iam:parent-admin`, and else nothing.
    pub fn of(principal: &Principal, client: &Client) -> Self {
        let scope = if principal.has_role(PLATFORM_ADMIN) {
            Scope::Platform
        } else if principal.has_role(PARENT_ADMIN) {
            principal.parent().map_or(Scope::Nothing, Scope::Parent)
        } else {
            Scope::Nothing
        };
        Self { account: Some(principal.account()), client: client.clone(), scope }
    }

    /// A person whom the service knows by other means than a session of this library. They may administer nothing, until [`within`](Self::within)
    /// says what.
    pub const fn person(account: AccountId, client: Client) -> Self {
        Self { account: Some(account), client, scope: Scope::Nothing }
    }

    /// The same actor within another scope: for a service whose own guard has decided what the person may administer. That decision is then the
    /// service's alone.
    #[must_use]
    pub fn within(&self, scope: Scope) -> Self {
        Self { scope, ..self.clone() }
    }

    /// The account; none for the service itself.
    pub const fn account(&self) -> Option<AccountId> {
        self.account
    }

    /// From where.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// What it may administer.
    pub const fn scope(&self) -> Scope {
        self.scope
    }
}
