//! One transaction behind every port: a unit of work of our own, or the host's.

use std::ops::DerefMut;

use async_trait::async_trait;
use iam_core::ports::{
    Accounts, AuditLog, Challenges, InterruptedRequests, KeyCanaries, Limits, Methods, OneTimeTokens, Outbox,
    Parents, Ports, RecoveryCodes, RepeatableAnswers, Roles, SealedValues, SeenTime, Sessions,
    TrustedDevices, UnitOfWork,
};
use iam_core::{StoreError, Timestamp};
use sqlx::SqliteConnection;

use crate::error::failed;
use crate::writer::Unit;

/// A transaction of our own, which dropping it rolls back; or a borrowed connection, whose owner does as they like.
pub(crate) struct Work<C>(pub(crate) C);

/// What leads to the connection of a transaction.
pub(crate) trait Link: DerefMut<Target = SqliteConnection> + Send {}

impl Link for Unit {}
impl Link for &mut SqliteConnection {}

impl<C: Link> Work<C> {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.0
    }

    /// Removes up to `most` rows from before a time, by a statement that takes both. Says how many.
    pub(crate) async fn remove_before(
        &mut self,
        statement: &'static str,
        before: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query(statement)
            .bind(before.as_micros())
            .bind(i64::from(most))
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(done.rows_affected())
    }
}

impl<C: Link> Ports for Work<C> {
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

    fn methods(&mut self) -> &mut dyn Methods {
        self
    }

    fn recovery_codes(&mut self) -> &mut dyn RecoveryCodes {
        self
    }

    fn challenges(&mut self) -> &mut dyn Challenges {
        self
    }

    fn interrupted_requests(&mut self) -> &mut dyn InterruptedRequests {
        self
    }

    fn repeatable_answers(&mut self) -> &mut dyn RepeatableAnswers {
        self
    }

    fn trusted_devices(&mut self) -> &mut dyn TrustedDevices {
        self
    }

    fn outbox(&mut self) -> &mut dyn Outbox {
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

    fn sealed_values(&mut self) -> &mut dyn SealedValues {
        self
    }

    fn seen_time(&mut self) -> &mut dyn SeenTime {
        self
    }
}

#[async_trait]
impl UnitOfWork for Work<Unit> {
    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.0.commit().await.map_err(failed)
    }
}
