//! `iam_repeatable_answer`.

use async_trait::async_trait;
use iam_core::ports::{
    Claim, ClaimOutcome, KeptAnswer, KeptRequest, MOST_OF_A_SESSION, RepeatableAnswerReads,
    RepeatableAnswers, TokenHash,
};
use iam_core::{SessionId, StoreError, Timestamp};

use crate::error::failed;
use crate::rows::Micros;
use crate::unit::{Link, Reading, Work};

const _: () = assert!(MOST_OF_A_SESSION == 4, "as many places as in the statement");

type KeptRow = iam_store_sql::KeptRow<Micros>;

#[async_trait]
impl<C: Reading> RepeatableAnswerReads for Work<C> {
    async fn by_old_token(&mut self, old_token: &TokenHash) -> Result<Vec<KeptRequest>, StoreError> {
        let rows = sqlx::query_as!(
            KeptRow,
            "SELECT session_id, request, token_hash, answer, at FROM iam_repeatable_answer WHERE old_token = ?",
            &old_token.as_bytes()[..]
        );
        let rows = rows.fetch_all(self.connection()).await.map_err(failed)?;
        rows.into_iter().map(|row| row.read(old_token)).collect()
    }
}

#[async_trait]
impl<C: Link> RepeatableAnswers for Work<C> {
    async fn claim(&mut self, claim: &Claim, stale_since: Timestamp) -> Result<ClaimOutcome, StoreError> {
        sqlx::query!(
            "DELETE FROM iam_repeatable_answer WHERE session_id = ?1 AND (at <= ?2 OR at > ?3)",
            &claim.session.as_bytes()[..],
            stale_since.as_micros(),
            claim.at.latest_tolerated().as_micros()
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        let done = sqlx::query!(
            "
    INSERT INTO iam_repeatable_answer (session_id, slot, old_token, request, at)
    SELECT ?1, place.column1, ?2, ?3, ?4 FROM (VALUES (0), (1), (2), (3)) place
    WHERE NOT EXISTS (SELECT 1 FROM iam_repeatable_answer WHERE session_id = ?1 AND slot = place.column1)
    ORDER BY place.column1 LIMIT 1
    ON CONFLICT DO NOTHING",
            &claim.session.as_bytes()[..],
            &claim.old_token.as_bytes()[..],
            &claim.request[..],
            claim.at.as_micros()
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        if done.rows_affected() == 1 {
            return Ok(ClaimOutcome::First);
        }
        let equal = sqlx::query!(
            "SELECT at FROM iam_repeatable_answer WHERE old_token = ? AND request = ?",
            &claim.old_token.as_bytes()[..],
            &claim.request[..]
        )
        .fetch_optional(self.connection())
        .await
        .map_err(failed)?;
        Ok(if equal.is_some() { ClaimOutcome::Before } else { ClaimOutcome::NoRoom })
    }

    async fn answer(
        &mut self,
        claim: &Claim,
        answer: &KeptAnswer,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_repeatable_answer SET token_hash = ?, answer = ?, at = ?
             WHERE session_id = ? AND old_token = ? AND request = ? AND at = ? AND answer IS NULL",
            &answer.token.as_bytes()[..],
            &answer.sealed,
            at.as_micros(),
            &claim.session.as_bytes()[..],
            &claim.old_token.as_bytes()[..],
            &claim.request[..],
            claim.at.as_micros()
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn give_back(&mut self, claim: &Claim) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "DELETE FROM iam_repeatable_answer
             WHERE session_id = ? AND old_token = ? AND request = ? AND at = ? AND answer IS NULL",
            &claim.session.as_bytes()[..],
            &claim.old_token.as_bytes()[..],
            &claim.request[..],
            claim.at.as_micros()
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn forget(&mut self, session: SessionId) -> Result<bool, StoreError> {
        let done =
            sqlx::query!("DELETE FROM iam_repeatable_answer WHERE session_id = ?", &session.as_bytes()[..])
                .execute(self.connection())
                .await
                .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    async fn purge(
        &mut self,
        answered_before: Timestamp,
        claimed_before: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query!("DELETE FROM iam_repeatable_answer WHERE rowid IN
    (SELECT rowid FROM iam_repeatable_answer WHERE at < ?1 AND (answer IS NOT NULL OR at < ?2) ORDER BY at LIMIT ?3)", answered_before.as_micros(), claimed_before.as_micros(), i64::from(most))
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(done.rows_affected())
    }
}
