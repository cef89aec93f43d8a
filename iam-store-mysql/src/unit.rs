//! One way to the server behind every port: the pool of a reader, a unit of work of our own, or the host's transaction.

use async_trait::async_trait;
use iam_core::StoreError;
use iam_core::ports::UnitOfWork;

use crate::connection::{Link, Open, Reading};

/// A pool that reads; a transaction of our own, which dropping it rolls back; or a borrowed connection, whose owner does as they like.
pub(crate) struct Work<L>(pub(crate) L);

macro_rules! accessors {
    (reads { $($read:ident: $reads:ident;)* } ports { $($port:ident: $writes:ident;)* }) => {
        impl<L: Reading> iam_core::ports::Reads for Work<L> {
            $(fn $read(&mut self) -> &mut dyn iam_core::ports::$reads {
                self
            })*
        }

        impl<L: Link> iam_core::ports::Ports for Work<L> {
            $(fn $port(&mut self) -> &mut dyn iam_core::ports::$writes {
                self
            })*
        }
    };
}

iam_core::for_each_port!(accessors);

#[async_trait]
impl UnitOfWork for Work<Open> {
    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.0.commit().await
    }
}
