//! Keeping the store small: sessions that ran out end, secrets of ended ones go, and what is older than its retention goes.

use std::time::Duration;

use crate::audit::{Event, Subject};
use crate::error::Error;
use crate::flow::delivery::EXPIRED_AT_ONCE;
use crate::iam::Iam;
use crate::meta::Client;
use crate::session::EndReason;

/// The most rows of one statement: few enough that nobody waits for them.
const BATCH: u32 = 200;

/// The most sessions that one unit of work ends, each with its record: on a slow link to the store, too, that takes a moment.
const ENDED_AT_ONCE: u32 = 20;

/// How long the token of an ended session is remembered, so that its use after the end can be told from a made-up one.
const ENDED_TOKENS: Duration = Duration::from_hours(24);

/// How long a factor that nobody confirmed is kept. It can be confirmed for ten minutes.
const UNCONFIRMED: Duration = Duration::from_hours(1);

/// How long a challenge is kept that nobody answered: the trail tells of its tries.
const UNANSWERED: Duration = Duration::from_hours(24);

/// How long it is remembered what became of a message.
const MESSAGES: Duration = Duration::from_hours(24 * 30);

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
    /// Challenges that expired longer ago than the audit retention, or were never answered, and methods that nobody confirmed.
    pub challenges_purged: u64,
    /// Requests that a guard stopped and nobody went on with in time, and browsers that are trusted no longer.
    pub leftovers_purged: u64,
    /// Messages that were not delivered in time.
    pub messages_expired: u64,
    /// Messages that are long over.
    pub messages_purged: u64,
}

impl Upkeep {
    /// Whether some kind of work filled its batch, so that there is likely more.
    pub fn is_more_waiting(&self) -> bool {
        let done = [
            self.tokens_forgotten,
            self.sessions_deleted,
            self.records_deleted,
            self.limits_purged,
            self.links_purged,
            self.challenges_purged,
            self.leftovers_purged,
            self.messages_purged,
        ];
        self.sessions_ended >= u64::from(ENDED_AT_ONCE)
            || self.messages_expired >= u64::from(EXPIRED_AT_ONCE)
            || done.into_iter().any(|count| count >= u64::from(BATCH))
    }
}

impl Iam {
    /// Does one small batch of each kind of upkeep. The [`Worker`](crate::Worker) calls it once a minute; a host that runs no
    /// worker calls it from a task of its own, again and again while [`Upkeep::is_more_waiting`]. A process whose clock is not the
    /// database's does none: it would end and remove what is not over.
    pub async fn upkeep(&self) -> Result<Upkeep, Error> {
        if !self.has_the_databases_time() {
            return Ok(Upkeep::default());
        }
        let now = self.now();
        let kept_since = now.minus(self.inner.audit_retention);
        // Each kind by itself, in a unit of its own: where one fails the others are done all the same.
        let mut failed = None;
        let mut done = |result: Result<u64, Error>| {
            result.unwrap_or_else(|error| {
                failed.get_or_insert(error);
                0
            })
        };
        // First: what follows goes by what the time is.
        done(self.note_time().await.map(|()| 0));
        let upkeep = Upkeep {
            sessions_ended: done(self.retried(|| self.end_idle_sessions()).await),
            tokens_forgotten: done(
                self.retried(|| async {
                    let mut unit = self.begin().await?;
                    let count = unit.sessions().forget_tokens(now.minus(ENDED_TOKENS), BATCH).await?;
                    unit.commit().await?;
                    Ok(count)
                })
                .await,
            ),
            sessions_deleted: done(
                self.retried(|| async {
                    let mut unit = self.begin().await?;
                    let count = unit.sessions().delete_ended(kept_since, BATCH).await?;
                    unit.commit().await?;
                    Ok(count)
                })
                .await,
            ),
            records_deleted: done(
                self.retried(|| async {
                    let mut unit = self.begin().await?;
                    let count = unit.audit().delete_before(kept_since, BATCH).await?;
                    unit.commit().await?;
                    Ok(count)
                })
                .await,
            ),
            limits_purged: done(
                self.retried(|| async {
                    let mut unit = self.begin().await?;
                    let count = unit.limits().purge(now, BATCH).await?;
                    unit.commit().await?;
                    Ok(count)
                })
                .await,
            ),
            links_purged: done(
                self.retried(|| async {
                    let mut unit = self.begin().await?;
                    let count = unit.one_time_tokens().purge(now, BATCH).await?;
                    unit.commit().await?;
                    Ok(count)
                })
                .await,
            ),
            challenges_purged: done(
                self.retried(|| async {
                    let mut unit = self.begin().await?;
                    let unconfirmed = unit.methods().purge_unconfirmed(now.minus(UNCONFIRMED), BATCH).await?;
                    let unanswered = unit.challenges().purge_unanswered(now.minus(UNANSWERED), BATCH).await?;
                    let count = unit.challenges().purge(kept_since, BATCH).await?;
                    unit.commit().await?;
                    Ok(unconfirmed.max(unanswered).max(count))
                })
                .await,
            ),
            leftovers_purged: done(
                self.retried(|| async {
                    let mut unit = self.begin().await?;
                    let requests = unit.interrupted_requests().purge(now, BATCH).await?;
                    let devices = unit.trusted_devices().purge(now, BATCH).await?;
                    unit.commit().await?;
                    Ok(requests.max(devices))
                })
                .await,
            ),
            messages_expired: done(self.retried(|| self.expire_messages()).await),
            messages_purged: done(
                self.retried(|| async {
                    let mut unit = self.begin().await?;
                    let count = unit.outbox().purge(now.minus(MESSAGES), BATCH).await?;
                    unit.commit().await?;
                    Ok(count)
                })
                .await,
            ),
        };
        if upkeep != Upkeep::default() {
            tracing::debug!(?upkeep, "upkeep");
        }
        failed.map_or(Ok(upkeep), Err)
    }

    async fn end_idle_sessions(&self) -> Result<u64, Error> {
        let policy = &self.inner.session_policy;
        let now = self.now();
        // Beyond the deadline of every session, so that none of them can be brought back by a request under way.
        let deadline = now.minus(policy.idle).minus(policy.touch_interval());
        let idle = self.inner.store.sessions_unseen_since(deadline, ENDED_AT_ONCE).await?;
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
