//! `iam_repeatable_answer`.

use async_trait::async_trait;
use iam_core::ports::{Claim, KeptAnswer, KeptRequest, RepeatableAnswerReads, RepeatableAnswers, TokenHash};
use iam_core::{SessionId, StoreError, Timestamp};

use crate::connection::{Link, Reading, execute, optional};
use crate::rows::{Column, timestamp, utc};
use crate::unit::Work;

const fn column(name: &'static str) -> Column {
    Column("iam_repeatable_answer", name)
}

#[async_trait]
impl<L: Reading> RepeatableAnswerReads for Work<L> {
    // Whether the answer counts is a matter of its session, and so of the guard's read, which knows a primary of before.
    async fn by_old_token(&mut self, old_token: &TokenHash) -> Result<Option<KeptRequest>, StoreError> {
        let find = || {
            optional(sqlx::query!(
                "SELECT session_id, request, token_hash, answer, at FROM iam_repeatable_answer WHERE old_token = ?",
                &old_token.as_bytes()[..]
            ))
        };
        let Some(row) = self.0.read(find).await? else { return Ok(None) };
        let claim = Claim {
            session: SessionId::from_bytes(column("session_id").id(&row.session_id)?),
            old_token: *old_token,
            request: column("request")
                .maybe_digest(Some(&row.request))?
                .ok_or_else(|| column("request").corrupt())?,
            at: timestamp(row.at),
        };
        let token = column("token_hash").maybe_digest(row.token_hash.as_deref())?.map(TokenHash::from_bytes);
        let answer = token.zip(row.answer).map(|(token, sealed)| KeptAnswer { token, sealed });
        Ok(Some(KeptRequest { claim, answer }))
    }
}

#[async_trait]
impl<L: Link> RepeatableAnswers for Work<L> {
    async fn claim(&mut self, claim: &Claim, stale_since: Timestamp) -> Result<bool, StoreError> {
        // Each statement claims it or does nothing, whatever others do between the two. In this order, since an insert that finds a row
        // shares a lock of it, which two of them could not raise afterwards.
        let take_over = || {
            execute(sqlx::query!(
                "UPDATE iam_repeatable_answer SET old_token = ?, request = ?, at = ?, token_hash = NULL, answer = NULL
                 WHERE session_id = ? AND (request <> ? OR old_token <> ? OR at <= ? OR at > ?)",
                &claim.old_token.as_bytes()[..],
                &claim.request[..],
                utc(claim.at),
                &claim.session.as_bytes()[..],
                &claim.request[..],
                &claim.old_token.as_bytes()[..],
                utc(stale_since),
                utc(claim.at.latest_tolerated())
            ))
        };
        if self.0.write(take_over).await? == 1 {
            return Ok(true);
        }
        let insert = || {
            execute(sqlx::query!(
                "INSERT IGNORE INTO iam_repeatable_answer (session_id, old_token, request, at) VALUES (?, ?, ?, ?)",
                &claim.session.as_bytes()[..],
                &claim.old_token.as_bytes()[..],
                &claim.request[..],
                utc(claim.at)
            ))
        };
        Ok(self.0.write(insert).await? == 1)
    }

    async fn answer(
        &mut self,
        claim: &Claim,
        answer: &KeptAnswer,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let keep = || {
            execute(sqlx::query!(
                "UPDATE iam_repeatable_answer SET token_hash = ?, answer = ?, at = ?
                 WHERE session_id = ? AND old_token = ? AND request = ? AND at = ? AND answer IS NULL",
                &answer.token.as_bytes()[..],
                answer.sealed.clone(),
                utc(at),
                &claim.session.as_bytes()[..],
                &claim.old_token.as_bytes()[..],
                &claim.request[..],
                utc(claim.at)
            ))
        };
        Ok(self.0.write(keep).await? == 1)
    }

    async fn give_back(&mut self, claim: &Claim) -> Result<bool, StoreError> {
        let give_back = || {
            execute(sqlx::query!(
                "DELETE FROM iam_repeatable_answer
                 WHERE session_id = ? AND old_token = ? AND request = ? AND at = ? AND answer IS NULL",
                &claim.session.as_bytes()[..],
                &claim.old_token.as_bytes()[..],
                &claim.request[..],
                utc(claim.at)
            ))
        };
        Ok(self.0.write(give_back).await? == 1)
    }

    async fn forget(&mut self, session: SessionId) -> Result<bool, StoreError> {
        let forget = || {
            execute(sqlx::query!(
                "DELETE FROM iam_repeatable_answer WHERE session_id = ?",
                &session.as_bytes()[..]
            ))
        };
        Ok(self.0.write(forget).await? == 1)
    }

    async fn purge(
        &mut self,
        answered_before: Timestamp,
        claimed_before: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError> {
        let purge = || {
            execute(sqlx::query!(
                "DELETE r FROM
                    (SELECT session_id FROM iam_repeatable_answer FORCE INDEX (iam_repeatable_answer_at)
                     WHERE at < ? AND (answer IS NOT NULL OR at < ?) ORDER BY at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_repeatable_answer r FORCE INDEX (PRIMARY) ON r.session_id = old.session_id",
                utc(answered_before),
                utc(claimed_before),
                most
            ))
        };
        self.0.write(purge).await
    }
}
