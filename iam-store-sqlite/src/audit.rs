//! `iam_auth_log`.

use async_trait::async_trait;
use iam_core::audit::Record;
use iam_core::store::{AuditLog, StoreError};

use crate::error::failed;
use crate::unit::Work;

#[async_trait]
impl AuditLog for Work {
    async fn append(&mut self, record: &Record) -> Result<(), StoreError> {
        let client = &record.client;
        sqlx::query(
            "INSERT INTO iam_auth_log (at, last_at, event, outcome, reason, actor_id, account_id, parent_id, session_id, amr,
                identifier, client_address, user_agent, request_id, coalesce_key)
             VALUES (?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT (coalesce_key) DO UPDATE SET count = count + 1, last_at = max(last_at, excluded.at)",
        )
        .bind(record.at.as_micros())
        .bind(record.event)
        .bind(record.outcome.as_str())
        .bind(record.reason.as_deref())
        .bind(record.actor.map(|id| id.as_bytes().to_vec()))
        .bind(record.account.map(|id| id.as_bytes().to_vec()))
        .bind(record.parent.map(|id| id.as_bytes().to_vec()))
        .bind(record.session.map(|id| id.as_bytes().to_vec()))
        .bind(record.amr.as_deref())
        .bind(record.identifier.as_deref())
        .bind(client.address.map(|address| address.to_string()))
        .bind(client.user_agent.as_deref())
        .bind(client.request_id.as_deref())
        .bind(record.coalesce.map(|key| key.to_vec()))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(())
    }
}
