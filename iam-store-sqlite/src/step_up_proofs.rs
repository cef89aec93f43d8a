//! `iam_step_up_proof`.

use async_trait::async_trait;
use iam_core::ports::{StepUpProof, StepUpProofId, StepUpProofReads, StepUpProofs};
use iam_core::{SessionId, StoreError, Timestamp};

use crate::error::failed;
use crate::rows::Micros;
use crate::unit::{Link, Reading, Work};

type StepUpProofRow = iam_store_sql::StepUpProofRow<Micros>;

#[async_trait]
impl<C: Reading> StepUpProofReads for Work<C> {
    async fn of_session(
        &mut self,
        session: SessionId,
        proved_after: Timestamp,
    ) -> Result<Vec<StepUpProof>, StoreError> {
        let rows = sqlx::query_as!(
            StepUpProofRow,
            r#"SELECT 0 AS "fenced!: bool", id, account_id, parent_id, auth_version, purpose, kind, approval, proved_at
             FROM iam_step_up_proof
             WHERE session_id = ? AND proved_at > ? AND used_at IS NULL ORDER BY proved_at, id"#,
            &session.as_bytes()[..],
            proved_after.as_micros()
        );
        let rows = rows.fetch_all(self.connection()).await.map_err(failed)?;
        rows.into_iter().filter_map(|row| row.read().transpose()).collect()
    }
}

#[async_trait]
impl<C: Link> StepUpProofs for Work<C> {
    async fn insert(&mut self, session: SessionId, proof: &StepUpProof) -> Result<(), StoreError> {
        sqlx::query!(
            "INSERT INTO iam_step_up_proof
                (id, session_id, account_id, parent_id, auth_version, purpose, kind, approval, proved_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            &proof.id.as_bytes()[..],
            &session.as_bytes()[..],
            &proof.account.as_bytes()[..],
            proof.parent.map(|id| id.as_bytes().to_vec()),
            proof.auth_version.as_i64(),
            proof.purpose.as_str(),
            proof.kind.as_str(),
            proof.approval.map(Vec::from),
            proof.proved_at.as_micros()
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn use_proof(
        &mut self,
        id: StepUpProofId,
        session: SessionId,
        proved_after: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_step_up_proof SET used_at = ?1
             WHERE id = ?2 AND session_id = ?3 AND proved_at > ?4 AND used_at IS NULL
               AND EXISTS (SELECT 1 FROM iam_auth_session s WHERE s.id = ?3 AND s.ended_at IS NULL)",
            now.as_micros(),
            &id.as_bytes()[..],
            &session.as_bytes()[..],
            proved_after.as_micros()
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn purge(&mut self, proved_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "DELETE FROM iam_step_up_proof WHERE id IN
    (SELECT id FROM iam_step_up_proof WHERE proved_at < ? ORDER BY proved_at LIMIT ?)",
            proved_before.as_micros(),
            most
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }
}
