//! Handles: what can be done to one kind of thing, by one actor. Each is two references; what it does is written in `flow`.

use super::Iam;
use crate::authz::actor::Actor;
use crate::authz::principal::Principal;
use crate::model::client::Client;

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident: $Handle:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $Handle<'a> {
                pub(crate) iam: &'a Iam,
                pub(crate) actor: &'a Actor,
            }
        )*

        impl Iam {
            $(
                $(#[$doc])*
                pub const fn $name<'a>(&'a self, actor: &'a Actor) -> $Handle<'a> {
                    $Handle { iam: self, actor }
                }
            )*
        }
    };
}

handles! {
    /// Accounts, as an actor administers them.
    accounts: Accounts;
    /// Parents (tenants), as an actor administers them.
    parents: Parents;
    /// Roles and who holds them, as an actor administers them.
    roles: Roles;
    /// Sessions of others, as an actor administers them.
    sessions: Sessions;
    /// Second factors of others, and of whom they are required, as an actor administers them.
    factors: Factors;
    /// The keys that seal what is secret at rest: which are in use, and how one takes another's place.
    keys: SealingKeys;
    /// The set-up of a new service: its first administrator.
    setup: Setup;
    /// The audit trail's upkeep.
    trail: Trail;
}

/// The account of the person who is signed in, as they see and change it themselves.
#[derive(Clone, Copy, Debug)]
pub struct OwnAccount<'a> {
    pub(crate) iam: &'a Iam,
    pub(crate) principal: &'a Principal,
    pub(crate) client: &'a Client,
}

/// The steps of signing in and of a guarded request, as adapters carry them out.
#[derive(Clone, Copy, Debug)]
pub struct Protocol<'a> {
    pub(crate) iam: &'a Iam,
}

impl Iam {
    /// The account of the person who is signed in, as they see and change it themselves from a client.
    pub const fn own_account<'a>(&'a self, principal: &'a Principal, client: &'a Client) -> OwnAccount<'a> {
        OwnAccount { iam: self, principal, client }
    }

    /// The steps of signing in and of a guarded request, as adapters carry them out.
    pub const fn protocol(&self) -> Protocol<'_> {
        Protocol { iam: self }
    }
}
