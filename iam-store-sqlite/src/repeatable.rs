//! `iam_repeatable_answer`.

use async_trait::async_trait;
use iam_core::ports::{Claim, KeptAnswer, KeptRequest, RepeatableAnswerReads, RepeatableAnswers, TokenHash};
use iam_core::{SessionId, StoreError, Timestamp};

use crate::error::failed;
use crate::rows::Columns;
use crate::unit::{Link, Reading, Work};

const BY_OLD_TOKEN: &str =
    "SELECT session_id, request, token_hash, answer, at FROM iam_repeatable_answer WHERE old_token = ?";

const PURGE: &str = "DELETE FROM iam_repeatable_answer WHERE session_id IN
    (SELECT session_id FROM iam_repeatable_answer WHERE at < ?1 AND (answer IS NOT NULL OR at < ?2) ORDER BY at LIMIT ?3)";

#[async_trait]
impl<C: Reading> RepeatableAnswerReads for Work<C> {
    async fn by_old_token(&mut self, old_token: &TokenHash) -> Result<Option<KeptRequest>, StoreError> {
        let query = sqlx::query(BY_OLD_TOKEN).bind(&old_token.as_bytes()[..]);
        let Some(row) = query.fetch_optional(self.connection()).await.map_err(failed)? else {
            return Ok(None);
        };
        let columns = Columns { table: "iam_repeatable_answer", row: &row };
        let claim = Claim {
            session: SessionId::from_bytes(columns.id("session_id")?),
            old_token: *old_token,
            request: columns.maybe_digest("request")?.ok_or_else(|| columns.corrupt("request"))?,
            at: columns.time("at")?,
        };
        let token = columns.maybe_digest("token_hash")?.map(TokenHash::from_bytes);
        let sealed = columns.maybe_bytes("answer")?.map(<[u8]>::to_vec);
        let answer = token.zip(sealed).map(|(token, sealed)| KeptAnswer { token, sealed });
        Ok(Some(KeptRequest { claim, answer }))
    }
}

#[async_trait]
impl<C: Link> RepeatableAnswers for Work<C> {
    async fn claim(&mut self, claim: &Claim, stale_since: Timestamp) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO iam_repeatable_answer (session_id, old_token, request, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (session_id) DO UPDATE
                SET old_token = ?2, request = ?3, at = ?4, token_hash = NULL, answer = NULL
                WHERE request <> ?3 OR old_token <> ?2 OR at <= ?5 OR at > ?6",
        )
        .bind(&claim.session.as_bytes()[..])
        .bind(&claim.old_token.as_bytes()[..])
        .bind(&claim.request[..])
        .bind(claim.at.as_micros())
        .bind(stale_since.as_micros())
        .bind(claim.at.latest_tolerated().as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn answer(
        &mut self,
        claim: &Claim,
        answer: &KeptAnswer,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_repeatable_answer SET token_hash = ?, answer = ?, at = ?
             WHERE session_id = ? AND old_token = ? AND request = ? AND at = ? AND answer IS NULL",
        )
        .bind(&answer.token.as_bytes()[..])
        .bind(&answer.sealed)
        .bind(at.as_micros())
        .bind(&claim.session.as_bytes()[..])
        .bind(&claim.old_token.as_bytes()[..])
        .bind(&claim.request[..])
        .bind(claim.at.as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn give_back(&mut self, claim: &Claim) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "DELETE FROM iam_repeatable_answer
             WHERE session_id = ? AND old_token = ? AND request = ? AND at = ? AND answer IS NULL",
        )
        .bind(&claim.session.as_bytes()[..])
        .bind(&claim.old_token.as_bytes()[..])
        .bind(&claim.request[..])
        .bind(claim.at.as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn forget(&mut self, session: SessionId) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM iam_repeatable_answer WHERE session_id = ?")
            .bind(&session.as_bytes()[..])
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn purge(
        &mut self,
        answered_before: Timestamp,
        claimed_before: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query(PURGE)
            .bind(answered_before.as_micros())
            .bind(claimed_before.as_micros())
            .bind(i64::from(most))
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(done.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::{BY_OLD_TOKEN, PURGE};
    use crate::store::plans::assert_by_index;

    #[tokio::test]
    async fn rows_are_found_by_index() {
        assert_by_index(&[
            (BY_OLD_TOKEN, &["sqlite_autoindex_iam_repeatable_answer"]),
            (PURGE, &["iam_repeatable_answer_at"]),
        ])
        .await;
    }
}
