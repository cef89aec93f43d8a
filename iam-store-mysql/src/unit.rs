//! One transaction behind every port: a unit of work of our own, or the host's.

use async_trait::async_trait;
use iam_core::StoreError;
use iam_core::ports::{
    Accounts, AuditLog, Challenges, InterruptedRequests, KeyCanaries, Limits, Methods, OneTimeTokens, Outbox,
    Parents, Ports, RecoveryCodes, RepeatableAnswers, Roles, SealedValues, SeenTime, Sessions,
    TrustedDevices, UnitOfWork,
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
impl UnitOfWork for Work<Open> {
    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.0.commit().await
    }
}
