//! Whether the server can write, found out by writing.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use iam_core::StoreError;

use crate::connection::{Connections, Link, execute, one};
use crate::error::{can_not_write, failed, is_silence};

/// How long a write that succeeded counts as a proof that the next one would. Anyone may ask whether the service is ready, so
/// this also bounds what asking costs.
const PROVEN: Duration = Duration::from_secs(10);

/// What came of the last look.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    failing: AtomicBool,
    written_at: Mutex<Option<Instant>>,
}

impl Probe {
    /// Whether something can be written. A server says itself that it is read-only; that its disk is full, only a write shows.
    pub(crate) async fn can_write(&self, connections: &Connections) -> Result<bool, StoreError> {
        let look = || {
            one(sqlx::query!(r#"SELECT IF(@@global.read_only IN ('0', 'OFF'), 0, 1) AS "read_only!: i64""#))
        };
        if connections.read(look).await?.read_only == 0 && self.is_proven() {
            return Ok(true);
        }
        match write_nothing(connections).await {
            Ok(()) => {
                *self.written_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                if self.failing.swap(false, Ordering::SeqCst) {
                    tracing::info!("the database can be written again");
                }
                Ok(true)
            }
            Err(error) if can_not_write(&error) => {
                if !self.failing.swap(true, Ordering::SeqCst) {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the database can't be written: is the server read-only, or its disk full?"
                    );
                }
                Ok(false)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// What failed, of whatever was asked. If the server can't write, or did not answer, as one that waits for room on its disk,
    /// what was written before it proves nothing any more.
    pub(crate) fn hear_of(&self, error: &sqlx::Error) {
        if can_not_write(error) || is_silence(error) {
            *self.written_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn is_proven(&self) -> bool {
        let written_at = *self.written_at.lock().unwrap_or_else(PoisonError::into_inner);
        !self.failing.load(Ordering::SeqCst) && written_at.is_some_and(|at| at.elapsed() < PROVEN)
    }
}

/// A transaction that leaves everything as it was: a limit that no key has comes and goes. Another key each time, so that two
/// probes at the same moment don't wait for each other.
async fn write_nothing(connections: &Connections) -> Result<(), sqlx::Error> {
    let random = RandomState::new();
    let key: Vec<u8> = (0..4_u8).flat_map(|part| random.hash_one(part).to_be_bytes()).collect();
    let mut unit = connections.try_begin().await?;
    let put = || {
        execute(sqlx::query!(
            "INSERT INTO iam_rate_limit (`key`, count, number, since, last_at, blocked_until, expires_before, expires_at)
             VALUES (?, 0, 0, 0, 0, 0, 0, 0)",
            key.clone()
        ))
    };
    unit.try_write(put).await?;
    let remove = || execute(sqlx::query!("DELETE FROM iam_rate_limit WHERE `key` = ?", key.clone()));
    unit.try_write(remove).await?;
    unit.try_commit().await
}
