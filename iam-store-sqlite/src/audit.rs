//! `iam_auth_log`.

use async_trait::async_trait;
use iam_core::ports::{AuditLog, AuditReads, Record};
use iam_core::{AccountId, Client, Entry, Outcome, ParentId, SessionId, StoreError, Timestamp};
use sqlx::query_builder::Separated;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use crate::error::failed;
use crate::rows::Columns;
use crate::unit::{Link, Reading, Work};

fn entry(row: &SqliteRow) -> Result<Entry, StoreError> {
    let columns = Columns { table: "iam_auth_log", row };
    let id = u64::try_from(columns.number("id")?).map_err(|_| columns.corrupt("id"))?;
    let outcome = columns.parsed("outcome", Outcome::parse)?;
    let mut record = Record::at(columns.time("at")?, columns.text("event")?, outcome);
    record.last_at = columns.time("last_at")?;
    record.count = u32::try_from(columns.number("count")?).unwrap_or(u32::MAX);
    record.reason = columns.maybe_text("reason")?;
    record.actor = columns.maybe_id("actor_id")?.map(AccountId::from_bytes);
    record.account = columns.maybe_id("account_id")?.map(AccountId::from_bytes);
    record.parent = columns.maybe_id("parent_id")?.map(ParentId::from_bytes);
    record.session = columns.maybe_id("session_id")?.map(SessionId::from_bytes);
    record.amr = columns.maybe_text("amr")?;
    record.identifier = columns.maybe_text("identifier")?;
    record.client = Client::default();
    record.client.address = columns.maybe_parsed("client_address", |text| text.parse().ok())?;
    record.client.user_agent = columns.maybe_text("user_agent")?;
    record.client.request_id = columns.maybe_text("request_id")?;
    Ok(Entry { id, record })
}

#[async_trait]
impl<C: Reading> AuditReads for Work<C> {
    async fn entries(&mut self, before: Option<u64>, most: u32) -> Result<Vec<Entry>, StoreError> {
        let before = before.and_then(|id| i64::try_from(id).ok()).unwrap_or(i64::MAX);
        let rows = sqlx::query(
            "SELECT id, at, last_at, count, event, outcome, reason, actor_id, account_id, parent_id, session_id, amr, identifier,
                client_address, user_agent, request_id
             FROM iam_auth_log WHERE id < ? ORDER BY id DESC LIMIT ?",
        )
        .bind(before)
        .bind(i64::from(most))
        .fetch_all(self.connection())
        .await
        .map_err(failed)?;
        rows.iter().map(entry).collect()
    }
}

/// Rows of one statement: each number of them is a text of its own, which the database prepares once.
const AT_ONCE: usize = 16;

const INSERT: &str = "INSERT INTO iam_auth_log (at, last_at, count, event, outcome, reason, actor_id, account_id, parent_id, session_id,
    amr, identifier, client_address, user_agent, request_id, coalesce_key) ";

fn row(mut row: Separated<'_, Sqlite, &'static str>, record: &Record) {
    let client = &record.client;
    row.push_bind(record.at.as_micros())
        .push_bind(record.last_at.as_micros())
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
        .push_bind(client.request_id.clone())
        .push_bind(record.coalesce.map(|key| key.to_vec()));
}

#[async_trait]
impl<C: Link> AuditLog for Work<C> {
    async fn append_all(&mut self, records: &[Record]) -> Result<(), StoreError> {
        for records in records.chunks(AT_ONCE) {
            let mut insert = QueryBuilder::<Sqlite>::new(INSERT);
            insert.push_values(records, row);
            insert.build().execute(self.connection()).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn count_all(&mut self, records: &[Record]) -> Result<(), StoreError> {
        for record in records {
            let mut insert = QueryBuilder::<Sqlite>::new(INSERT);
            insert.push_values([record], row).push(
                " ON CONFLICT (coalesce_key) DO UPDATE
                SET count = count + excluded.count, last_at = max(last_at, excluded.last_at)",
            );
            insert.build().execute(self.connection()).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn delete_before(&mut self, before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM iam_auth_log WHERE id IN (SELECT id FROM iam_auth_log WHERE at < ? ORDER BY at LIMIT ?)",
        )
        .bind(before.as_micros())
        .bind(i64::from(most))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }
}
