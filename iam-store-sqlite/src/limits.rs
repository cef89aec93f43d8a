//! `iam_rate_limit`. A unit of work is the only one that writes, so what it reads is held.

use async_trait::async_trait;
use iam_core::ports::{Counter, LimitKey, Limits};
use iam_core::{StoreError, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use crate::error::failed;
use crate::rows::Columns;
use crate::unit::{Link, Work};

/// Counters of one statement: each number of them is a text of its own, which the database prepares once.
const AT_ONCE: usize = 32;

#[async_trait]
impl<C: Link> Limits for Work<C> {
    async fn lock(&mut self, keys: &[LimitKey]) -> Result<Vec<(LimitKey, Counter)>, StoreError> {
        self.look(keys).await
    }

    async fn write(
        &mut self,
        locked: &[(LimitKey, Counter)],
        new: &[(LimitKey, Counter)],
    ) -> Result<bool, StoreError> {
        let all = [locked, new].concat();
        for counters in all.chunks(AT_ONCE) {
            insert(counters).build().execute(self.connection()).await.map_err(failed)?;
        }
        Ok(true)
    }

    async fn look(&mut self, keys: &[LimitKey]) -> Result<Vec<(LimitKey, Counter)>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            let mut select = QueryBuilder::<Sqlite>::new(
                "SELECT key, count, number, since, last_at, blocked_until, expires_before, expires_at
                 FROM iam_rate_limit WHERE key IN (",
            );
            let mut list = select.separated(", ");
            for key in keys {
                list.push_bind(key.as_bytes().to_vec());
            }
            list.push_unseparated(")");
            let rows = select.build().fetch_all(self.connection()).await.map_err(failed)?;
            for row in &rows {
                found.push(counter(row)?);
            }
        }
        Ok(found)
    }

    async fn purge(&mut self, now: Timestamp, most: u32) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM iam_rate_limit WHERE key IN
                (SELECT key FROM iam_rate_limit WHERE expires_at <= ?1 AND blocked_until <= ?1 ORDER BY expires_at LIMIT ?2)",
        )
        .bind(now.as_micros())
        .bind(i64::from(most))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }
}

fn insert(counters: &[(LimitKey, Counter)]) -> QueryBuilder<Sqlite> {
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO iam_rate_limit (key, count, number, since, last_at, blocked_until, expires_before, expires_at) ",
    );
    insert.push_values(counters, |mut row, (key, counter)| {
        row.push_bind(key.as_bytes().to_vec())
            .push_bind(i64::from(counter.count))
            .push_bind(i64::from(counter.number))
            .push_bind(counter.since.as_micros())
            .push_bind(counter.last_at.as_micros())
            .push_bind(counter.blocked_until.as_micros())
            .push_bind(counter.expires_before.as_micros())
            .push_bind(counter.expires_at.as_micros());
    });
    insert.push(
        " ON CONFLICT (key) DO UPDATE SET
            count = excluded.count,
            number = excluded.number,
            since = excluded.since,
            last_at = excluded.last_at,
            blocked_until = excluded.blocked_until,
            expires_before = excluded.expires_before,
            expires_at = excluded.expires_at",
    );
    insert
}

fn counter(row: &SqliteRow) -> Result<(LimitKey, Counter), StoreError> {
    let columns = Columns { table: "iam_rate_limit", row };
    let key = columns.maybe_digest("key")?.ok_or_else(|| columns.corrupt("key"))?;
    let counter = Counter {
        count: columns.count("count")?,
        number: columns.count("number")?,
        since: columns.time("since")?,
        last_at: columns.time("last_at")?,
        blocked_until: columns.time("blocked_until")?,
        expires_before: columns.time("expires_before")?,
        expires_at: columns.time("expires_at")?,
    };
    Ok((LimitKey::from_bytes(key), counter))
}
