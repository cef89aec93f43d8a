//! `iam_auth_log`, and `iam_auth_tally` beside it.

use async_trait::async_trait;
use iam_core::ports::{AuditLog, AuditReads, AuditRetention, Record};
use iam_core::{AccountId, Client, Entry, Outcome, ParentId, SessionId, StoreError, Target, Timestamp};
use iam_store_sql::Column;
use sqlx::{MySql, QueryBuilder};
use time::PrimitiveDateTime;

use crate::connection::{Link, Reading, Statement, all, execute, run};
use crate::rows::{timestamp, utc};
use crate::unit::Work;

const fn column(name: &'static str) -> Column {
    Column("iam_auth_log", name)
}

/// A row, by what tells it from the others.
macro_rules! row {
    ($name:ident { $key:ident: $of:ty }) => {
        struct $name {
            $key: $of,
            at: PrimitiveDateTime,
            last_at: PrimitiveDateTime,
            count: i64,
            event: String,
            outcome: String,
            target_kind: Option<String>,
            target: Option<String>,
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

        impl $name {
            fn record(self) -> Result<Record, StoreError> {
                let outcome = column("outcome").parsed(self.outcome, Outcome::parse)?;
                let mut record = Record::at(timestamp(self.at), self.event, outcome);
                record.last_at = timestamp(self.last_at);
                record.count = u32::try_from(self.count).unwrap_or(u32::MAX);
                record.target = self.target_kind.zip(self.target).map(|(kind, id)| Target::new(kind, id));
                record.reason = self.reason;
                let id = |name, bytes: Option<Vec<u8>>| column(name).maybe_id(bytes.as_deref());
                record.actor = id("actor_id", self.actor_id)?.map(AccountId::from_bytes);
                record.account = id("account_id", self.account_id)?.map(AccountId::from_bytes);
                record.parent = id("parent_id", self.parent_id)?.map(ParentId::from_bytes);
                record.session = id("session_id", self.session_id)?.map(SessionId::from_bytes);
                record.amr = self.amr;
                record.identifier = self.identifier;
                record.client = Client::default();
                let address = |text: String| column("client_address").parsed(text, |text| text.parse().ok());
                record.client.address = self.client_address.map(address).transpose()?;
                record.client.user_agent = self.user_agent;
                record.client.request_id = self.request_id;
                Ok(record)
            }
        }
    };
}

row!(EntryRow { id: u64 });
row!(CountRow { coalesce_key: Vec<u8> });

fn entry(row: EntryRow) -> Result<Entry, StoreError> {
    Ok(Entry { id: row.id, record: row.record()? })
}

#[async_trait]
impl<L: Reading> AuditReads for Work<L> {
    async fn entries(&mut self, before: Option<u64>, most: u32) -> Result<Vec<Entry>, StoreError> {
        let find = || {
            all(sqlx::query_as!(
                EntryRow,
                "SELECT id, at, last_at, count, event, outcome, target_kind, target, reason, actor_id, account_id, parent_id, session_id,
                    amr, identifier, client_address, user_agent, request_id
                 FROM iam_auth_log WHERE id < ? ORDER BY id DESC LIMIT ?",
                before.unwrap_or(u64::MAX),
                most
            ))
        };
        self.0.read(find).await?.into_iter().map(entry).collect()
    }

    async fn counts(&mut self, most: u32) -> Result<Vec<Record>, StoreError> {
        let find = || {
            all(sqlx::query_as!(
                CountRow,
                "SELECT coalesce_key, at, last_at, count, event, outcome, target_kind, target, reason, actor_id, account_id, parent_id,
                    session_id, amr, identifier, client_address, user_agent, request_id
                 FROM iam_auth_tally FORCE INDEX (iam_auth_tally_at) WHERE at > '1000-01-01' ORDER BY at DESC LIMIT ?",
                most
            ))
        };
        self.0.read(find).await?.into_iter().map(CountRow::record).collect()
    }
}

/// Rows of one statement: each number of them is a text of its own, which the server prepares once.
const AT_ONCE: usize = 16;

/// A statement of any number of rows, which none can be that is checked when it is compiled.
fn insert(records: &[Record]) -> Statement<u64> {
    let mut insert = QueryBuilder::<MySql>::new(
        "INSERT INTO iam_auth_log (at, last_at, count, event, outcome, target_kind, target, reason, actor_id, account_id, parent_id,
            session_id, amr, identifier, client_address, user_agent, request_id) ",
    );
    insert.push_values(records, |mut row, record| {
        let (client, target) = (&record.client, record.target.as_ref());
        row.push_bind(utc(record.at))
            .push_bind(utc(record.last_at))
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
    });
    run(insert)
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

    async fn take_counts(&mut self, before: Timestamp, most: u32) -> Result<Vec<Record>, StoreError> {
        // What somebody else has locked is left for the next time: upkeep never waits, and never stands in a circle.
        let find = || {
            all(sqlx::query_as!(
                CountRow,
                "SELECT coalesce_key, at, last_at, count, event, outcome, target_kind, target, reason, actor_id, account_id, parent_id,
                    session_id, amr, identifier, client_address, user_agent, request_id
                 FROM iam_auth_tally FORCE INDEX (iam_auth_tally_at) WHERE at < ? ORDER BY at LIMIT ? FOR UPDATE SKIP LOCKED",
                utc(before),
                most
            ))
        };
        let rows = self.0.lock(find).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let delete = || {
            let mut delete = QueryBuilder::<MySql>::new("DELETE FROM iam_auth_tally WHERE coalesce_key IN (");
            let mut keys = delete.separated(", ");
            for row in &rows {
                keys.push_bind(row.coalesce_key.clone());
            }
            keys.push_unseparated(")");
            run(delete)
        };
        self.0.write(delete).await?;
        rows.into_iter().map(CountRow::record).collect()
    }
}

#[async_trait]
impl<L: Link> AuditRetention for Work<L> {
    async fn delete_before(&mut self, before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let find = || {
            all(sqlx::query!(
                "SELECT id, at FROM iam_auth_log FORCE INDEX (PRIMARY) WHERE id > 0 ORDER BY id LIMIT ?",
                most
            ))
        };
        let before = utc(before);
        let oldest = self.0.read(find).await?;
        let Some(last) = oldest.iter().take_while(|row| row.at < before).last() else { return Ok(0) };
        let delete = || {
            execute(sqlx::query!("DELETE FROM iam_auth_log WHERE id > 0 AND id <= ? ORDER BY id", last.id))
        };
        self.0.write(delete).await
    }
}

impl<L: Link> Work<L> {
    async fn count(&mut self, record: &Record) -> Result<(), StoreError> {
        let key = record.coalesce.unwrap_or_default();
        // A row that is there is met by its key alone, with no lock on the gap beside it.
        let add = || {
            execute(sqlx::query!(
                "UPDATE iam_auth_tally SET count = count + ?, last_at = GREATEST(last_at, ?) WHERE coalesce_key = ?",
                i64::from(record.count),
                utc(record.last_at),
                &key[..]
            ))
        };
        if self.0.write(add).await? == 1 {
            return Ok(());
        }
        let insert = || {
            let (client, target) = (&record.client, record.target.as_ref());
            execute(sqlx::query!(
                "INSERT INTO iam_auth_tally (coalesce_key, at, last_at, count, event, outcome, target_kind, target, reason, actor_id,
                    account_id, parent_id, session_id, amr, identifier, client_address, user_agent, request_id)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                 ON DUPLICATE KEY UPDATE count = count + VALUES(count), last_at = GREATEST(last_at, VALUES(last_at))",
                &key[..],
                utc(record.at),
                utc(record.last_at),
                i64::from(record.count),
                &*record.event,
                record.outcome.as_str(),
                target.map(|target| target.kind.to_string()),
                target.map(|target| target.id.clone()),
                record.reason,
                record.actor.map(|id| id.as_bytes().to_vec()),
                record.account.map(|id| id.as_bytes().to_vec()),
                record.parent.map(|id| id.as_bytes().to_vec()),
                record.session.map(|id| id.as_bytes().to_vec()),
                record.amr,
                record.identifier,
                client.address.map(|address| address.to_string()),
                client.user_agent,
                client.request_id
            ))
        };
        self.0.write(insert).await.map(drop)
    }
}
