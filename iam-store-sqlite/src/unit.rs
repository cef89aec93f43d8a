//! One connection behind every port: of a reader, of a unit of work of our own, or of the host's transaction.

use std::ops::DerefMut;

use async_trait::async_trait;
use iam_core::ports::UnitOfWork;
use iam_core::{StoreError, Timestamp};
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection};

use crate::error::failed;
use crate::writer::Unit;

/// A connection that reads; a transaction of our own, which dropping it rolls back; or a borrowed connection, whose owner does as they like.
pub(crate) struct Work<C>(pub(crate) C);

/// A connection that can be read.
pub(crate) trait Reading: DerefMut<Target = SqliteConnection> + Send {}

impl Reading for PoolConnection<Sqlite> {}
impl Reading for Unit {}
impl Reading for &mut SqliteConnection {}

/// The connection of a transaction.
pub(crate) trait Link: Reading {}

impl Link for Unit {}
impl Link for &mut SqliteConnection {}

impl<C: Reading> Work<C> {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.0
    }
}

impl<C: Link> Work<C> {
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

macro_rules! accessors {
    (reads { $($read:ident: $reads:ident;)* } ports { $($port:ident: $writes:ident;)* }) => {
        impl<C: Reading> iam_core::ports::Reads for Work<C> {
            $(fn $read(&mut self) -> &mut dyn iam_core::ports::$reads {
                self
            })*
        }

        impl<C: Link> iam_core::ports::Ports for Work<C> {
            $(fn $port(&mut self) -> &mut dyn iam_core::ports::$writes {
                self
            })*
        }
    };
}

iam_core::for_each_port!(accessors);

#[async_trait]
impl UnitOfWork for Work<Unit> {
    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.0.commit().await.map_err(failed)
    }
}
