//! `iam_rate_limit`. What is locked is held until the unit of work is over.

use async_trait::async_trait;
use iam_core::ports::{Counter, LimitKey, Limits};
use iam_core::{StoreError, Timestamp};
use iam_store_sql::Column;
use sqlx::{FromRow, MySql, QueryBuilder};

use crate::connection::{Link, Statement, execute, run};
use crate::error::{failed, violates_check};

use crate::unit::Work;

/// Counters of one statement: each number of them is a text of its own, which the server prepares once.
const AT_ONCE: usize = 32;

#[derive(FromRow)]
struct Row {
    key: Vec<u8>,
    count: i64,
    number: i64,
    since: i64,
    last_at: i64,
    blocked_until: i64,
    expires_before: i64,
    expires_at: i64,
}

/// A statement of any number of keys, which none can be that is checked when it is compiled. They are sorted, and the server looks for them in
/// the order of the primary key in any case.
fn select(keys: &[LimitKey], lock: &'static str) -> Statement<Vec<Row>> {
    let mut select = QueryBuilder::<MySql>::new(
        "SELECT `key`, count, number, since, last_at, blocked_until, expires_before, expires_at
         FROM iam_rate_limit FORCE INDEX (PRIMARY) WHERE `key` IN (",
    );
    let mut list = select.separated(", ");
    for key in keys {
        list.push_bind(key.as_bytes().to_vec());
    }
    list.push_unseparated(")");
    select.push(lock);
    Box::new(move |connection| Box::pin(async move { select.build_query_as().fetch_all(connection).await }))
}

/// Writes counters, unless one of those that should be new is there: then its count would be below zero, which fails. So nothing that somebody
/// else has counted meanwhile is lost, and its row is locked for this unit alone.
fn insert(locked: &[(LimitKey, Counter)], new: &[(LimitKey, Counter)]) -> Statement<u64> {
    let mut insert = QueryBuilder::<MySql>::new(
        "INSERT INTO iam_rate_limit (`key`, count, number, since, last_at, blocked_until, expires_before, expires_at) ",
    );
    let mut all = [locked, new].concat();
    all.sort_by_key(|(key, _)| *key.as_bytes());
    insert.push_values(all, |mut row, (key, counter)| {
        row.push_bind(key.as_bytes().to_vec())
            .push_bind(i64::from(counter.count))
            .push_bind(i64::from(counter.number))
            .push_bind(counter.since.as_micros())
            .push_bind(counter.last_at.as_micros())
            .push_bind(counter.blocked_until.as_micros())
            .push_bind(counter.expires_before.as_micros())
            .push_bind(counter.expires_at.as_micros());
    });
    insert.push(" ON DUPLICATE KEY UPDATE count = ");
    if new.is_empty() {
        insert.push("VALUES(count)");
    } else {
        insert.push("IF(iam_rate_limit.`key` IN (");
        let mut keys = insert.separated(", ");
        for (key, _) in new {
            keys.push_bind(key.as_bytes().to_vec());
        }
        insert.push("), -1, VALUES(count))");
    }
    insert.push(
        ", number = VALUES(number), since = VALUES(since), last_at = VALUES(last_at), blocked_until = VALUES(blocked_until),
            expires_before = VALUES(expires_before), expires_at = VALUES(expires_at)",
    );
    run(insert)
}

fn counter(row: Row) -> Result<(LimitKey, Counter), StoreError> {
    let corrupt = |name| Column("iam_rate_limit", name).corrupt();
    let key = row.key.try_into().map_err(|_| corrupt("key"))?;
    let counter = Counter {
        count: u32::try_from(row.count).map_err(|_| corrupt("count"))?,
        number: u32::try_from(row.number).map_err(|_| corrupt("number"))?,
        since: Timestamp::from_micros(row.since),
        last_at: Timestamp::from_micros(row.last_at),
        blocked_until: Timestamp::from_micros(row.blocked_until),
        expires_before: Timestamp::from_micros(row.expires_before),
        expires_at: Timestamp::from_micros(row.expires_at),
    };
    Ok((LimitKey::from_bytes(key), counter))
}

fn in_order(keys: &[LimitKey]) -> Vec<LimitKey> {
    let mut keys = keys.to_vec();
    keys.sort_by_key(|key| *key.as_bytes());
    keys
}

#[async_trait]
impl<L: Link> Limits for Work<L> {
    async fn lock(&mut self, keys: &[LimitKey]) -> Result<Vec<(LimitKey, Counter)>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in in_order(keys).chunks(AT_ONCE) {
            found.extend(self.0.lock_rows(|| select(keys, " FOR UPDATE")).await?);
        }
        found.into_iter().map(counter).collect()
    }

    async fn write(
        &mut self,
        locked: &[(LimitKey, Counter)],
        new: &[(LimitKey, Counter)],
    ) -> Result<bool, StoreError> {
        if locked.is_empty() && new.is_empty() {
            return Ok(true);
        }
        match self.0.try_write(|| insert(locked, new)).await {
            Ok(_) => Ok(true),
            Err(error) if !new.is_empty() && violates_check(&error) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    async fn look(&mut self, keys: &[LimitKey]) -> Result<Vec<(LimitKey, Counter)>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            found.extend(self.0.read(|| select(keys, "")).await?);
        }
        found.into_iter().map(counter).collect()
    }

    async fn purge(&mut self, now: Timestamp, most: u32) -> Result<u64, StoreError> {
        // What somebody else has locked is left for the next time: two sign-ins that each hold a limit and clear away
        // another's would wait for each other.
        let purge = || {
            execute(sqlx::query!(
                "DELETE l FROM
                    (SELECT `key` FROM iam_rate_limit FORCE INDEX (iam_rate_limit_expiry)
                     WHERE expires_at <= ? AND blocked_until <= ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_rate_limit l FORCE INDEX (PRIMARY) ON l.`key` = old.`key`",
                now.as_micros(),
                now.as_micros(),
                most
            ))
        };
        self.0.write(purge).await
    }
}
