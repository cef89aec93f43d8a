//! `iam_repeatable_answer`.

use async_trait::async_trait;
use iam_core::ports::{
    Claim, ClaimOutcome, KeptAnswer, KeptRequest, MOST_OF_A_SESSION, RepeatableAnswerReads,
    RepeatableAnswers, TokenHash,
};
use iam_core::{SessionId, StoreError, Timestamp};

use crate::connection::{Link, Reading, all, execute};
use crate::rows::{DateTimes, timestamp, utc};
use crate::unit::Work;

type KeptRow = iam_store_sql::KeptRow<DateTimes>;

#[async_trait]
impl<L: Reading> RepeatableAnswerReads for Work<L> {
    // Whether the answer counts is a matter of its session, and so of the guard's read, which knows a primary of before.
    async fn by_old_token(&mut self, old_token: &TokenHash) -> Result<Vec<KeptRequest>, StoreError> {
        let find = || {
            all(sqlx::query_as!(
                KeptRow,
                "SELECT session_id, request, token_hash, answer, at FROM iam_repeatable_answer WHERE old_token = ?",
                &old_token.as_bytes()[..]
            ))
        };
        self.0.read(find).await?.into_iter().map(|row| row.read(old_token)).collect()
    }
}

#[async_trait]
impl<L: Link> RepeatableAnswers for Work<L> {
    async fn claim(&mut self, claim: &Claim, stale_since: Timestamp) -> Result<ClaimOutcome, StoreError> {
        let latest = claim.at.latest_tolerated();
        let known = || {
            all(sqlx::query!(
                "SELECT slot, old_token, request, at FROM iam_repeatable_answer WHERE session_id = ?",
                &claim.session.as_bytes()[..]
            ))
        };
        let known = self.0.read(known).await?;
        let (live, stale): (Vec<_>, Vec<_>) = known.into_iter().partition(|row| {
            let at = timestamp(row.at);
            at > stale_since && at <= latest
        });
        if live.iter().any(|row| row.old_token == claim.old_token.as_bytes() && row.request == claim.request)
        {
            return Ok(ClaimOutcome::Before);
        }
        if !stale.is_empty() {
            self.forget_stale(claim.session, stale_since, latest).await?;
        }
        // What was seen says which places are worth a try, and the table's two keys who gets one: an equal request, and who takes a place,
        // stand in the way of an insert whatever was seen. Different ones begin at different places, so as not to wait for each other.
        let mut claimed = ClaimOutcome::NoRoom;
        let begin = claim.request[0] % MOST_OF_A_SESSION;
        for slot in (begin..MOST_OF_A_SESSION).chain(0..begin) {
            let slot = i8::try_from(slot).unwrap_or(i8::MAX);
            if live.iter().any(|row| row.slot == slot) {
                continue;
            }
            if self.take_slot(claim, slot).await? {
                return Ok(ClaimOutcome::First);
            }
            claimed = ClaimOutcome::Before;
        }
        Ok(claimed)
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
        Ok(self.0.write(forget).await? > 0)
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
                    (SELECT old_token, request FROM iam_repeatable_answer FORCE INDEX (iam_repeatable_answer_at)
                     WHERE at < ? AND (answer IS NOT NULL OR at < ?) ORDER BY at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_repeatable_answer r FORCE INDEX (PRIMARY)
                    ON r.old_token = old.old_token AND r.request = old.request",
                utc(answered_before),
                utc(claimed_before),
                most
            ))
        };
        self.0.write(purge).await
    }
}

impl<L: Link> Work<L> {
    async fn forget_stale(
        &mut self,
        session: SessionId,
        stale_since: Timestamp,
        latest: Timestamp,
    ) -> Result<(), StoreError> {
        let forget = || {
            execute(sqlx::query!(
                "DELETE FROM iam_repeatable_answer WHERE session_id = ? AND (at <= ? OR at > ?)",
                &session.as_bytes()[..],
                utc(stale_since),
                utc(latest)
            ))
        };
        self.0.write(forget).await.map(drop)
    }

    async fn take_slot(&mut self, claim: &Claim, slot: i8) -> Result<bool, StoreError> {
        let insert = || {
            execute(sqlx::query!(
                "INSERT IGNORE INTO iam_repeatable_answer (session_id, slot, old_token, request, at) VALUES (?, ?, ?, ?, ?)",
                &claim.session.as_bytes()[..],
                slot,
                &claim.old_token.as_bytes()[..],
                &claim.request[..],
                utc(claim.at)
            ))
        };
        Ok(self.0.write(insert).await? == 1)
    }
}
