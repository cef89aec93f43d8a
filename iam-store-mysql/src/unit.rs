//! One transaction behind every port: a unit of work of our own, or the host's.

use async_trait::async_trait;
use iam_core::store::{
    Accounts, AuditLog, KeyCanaries, Limits, OneTimeTokens, Parents, Ports, Roles, Sessions, StoreError,
    UnitOfWork,
};

use crate::connection::{Link, Open};

/// A transaction of our own, which dropping it rolls back; or a borrowed connection, whose owner does as they like.
pub(crate) struct Work<L>(pub(crate) L);

impl<L: Link> Ports for Work<L> {
    fn accounts(&mut self) -> &mut dyn Accounts {
        self
    }

    fn parents(&mut self) -> &mut dyn Parents {
        self
    }

    fn roles(&mut self) -> &mut dyn Roles {
        self
    }

    fn sessions(&mut self) -> &mut dyn Sessions {
        self
    }

    fn one_time_tokens(&mut self) -> &mut dyn OneTimeTokens {
        self
    }

    fn limits(&mut self) -> &mut dyn Limits {
        self
    }

    fn audit(&mut self) -> &mut dyn AuditLog {
        self
    }

    fn keys(&mut self) -> &mut dyn KeyCanaries {
        self
    }
}

#[async_trait]
impl UnitOfWork for Work<Open> {
    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.0.commit().await
    }
}
