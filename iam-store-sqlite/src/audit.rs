//! `iam_auth_log`, and `iam_auth_tally` beside it.

use async_trait::async_trait;
use iam_core::ports::{AuditLog, AuditReads, AuditRetention, Record};
use iam_core::{AccountId, Client, Entry, Outcome, ParentId, SessionId, StoreError, Target, Timestamp};
use sqlx::query_builder::Separated;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use crate::error::failed;
use crate::rows::Columns;
use crate::unit::{Link, Reading, Work};

/// The columns of a record, in the trail and where it is counted.
macro_rules! columns {
    () => {
        "at, last_at, count, event, outcome, target_kind, target, reason, actor_id, account_id, parent_id, session_id, amr, identifier,
            client_address, user_agent, request_id"
    };
}

const TRAIL: &str = "iam_auth_log";
const TALLY: &str = "iam_auth_tally";

/// Rows of one statement: each number of them is a text of its own, which the database prepares once.
const AT_ONCE: usize = 16;

fn entry(row: &SqliteRow) -> Result<Entry, StoreError> {
    let columns = Columns { table: TRAIL, row };
    let id = u64::try_from(columns.number("id")?).map_err(|_| columns.corrupt("id"))?;
    Ok(Entry { id, record: record(&columns)? })
}

fn record(columns: &Columns<'_>) -> Result<Record, StoreError> {
    let outcome = columns.parsed("outcome", Outcome::parse)?;
    let mut record = Record::at(columns.time("at")?, columns.text("event")?, outcome);
    record.last_at = columns.time("last_at")?;
    record.count = u32::try_from(columns.number("count")?).unwrap_or(u32::MAX);
    let target = columns.maybe_text("target_kind")?.zip(columns.maybe_text("target")?);
    record.target = target.map(|(kind, id)| Target::new(kind, id));
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
    Ok(record)
}

fn push_columns(row: &mut Separated<'_, Sqlite, &'static str>, record: &Record) {
    let (client, target) = (&record.client, record.target.as_ref());
    row.push_bind(record.at.as_micros())
        .push_bind(record.last_at.as_micros())
        .push_bind(i64::from(record.count))
        .push_bind(record.event.to_string())
        .push_bind(record.outcome.as_str())
        .push_bind(target.map(|target| target.kind.to_string()))
        .push_bind(target.map(|target| target.id.clone()))
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
}

#[async_trait]
impl<C: Reading> AuditReads for Work<C> {
    async fn entries(&mut self, before: Option<u64>, most: u32) -> Result<Vec<Entry>, StoreError> {
        let before = before.and_then(|id| i64::try_from(id).ok()).unwrap_or(i64::MAX);
        let rows = sqlx::query(concat!(
            "SELECT id, ",
            columns!(),
            " FROM iam_auth_log WHERE id < ? ORDER BY id DESC LIMIT ?"
        ))
        .bind(before)
        .bind(i64::from(most))
        .fetch_all(self.connection())
        .await
        .map_err(failed)?;
        rows.iter().map(entry).collect()
    }

    async fn counts(&mut self, most: u32) -> Result<Vec<Record>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM iam_auth_tally ORDER BY at DESC, coalesce_key LIMIT ?"
        ))
        .bind(i64::from(most))
        .fetch_all(self.connection())
        .await
        .map_err(failed)?;
        rows.iter().map(|row| record(&Columns { table: TALLY, row })).collect()
    }
}

#[async_trait]
impl<C: Link> AuditLog for Work<C> {
    async fn append_all(&mut self, records: &[Record]) -> Result<(), StoreError> {
        for records in records.chunks(AT_ONCE) {
            let mut insert =
                QueryBuilder::<Sqlite>::new(concat!("INSERT INTO iam_auth_log (", columns!(), ") "));
            insert.push_values(records, |mut row, record| push_columns(&mut row, record));
            insert.build().execute(self.connection()).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn count_all(&mut self, records: &[Record]) -> Result<(), StoreError> {
        for records in records.chunks(AT_ONCE) {
            let mut insert = QueryBuilder::<Sqlite>::new(concat!(
                "INSERT INTO iam_auth_tally (",
                columns!(),
                ", coalesce_key) "
            ));
            insert.push_values(records, |mut row, record| {
                push_columns(&mut row, record);
                row.push_bind(record.coalesce.map(|key| key.to_vec()));
            });
            insert.push(
                " ON CONFLICT (coalesce_key) DO UPDATE
                SET count = count + excluded.count, last_at = max(last_at, excluded.last_at)",
            );
            insert.build().execute(self.connection()).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn take_counts(&mut self, before: Timestamp, most: u32) -> Result<Vec<Record>, StoreError> {
        let rows = sqlx::query(concat!(
            "DELETE FROM iam_auth_tally WHERE coalesce_key IN
                (SELECT coalesce_key FROM iam_auth_tally WHERE at < ? ORDER BY at LIMIT ?)
             RETURNING ",
            columns!()
        ))
        .bind(before.as_micros())
        .bind(i64::from(most))
        .fetch_all(self.connection())
        .await
        .map_err(failed)?;
        let taken: Result<Vec<Record>, StoreError> =
            rows.iter().map(|row| record(&Columns { table: TALLY, row })).collect();
        let mut taken = taken?;
        // They come in any order.
        taken.sort_by_key(|record| record.at);
        Ok(taken)
    }
}

#[async_trait]
impl<C: Link> AuditRetention for Work<C> {
    async fn delete_before(&mut self, before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.remove_before(
            "WITH oldest AS MATERIALIZED (SELECT id, at FROM iam_auth_log ORDER BY id LIMIT ?2)
             DELETE FROM iam_auth_log WHERE id IN (SELECT id FROM oldest)
                AND id < coalesce((SELECT min(id) FROM oldest WHERE at >= ?1), 9223372036854775807)",
            before,
            most,
        )
        .await
    }
}
