//! `iam_auth_log`.

use async_trait::async_trait;
use iam_core::ports::{AuditLog, AuditReads, Record};
use iam_core::{AccountId, Client, Entry, Outcome, ParentId, SessionId, StoreError, Timestamp};
use sqlx::{MySql, QueryBuilder};
use time::PrimitiveDateTime;

use crate::connection::{Link, Reading, Statement, all, execute};
use crate::rows::{Column, timestamp, utc};
use crate::unit::Work;

const fn column(name: &'static str) -> Column {
    Column("iam_auth_log", name)
}

struct EntryRow {
    id: u64,
    at: PrimitiveDateTime,
    last_at: PrimitiveDateTime,
    count: i64,
    event: String,
    outcome: String,
    reason: Option<String>,
    actor_id: Option<Vec<u8>>,
    account_id: Option<Vec<u8>>,
    parent_id: Option<Vec<u8>>,
    session_id: Option<Vec<u8>>,
    amr: Option<String>,
    identifier: Option<String>,
    client_address: Option<String>,
    user_agent: Option<String>,
    request_id: Option<String>,
}

fn entry(row: EntryRow) -> Result<Entry, StoreError> {
    let outcome = column("outcome").parsed(row.outcome, Outcome::parse)?;
    let mut record = Record::at(timestamp(row.at), row.event, outcome);
    record.last_at = timestamp(row.last_at);
    record.count = u32::try_from(row.count).unwrap_or(u32::MAX);
    record.reason = row.reason;
    record.actor = column("actor_id").maybe_id(row.actor_id.as_deref())?.map(AccountId::from_bytes);
    record.account = column("account_id").maybe_id(row.account_id.as_deref())?.map(AccountId::from_bytes);
    record.parent = column("parent_id").maybe_id(row.parent_id.as_deref())?.map(ParentId::from_bytes);
    record.session = column("session_id").maybe_id(row.session_id.as_deref())?.map(SessionId::from_bytes);
    record.amr = row.amr;
    record.identifier = row.identifier;
    record.client = Client::default();
    let address = |text: String| column("client_address").parsed(text, |text| text.parse().ok());
    record.client.address = row.client_address.map(address).transpose()?;
    record.client.user_agent = row.user_agent;
    record.client.request_id = row.request_id;
    Ok(Entry { id: row.id, record })
}

#[async_trait]
impl<L: Reading> AuditReads for Work<L> {
    async fn entries(&mut self, before: Option<u64>, most: u32) -> Result<Vec<Entry>, StoreError> {
        let find = || {
            all(sqlx::query_as!(
                EntryRow,
                "SELECT id, at, last_at, count, event, outcome, reason, actor_id, account_id, parent_id, session_id, amr, identifier,
                    client_address, user_agent, request_id
                 FROM iam_auth_log WHERE id < ? ORDER BY id DESC LIMIT ?",
                before.unwrap_or(u64::MAX),
                most
            ))
        };
        self.0.read(find).await?.into_iter().map(entry).collect()
    }
}

/// Rows of one statement: each number of them is a text of its own, which the server prepares once.
const AT_ONCE: usize = 16;

/// A statement of any number of rows, which none can be that is checked when it is compiled.
fn insert(records: &[Record]) -> Statement<u64> {
    let mut insert = QueryBuilder::<MySql>::new(
        "INSERT INTO iam_auth_log (at, last_at, count, event, outcome, reason, actor_id, account_id, parent_id, session_id,
            amr, identifier, client_address, user_agent, request_id) ",
    );
    insert.push_values(records, |mut row, record| {
        let client = &record.client;
        row.push_bind(utc(record.at))
            .push_bind(utc(record.last_at))
            .push_bind(i64::from(record.count))
            .push_bind(record.event.to_string())
            .push_bind(record.outcome.as_str())
            .push_bind(record.reason.clone())
            .push_bind(record.actor.map(|id| id.as_bytes().to_vec()))
            .push_bind(record.account.map(|id| id.as_bytes().to_vec()))
            .push_bind(record.parent.map(|id| id.as_bytes().to_vec()))
            .push_bind(record.session.map(|id| id.as_bytes().to_vec()))
            .push_bind(record.amr.clone())
            .push_bind(record.identifier.clone())
            .push_bind(client.address.map(|address| address.to_string()))
            .push_bind(client.user_agent.clone())
            .push_bind(client.request_id.clone());
    });
    Box::new(move |connection| {
        Box::pin(async move { Ok(insert.build().execute(connection).await?.rows_affected()) })
    })
}

#[async_trait]
impl<L: Link> AuditLog for Work<L> {
    async fn append_all(&mut self, records: &[Record]) -> Result<(), StoreError> {
        for records in records.chunks(AT_ONCE) {
            self.0.write(|| insert(records)).await?;
        }
        Ok(())
    }

    async fn count_all(&mut self, records: &[Record]) -> Result<(), StoreError> {
        for record in records {
            self.count(record).await?;
        }
        Ok(())
    }

    async fn delete_before(&mut self, before: Timestamp, most: u32) -> Result<u64, StoreError> {
        // What somebody else has locked is left for the next time: upkeep never waits, and never stands in a circle.
        let delete = || {
            execute(sqlx::query!(
                "DELETE l FROM
                    (SELECT id FROM iam_auth_log FORCE INDEX (iam_auth_log_at)
                     WHERE at < ? ORDER BY at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_auth_log l FORCE INDEX (PRIMARY) ON l.id = old.id",
                utc(before),
                most
            ))
        };
        self.0.write(delete).await
    }
}

impl<L: Link> Work<L> {
    async fn count(&mut self, record: &Record) -> Result<(), StoreError> {
        if let Some(key) = &record.coalesce {
            // A row that is there is met by its key alone, with no lock on the gap beside it, and no id is used up.
            let add = || {
                execute(sqlx::query!(
                    "UPDATE iam_auth_log SET count = count + ?, last_at = GREATEST(last_at, ?) WHERE coalesce_key = ?",
                    i64::from(record.count),
                    utc(record.last_at),
                    &key[..]
                ))
            };
            if self.0.write(add).await? == 1 {
                return Ok(());
            }
        }
        let insert = || {
            let client = &record.client;
            execute(sqlx::query!(
                "INSERT INTO iam_auth_log (at, last_at, count, event, outcome, reason, actor_id, account_id, parent_id, session_id,
                    amr, identifier, client_address, user_agent, request_id, coalesce_key)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                 ON DUPLICATE KEY UPDATE count = count + VALUES(count), last_at = GREATEST(last_at, VALUES(last_at))",
                utc(record.at),
                utc(record.last_at),
                i64::from(record.count),
                &*record.event,
                record.outcome.as_str(),
                record.reason,
                record.actor.map(|id| id.as_bytes().to_vec()),
                record.account.map(|id| id.as_bytes().to_vec()),
                record.parent.map(|id| id.as_bytes().to_vec()),
                record.session.map(|id| id.as_bytes().to_vec()),
                record.amr,
                record.identifier,
                client.address.map(|address| address.to_string()),
                client.user_agent,
                client.request_id,
                record.coalesce.map(|key| key.to_vec())
            ))
        };
        self.0.write(insert).await.map(drop)
    }
}
