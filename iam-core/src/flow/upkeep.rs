//! Keeping the store small: sessions that ran out end, secrets of ended ones go, and what is older than its retention goes.

use std::time::Duration;

use tokio::time::Instant;

use crate::audit::{Event, Subject, begun_before};
use crate::authz::step_up::MOST_WITHIN;
use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, SessionId};
use crate::flow::delivery::EXPIRED_AT_ONCE;
use crate::flow::repeat::{CLAIMED_FOR, REPEATABLE_FOR};
use crate::iam::{Iam, Trail, Unit};
use crate::model::client::Client;
use crate::model::error::Error;
use crate::model::long_sessions::LongSessions;
use crate::model::session_state::EndReason;

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

/// What upkeep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upkeep {
    /// Sessions that had run out, and that nobody had ended.
    pub sessions_ended: u64,
    /// Ended sessions whose token was removed.
    pub tokens_forgotten: u64,
    /// Sessions that ended longer ago than the audit retention.
    pub sessions_deleted: u64,
    /// Counts of refusals that came into the trail, each as a record.
    pub counts_closed: u64,
    /// Audit records older than that.
    pub records_deleted: u64,
    /// Limits with nothing left to remember.
    pub limits_purged: u64,
    /// Links that have expired.
    pub links_purged: u64,
    /// Challenges that expired longer ago than the audit retention, or were never answered.
    pub challenges_purged: u64,
    /// Methods that nobody confirmed.
    pub methods_purged: u64,
    /// Step-up proofs that are too old, requests that a guard stopped and nobody went on with in time, answers that nobody asked for again, and browsers that are trusted
    /// no longer.
    pub leftovers_purged: u64,
    /// Messages that were not delivered in time.
    pub messages_expired: u64,
    /// Messages that are long over.
    pub messages_purged: u64,
    /// Some chore filled its batch, and was not asked again.
    more: bool,
}

impl Upkeep {
    /// Whether some kind of work filled its batch, so that there is likely more.
    pub const fn is_more_waiting(&self) -> bool {
        self.more
    }

    fn count(&mut self, chore: Chore) -> &mut u64 {
        match chore {
            Chore::IdleSessions => &mut self.sessions_ended,
            Chore::Tokens => &mut self.tokens_forgotten,
            Chore::EndedSessions => &mut self.sessions_deleted,
            Chore::Counts => &mut self.counts_closed,
            Chore::Records => &mut self.records_deleted,
            Chore::Limits => &mut self.limits_purged,
            Chore::Links => &mut self.links_purged,
            Chore::UnconfirmedMethods => &mut self.methods_purged,
            Chore::UnansweredChallenges | Chore::Challenges => &mut self.challenges_purged,
            Chore::StepUpProofs
            | Chore::InterruptedRequests
            | Chore::RepeatableAnswers
            | Chore::TrustedDevices => &mut self.leftovers_purged,
            Chore::LateMessages => &mut self.messages_expired,
            Chore::Messages => &mut self.messages_purged,
        }
    }
}

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chore {
    IdleSessions,
    Tokens,
    EndedSessions,
    Counts,
    Records,
    Limits,
    Links,
    UnconfirmedMethods,
    UnansweredChallenges,
    Challenges,
    StepUpProofs,
    InterruptedRequests,
    RepeatableAnswers,
    TrustedDevices,
    LateMessages,
    Messages,
}

const CHORES: [Chore; 16] = [
    Chore::IdleSessions,
    Chore::Tokens,
    Chore::EndedSessions,
    Chore::Counts,
    Chore::Records,
    Chore::Limits,
    Chore::Links,
    Chore::UnconfirmedMethods,
    Chore::UnansweredChallenges,
    Chore::Challenges,
    Chore::StepUpProofs,
    Chore::InterruptedRequests,
    Chore::RepeatableAnswers,
    Chore::TrustedDevices,
    Chore::LateMessages,
    Chore::Messages,
];

impl Chore {
    /// The most that one unit of work does.
    const fn batch(self) -> u32 {
        match self {
            Self::IdleSessions => ENDED_AT_ONCE,
            Self::LateMessages => EXPIRED_AT_ONCE,
            _ => BATCH,
        }
    }
}

impl Trail<'_> {
    /// Removes some of the trail's records that are older than its retention, the oldest first and none behind one that is kept, whether or
    /// not upkeep does ([`audit_retention_elsewhere`](crate::IamBuilder::audit_retention_elsewhere)). Says how many: none when all are gone.
    /// A process whose clock is not the database's removes none. All that it asks of the database is the time, to read the trail, and to
    /// remove from it.
    ///
    /// # Errors
    /// [`Error::Denied`] for an actor whose scope is not the platform.
    pub async fn delete_old_records(self) -> Result<u64, Error> {
        self.iam.must_be_platform(self.actor, "trail.delete_old_records").await?;
        self.iam.compare_clock().await?;
        if !self.iam.has_the_databases_time() {
            return Ok(0);
        }
        self.iam.retried(|| self.iam.do_batch(Chore::Records)).await
    }

    /// Writes down the refusals that were only counted so far. The [`Worker`](crate::Worker) does so every second, and
    /// [`stopped`](Iam::stopped) at the end.
    ///
    /// # Errors
    /// [`Error::Denied`] for an actor whose scope is not the platform.
    pub async fn flush(self) -> Result<(), Error> {
        self.iam.must_be_platform(self.actor, "trail.flush").await?;
        self.iam.flush_refusals().await
    }
}

impl Iam {
    /// Does one small batch of each kind of upkeep. A host that runs no [`Worker`](crate::Worker) calls this or
    /// [`upkeep_for`](Self::upkeep_for) from a task of its own, once a minute, and again at once while [`Upkeep::is_more_waiting`]. A
    /// process whose clock is not the database's does none: it would end and remove what is not over.
    pub async fn upkeep(&self) -> Result<Upkeep, Error> {
        self.upkeep_for(Duration::ZERO).await
    }

    /// Does upkeep until nothing is left to do, or this time is spent; one batch of each kind at least. Each batch is a small unit of
    /// work of its own, so that requests get between, and a kind that did not fill its batch is not asked again.
    pub async fn upkeep_for(&self, time: Duration) -> Result<Upkeep, Error> {
        let (upkeep, failed) = self.upkeep_round(time).await;
        failed.map_or(Ok(upkeep), Err)
    }

    /// What was done, and the first failure: where one kind fails the others are done all the same.
    pub(crate) async fn upkeep_round(&self, time: Duration) -> (Upkeep, Option<Error>) {
        let begun = Instant::now();
        let mut upkeep = Upkeep::default();
        // First: what follows goes by what the time is, and this asks the database for it.
        let mut failed = self.note_time().await.err();
        if !self.has_the_databases_time() {
            return (upkeep, failed);
        }
        let mut full = CHORES.to_vec();
        full.retain(|chore| *chore != Chore::Records || !self.inner.keeps_audit);
        loop {
            let mut again = Vec::new();
            for chore in full {
                match self.retried(|| self.do_batch(chore)).await {
                    Ok(done) => {
                        *upkeep.count(chore) += done;
                        if done >= u64::from(chore.batch()) {
                            again.push(chore);
                        }
                    }
                    Err(error) => {
                        failed.get_or_insert(error);
                    }
                }
            }
            full = again;
            if full.is_empty() || begun.elapsed() >= time {
                break;
            }
            // A long backlog does not hold up what was only counted. What goes wrong is logged there.
            let _ = self.flush_refusals().await;
        }
        upkeep.more = !full.is_empty();
        if upkeep != Upkeep::default() {
            tracing::debug!(?upkeep, "upkeep");
        }
        (upkeep, failed)
    }

    async fn do_batch(&self, chore: Chore) -> Result<u64, Error> {
        let now = self.now();
        let kept_since = now.minus(self.inner.audit_retention);
        match chore {
            Chore::IdleSessions => return self.end_idle_sessions().await,
            Chore::LateMessages => return self.expire_messages().await,
            _ => {}
        }
        let most = chore.batch();
        let mut unit = self.begin().await?;
        let done = match chore {
            Chore::IdleSessions | Chore::LateMessages => 0,
            Chore::Counts => self.close_counts(&mut unit, most).await?,
            Chore::Tokens => unit.sessions().forget_tokens(now.minus(ENDED_TOKENS), most).await?,
            Chore::EndedSessions => unit.sessions().delete_ended(kept_since, most).await?,
            Chore::Records => unit.audit_retention().delete_before(kept_since, most).await?,
            Chore::Limits => unit.limits().purge(now, most).await?,
            Chore::Links => unit.tickets().purge(now, most).await?,
            Chore::UnconfirmedMethods => {
                unit.methods().purge_unconfirmed(now.minus(UNCONFIRMED), most).await?
            }
            Chore::UnansweredChallenges => {
                unit.challenges().purge_unanswered(now.minus(UNANSWERED), most).await?
            }
            Chore::Challenges => unit.challenges().purge(kept_since, most).await?,
            // Older ones open nothing, whatever a route says; the trail tells of them.
            Chore::StepUpProofs => unit.step_up_proofs().purge(now.minus(MOST_WITHIN), most).await?,
            Chore::InterruptedRequests => unit.interrupted_requests().purge(now, most).await?,
            Chore::RepeatableAnswers => {
                let (answered, claimed) = (now.minus(REPEATABLE_FOR), now.minus(CLAIMED_FOR));
                unit.repeatable_answers().purge(answered, claimed, most).await?
            }
            Chore::TrustedDevices => unit.trusted_devices().purge(now, most).await?,
            Chore::Messages => unit.outbox().purge(now.minus(MESSAGES), most).await?,
        };
        unit.commit().await?;
        Ok(done)
    }

    /// Brings what was counted into the trail, once its window of time is over.
    async fn close_counts(&self, unit: &mut Unit<'_>, most: u32) -> Result<u64, Error> {
        let over = unit.audit().take_counts(begun_before(self.now()), most).await?;
        unit.audit().append_all(&over).await?;
        Ok(over.len() as u64)
    }

    /// Ends sessions that nobody can use any more: abandoned ones, those of accounts or parents that were switched off, and sign-ins
    /// without their second factor. The last two are never noted as used again, so all of them come to lie idle.
    async fn end_idle_sessions(&self) -> Result<u64, Error> {
        let now = self.now();
        let idle = self.idle_sessions(now).await?;
        if idle.is_empty() {
            return Ok(0);
        }
        let mut ended = 0;
        let mut unit = self.begin().await?;
        for (session, account) in idle {
            if unit.sessions().end(session, EndReason::Idle, now).await? {
                let event = Event::SessionEnded(session, EndReason::Idle);
                let subject = Subject { account: Some(account), ..Subject::default() };
                unit.record(&event, subject, &Client::default()).await?;
                ended += 1;
            }
        }
        unit.commit().await?;
        Ok(ended)
    }

    /// Those that nobody used for so long; the long ones among them by their own limit, where there are any.
    async fn idle_sessions(&self, now: Timestamp) -> Result<Vec<(SessionId, AccountId)>, Error> {
        let (policy, store) = (&self.inner.session_policy, &self.inner.store);
        // Beyond the deadline of every session, so that none of them can be brought back by a request under way.
        let deadline = |idle: Duration| now.minus(idle).minus(policy.touch_interval());
        let mut idle = store
            .reader()
            .await?
            .sessions()
            .unseen_since(deadline(policy.idle), false, ENDED_AT_ONCE)
            .await?;
        let left = ENDED_AT_ONCE.saturating_sub(u32::try_from(idle.len()).unwrap_or(ENDED_AT_ONCE));
        if left > 0 {
            let long = self.inner.long_sessions.as_ref().map_or(policy.idle, LongSessions::idle);
            idle.extend(store.reader().await?.sessions().unseen_since(deadline(long), true, left).await?);
        }
        Ok(idle)
    }
}
