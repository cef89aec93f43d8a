//! `iam_repeatable_answer`.

use async_trait::async_trait;
use iam_core::ports::{
    Claim, ClaimOutcome, KeptAnswer, KeptRequest, MOST_OF_A_SESSION, RepeatableAnswerReads,
    RepeatableAnswers, TokenHash,
};
use iam_core::{SessionId, StoreError, Timestamp};
use sqlx::sqlite::SqliteRow;

use crate::error::failed;
use crate::rows::Columns;
use crate::unit::{Link, Reading, Work};

const BY_OLD_TOKEN: &str =
    "SELECT session_id, request, token_hash, answer, at FROM iam_repeatable_answer WHERE old_token = ?";

const FORGET_STALE: &str =
    "DELETE FROM iam_repeatable_answer WHERE session_id = ?1 AND (at <= ?2 OR at > ?3)";

/// Claims a request in the first free place of its session, if there is one, and no equal request in another.
const CLAIM: &str = "
    INSERT INTO iam_repeatable_answer (session_id, slot, old_token, request, at)
    SELECT ?1, place.column1, ?2, ?3, ?4 FROM (VALUES (0), (1), (2), (3)) place
    WHERE NOT EXISTS (SELECT 1 FROM iam_repeatable_answer WHERE session_id = ?1 AND slot = place.column1)
    ORDER BY place.column1 LIMIT 1
    ON CONFLICT DO NOTHING";

const _: () = assert!(MOST_OF_A_SESSION == 4, "as many places as in the statement");

const IS_THERE: &str = "SELECT 1 FROM iam_repeatable_answer WHERE old_token = ? AND request = ?";

const PURGE: &str = "DELETE FROM iam_repeatable_answer WHERE rowid IN
    (SELECT rowid FROM iam_repeatable_answer WHERE at < ?1 AND (answer IS NOT NULL OR at < ?2) ORDER BY at LIMIT ?3)";

#[async_trait]
impl<C: Reading> RepeatableAnswerReads for Work<C> {
    async fn by_old_token(&mut self, old_token: &TokenHash) -> Result<Vec<KeptRequest>, StoreError> {
        let query = sqlx::query(BY_OLD_TOKEN).bind(&old_token.as_bytes()[..]);
        let rows = query.fetch_all(self.connection()).await.map_err(failed)?;
        rows.iter().map(|row| kept(row, old_token)).collect()
    }
}

fn kept(row: &SqliteRow, old_token: &TokenHash) -> Result<KeptRequest, StoreError> {
    let columns = Columns { table: "iam_repeatable_answer", row };
    let claim = Claim {
        session: SessionId::from_bytes(columns.id("session_id")?),
        old_token: *old_token,
        request: columns.maybe_digest("request")?.ok_or_else(|| columns.corrupt("request"))?,
        at: columns.time("at")?,
    };
    let token = columns.maybe_digest("token_hash")?.map(TokenHash::from_bytes);
    let sealed = columns.maybe_bytes("answer")?.map(<[u8]>::to_vec);
    let answer = token.zip(sealed).map(|(token, sealed)| KeptAnswer { token, sealed });
    Ok(KeptRequest { claim, answer })
}

#[async_trait]
impl<C: Link> RepeatableAnswers for Work<C> {
    async fn claim(&mut self, claim: &Claim, stale_since: Timestamp) -> Result<ClaimOutcome, StoreError> {
        sqlx::query(FORGET_STALE)
            .bind(&claim.session.as_bytes()[..])
            .bind(stale_since.as_micros())
            .bind(claim.at.latest_tolerated().as_micros())
            .execute(self.connection())
            .await
            .map_err(failed)?;
        let done = sqlx::query(CLAIM)
            .bind(&claim.session.as_bytes()[..])
            .bind(&claim.old_token.as_bytes()[..])
            .bind(&claim.request[..])
            .bind(claim.at.as_micros())
            .execute(self.connection())
            .await
            .map_err(failed)?;
        if done.rows_affected() == 1 {
            return Ok(ClaimOutcome::First);
        }
        let equal = sqlx::query(IS_THERE)
            .bind(&claim.old_token.as_bytes()[..])
            .bind(&claim.request[..])
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
        Ok(done.rows_affected() > 0)
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
    use super::{BY_OLD_TOKEN, CLAIM, FORGET_STALE, IS_THERE, PURGE};
    use crate::store::plans::assert_by_index;

    #[tokio::test]
    async fn rows_are_found_by_index() {
        assert_by_index(&[
            (BY_OLD_TOKEN, &["sqlite_autoindex_iam_repeatable_answer_1"]),
            (IS_THERE, &["sqlite_autoindex_iam_repeatable_answer_1"]),
            (FORGET_STALE, &["sqlite_autoindex_iam_repeatable_answer_2"]),
            (CLAIM, &["sqlite_autoindex_iam_repeatable_answer_2"]),
            (PURGE, &["iam_repeatable_answer_at"]),
        ])
        .await;
    }
}
