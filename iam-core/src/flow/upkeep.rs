//! Keeping the store small: sessions that ran out end, secrets of ended ones go, and what is older than its retention goes.

use std::time::Duration;

use crate::audit::{Event, Subject};
use crate::error::Error;
use crate::iam::Iam;
use crate::meta::Client;
use crate::session::EndReason;

/// The most rows of one statement: few enough that nobody waits for them.
const BATCH: u32 = 200;

/// How long the token of an ended session is remembered, so that its use after the end can be told from a made-up one.
const ENDED_TOKENS: Duration = Duration::from_hours(24);

/// What one batch of upkeep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upkeep {
    /// Sessions that had run out, and that nobody had ended.
    pub sessions_ended: u64,
    /// Ended sessions whose token was removed.
    pub tokens_forgotten: u64,
    /// Sessions that ended longer ago than the audit retention.
    pub sessions_deleted: u64,
    /// Audit records older than that.
    pub records_deleted: u64,
    /// Limits with nothing left to remember.
    pub limits_purged: u64,
    /// Links that have expired.
    pub links_purged: u64,
}

impl Upkeep {
    /// Whether some kind of work filled its batch, so that there is likely more.
    pub fn is_more_waiting(&self) -> bool {
        let done = [
            self.sessions_ended,
            self.tokens_forgotten,
            self.sessions_deleted,
            self.records_deleted,
            self.limits_purged,
            self.links_purged,
        ];
        done.into_iter().any(|count| count >= u64::from(BATCH))
    }
}

impl Iam {
    /// Does one small batch of each kind of upkeep. The [`Worker`](crate::Worker) calls it once a minute; a host that runs no
    /// worker calls it from a task of its own, again and again while [`Upkeep::is_more_waiting`].
    pub async fn upkeep(&self) -> Result<Upkeep, Error> {
        let now = self.now();
        let kept_since = now.minus(self.inner.audit_retention);
        let mut done =
            Upkeep { sessions_ended: self.retried(|| self.end_idle_sessions()).await?, ..Upkeep::default() };
        // A unit for each kind: none holds its locks for longer than one statement.
        let mut unit = self.begin().await?;
        done.tokens_forgotten = unit.sessions().forget_tokens(now.minus(ENDED_TOKENS), BATCH).await?;
        unit.commit().await?;
        let mut unit = self.begin().await?;
        done.sessions_deleted = unit.sessions().delete_ended(kept_since, BATCH).await?;
        unit.commit().await?;
        let mut unit = self.begin().await?;
        done.records_deleted = unit.audit().delete_before(kept_since, BATCH).await?;
        unit.commit().await?;
        let mut unit = self.begin().await?;
        done.limits_purged = unit.limits().purge(now, BATCH).await?;
        unit.commit().await?;
        let mut unit = self.begin().await?;
        done.links_purged = unit.one_time_tokens().purge(now, BATCH).await?;
        unit.commit().await?;
        if done != Upkeep::default() {
            tracing::debug!(?done, "upkeep");
        }
        Ok(done)
    }

    async fn end_idle_sessions(&self) -> Result<u64, Error> {
        let policy = &self.inner.session_policy;
        let now = self.now();
        // Beyond the deadline of every session, so that none of them can be brought back by a request under way.
        let deadline = now.minus(policy.idle).minus(policy.touch_interval());
        let idle = self.inner.store.sessions_unseen_since(deadline, BATCH).await?;
        if idle.is_empty() {
            return Ok(0);
        }
        let mut ended = 0;
        let mut unit = self.begin().await?;
        for (session, account) in idle {
            if unit.sessions().end(session, EndReason::Idle, now).await? {
                let event = Event::SessionEnded(session, EndReason::Idle);
                let subject = Subject { account: Some(account), ..Subject::default() };
                self.audit(unit.as_mut(), &event, subject, &Client::default()).await?;
                ended += 1;
            }
        }
        unit.commit().await?;
        Ok(ended)
    }
}
