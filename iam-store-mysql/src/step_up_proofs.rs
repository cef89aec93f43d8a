//! `iam_step_up_proof`.

use async_trait::async_trait;
use iam_core::ports::{StepUpProof, StepUpProofId, StepUpProofReads, StepUpProofs};
use iam_core::{SessionId, StoreError, Timestamp};

use crate::connection::{Link, Reading, all, execute, unless_fenced};
use crate::rows::{DateTimes, utc};
use crate::unit::Work;

type StepUpProofRow = iam_store_sql::StepUpProofRow<DateTimes>;

#[async_trait]
impl<L: Reading> StepUpProofReads for Work<L> {
    async fn of_session(
        &mut self,
        session: SessionId,
        proved_after: Timestamp,
    ) -> Result<Vec<StepUpProof>, StoreError> {
        // The primary of before may know of one that is used up.
        let find = || {
            let find = all(sqlx::query_as!(
                StepUpProofRow,
                r#"SELECT CAST(@@GLOBAL.read_only AS CHAR) NOT IN ('0', 'OFF') AS "fenced!: bool",
                    id, account_id, parent_id, auth_version, purpose, kind, approval, proved_at
                FROM iam_step_up_proof FORCE INDEX (iam_step_up_proof_session)
                WHERE session_id = ? AND used_at IS NULL AND proved_at > ? ORDER BY proved_at, id"#,
                &session.as_bytes()[..],
                utc(proved_after)
            ));
            unless_fenced(find, |row| row.fenced)
        };
        let rows = self.0.read(find).await?;
        rows.into_iter().filter_map(|row| row.read().transpose()).collect()
    }
}

#[async_trait]
impl<L: Link> StepUpProofs for Work<L> {
    async fn insert(&mut self, session: SessionId, proof: &StepUpProof) -> Result<(), StoreError> {
        let insert = || {
            execute(sqlx::query!(
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
                utc(proof.proved_at)
            ))
        };
        self.0.write(insert).await.map(drop)
    }

    async fn use_proof(
        &mut self,
        id: StepUpProofId,
        session: SessionId,
        proved_after: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let use_up = || {
            execute(sqlx::query!(
                "UPDATE iam_step_up_proof FORCE INDEX (PRIMARY) SET used_at = ?
                 WHERE id = ? AND session_id = ? AND proved_at > ? AND used_at IS NULL
                   AND EXISTS (SELECT 1 FROM iam_auth_session s WHERE s.id = ? AND s.ended_at IS NULL)",
                utc(now),
                &id.as_bytes()[..],
                &session.as_bytes()[..],
                utc(proved_after),
                &session.as_bytes()[..]
            ))
        };
        Ok(self.0.write(use_up).await? == 1)
    }

    async fn purge(&mut self, proved_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let purge = || {
            execute(sqlx::query!(
                "DELETE p FROM
                    (SELECT id FROM iam_step_up_proof FORCE INDEX (iam_step_up_proof_age)
                     WHERE proved_at < ? ORDER BY proved_at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_step_up_proof p FORCE INDEX (PRIMARY) ON p.id = old.id",
                utc(proved_before),
                most
            ))
        };
        self.0.write(purge).await
    }
}
