//! The unit of work: one transaction behind every port.

use async_trait::async_trait;
use iam_core::store::{
    Accounts, AuditLog, KeyCanaries, Limits, OneTimeTokens, Parents, Roles, Sessions, StoreError, UnitOfWork,
};
use sqlx::{Sqlite, SqliteConnection, Transaction};

use crate::error::failed;

/// Dropping it rolls back.
pub(crate) struct Work(pub(crate) Transaction<'static, Sqlite>);

impl Work {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.0
    }
}

#[async_trait]
impl UnitOfWork for Work {
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

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.0.commit().await.map_err(failed)
    }
}
