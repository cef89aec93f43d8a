//! `iam_step_up_proof`.

use async_trait::async_trait;
use iam_core::ports::{AuthVersion, StepUpProof, StepUpProofId, StepUpProofReads, StepUpProofs};
use iam_core::{AccountId, ParentId, ProofMethod, Purpose, SessionId, StoreError, Timestamp};
use sqlx::sqlite::SqliteRow;

use crate::error::failed;
use crate::rows::Columns;
use crate::unit::{Link, Reading, Work};

const OF_SESSION: &str =
    "SELECT id, account_id, parent_id, auth_version, purpose, kind, approval, proved_at FROM iam_step_up_proof
    WHERE session_id = ? AND proved_at > ? AND used_at IS NULL ORDER BY proved_at, id";

const PURGE: &str = "DELETE FROM iam_step_up_proof WHERE id IN
    (SELECT id FROM iam_step_up_proof WHERE proved_at < ? ORDER BY proved_at LIMIT ?)";

/// Nothing, for a purpose or a kind that only a newer program knows.
fn proof(row: &SqliteRow) -> Result<Option<StepUpProof>, StoreError> {
    let columns = Columns { table: "iam_step_up_proof", row };
    let purpose = Purpose::parse(&columns.text("purpose")?);
    let kind = ProofMethod::parse(&columns.text("kind")?);
    let (Some(purpose), Some(kind)) = (purpose, kind) else { return Ok(None) };
    Ok(Some(StepUpProof {
        id: StepUpProofId::from_bytes(columns.id("id")?),
        account: AccountId::from_bytes(columns.id("account_id")?),
        parent: columns.maybe_id("parent_id")?.map(ParentId::from_bytes),
        auth_version: AuthVersion::from_i64(columns.number("auth_version")?),
        purpose,
        kind,
        proved_at: columns.time("proved_at")?,
        approval: columns.maybe_digest("approval")?,
    }))
}

#[async_trait]
impl<C: Reading> StepUpProofReads for Work<C> {
    async fn of_session(
        &mut self,
        session: SessionId,
        proved_after: Timestamp,
    ) -> Result<Vec<StepUpProof>, StoreError> {
        let query = sqlx::query(OF_SESSION).bind(&session.as_bytes()[..]).bind(proved_after.as_micros());
        let rows = query.fetch_all(self.connection()).await.map_err(failed)?;
        rows.iter().filter_map(|row| proof(row).transpose()).collect()
    }
}

#[async_trait]
impl<C: Link> StepUpProofs for Work<C> {
    async fn insert(&mut self, session: SessionId, proof: &StepUpProof) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO iam_step_up_proof
                (id, session_id, account_id, parent_id, auth_version, purpose, kind, approval, proved_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&proof.id.as_bytes()[..])
        .bind(&session.as_bytes()[..])
        .bind(&proof.account.as_bytes()[..])
        .bind(proof.parent.map(|id| id.as_bytes().to_vec()))
        .bind(proof.auth_version.as_i64())
        .bind(proof.purpose.as_str())
        .bind(proof.kind.as_str())
        .bind(proof.approval.map(Vec::from))
        .bind(proof.proved_at.as_micros())
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
        let done = sqlx::query(
            "UPDATE iam_step_up_proof SET used_at = ?1
             WHERE id = ?2 AND session_id = ?3 AND proved_at > ?4 AND used_at IS NULL
               AND EXISTS (SELECT 1 FROM iam_auth_session s WHERE s.id = ?3 AND s.ended_at IS NULL)",
        )
        .bind(now.as_micros())
        .bind(&id.as_bytes()[..])
        .bind(&session.as_bytes()[..])
        .bind(proved_after.as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn purge(&mut self, proved_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.remove_before(PURGE, proved_before, most).await
    }
}

#[cfg(test)]
mod tests {
    use super::{OF_SESSION, PURGE};
    use crate::store::plans::assert_by_index;

    #[tokio::test]
    async fn reads_and_upkeep_find_their_rows_by_index() {
        assert_by_index(&[(OF_SESSION, &["iam_step_up_proof_session"]), (PURGE, &["iam_step_up_proof_age"])])
            .await;
    }
}
