//! A store that was put back from a backup: what had ended, was used up or was replaced since then would be good again.

use std::collections::BTreeMap;

use crate::audit::Event;
use crate::authz::actor::Actor;
use crate::base::clock::Timestamp;
use crate::base::id::AccountId;
use crate::base::store_error::StoreError;
use crate::iam::{Iam, Unit};
use crate::model::account::AuthVersion;
use crate::model::error::Error;
use crate::model::session_state::EndReason;

/// The most accounts of one unit of work, each with a few statements.
const ACCOUNTS: u32 = 50;

/// The most rows of one statement.
const ROWS: u32 = 200;

/// Everything expires before this: 9999-12-31T23:59:59Z, the last second that every store can hold.
const AFTER_ALL: Timestamp = Timestamp::from_micros(253_402_300_799_000_000);

/// What is done, and in which order: first what lets somebody in.
const CHORES: [Chore; 7] = [
    Chore::Accounts,
    Chore::Links,
    Chore::Challenges,
    Chore::TrustedDevices,
    Chore::InterruptedRequests,
    Chore::UnconfirmedMethods,
    Chore::Messages,
];

/// A kind of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chore {
    Accounts,
    Links,
    Challenges,
    TrustedDevices,
    InterruptedRequests,
    UnconfirmedMethods,
    Messages,
}

/// How far making a restored store safe has come. [`Iam::restoration`] begins it, [`Iam::restored`] takes it further.
///
/// Nothing hangs on it: where it is lost, with its process or otherwise, another one begins from the start, and does no harm to what
/// was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restoration {
    /// Accounts whose version was raised: no note of a known device counts any more, and no code of an app that may have been used.
    pub accounts: u64,
    /// Sessions that were ended.
    pub sessions_ended: u64,
    /// Links and invitations that were made void.
    pub links_voided: u64,
    /// Challenges, with their codes, that were made void.
    pub challenges_voided: u64,
    /// Trusted browsers that were forgotten.
    pub browsers_forgotten: u64,
    /// Stopped requests that were dropped.
    pub requests_dropped: u64,
    /// Factors that nobody had confirmed, and that were removed.
    pub methods_removed: u64,
    /// Messages that waited to be sent, and were withdrawn.
    pub messages_withdrawn: u64,
    /// What is not done.
    left: &'static [Chore],
    /// The last account that was done.
    after: Option<AccountId>,
    /// Above every version that was given out in the time that was lost.
    least: AuthVersion,
}

impl Restoration {
    /// Whether there is more to do.
    pub const fn is_more_waiting(&self) -> bool {
        !self.left.is_empty()
    }

    fn count(&mut self, chore: Chore) -> &mut u64 {
        match chore {
            Chore::Accounts => &mut self.accounts,
            Chore::Links => &mut self.links_voided,
            Chore::Challenges => &mut self.challenges_voided,
            Chore::TrustedDevices => &mut self.browsers_forgotten,
            Chore::InterruptedRequests => &mut self.requests_dropped,
            Chore::UnconfirmedMethods => &mut self.methods_removed,
            Chore::Messages => &mut self.messages_withdrawn,
        }
    }
}

impl Iam {
    /// Begins to make a store safe that was put back from a backup, before the service is started on it.
    ///
    /// What had ended since the backup was made is in it as if it had not: sessions that were signed out, browsers that were forgotten,
    /// links and codes that were used. All sessions are ended, all browsers forgotten, whatever works once is made void, and every
    /// account's version is raised above any that was given out since. What it can't cure: passwords, recovery codes, factors, roles and
    /// statuses are those of the backup; the guide to backups says what is left to do.
    ///
    /// ```
    /// # use iam_core::{Actor, Error, Iam};
    /// # async fn make_safe(iam: &Iam) -> Result<(), Error> {
    /// let mut restoration = iam.restoration();
    /// while restoration.is_more_waiting() {
    ///     iam.restored(&mut restoration, &Actor::service()).await?;
    /// }
    /// println!("{} sessions were ended", restoration.sessions_ended);
    /// # Ok(()) }
    /// ```
    pub fn restoration(&self) -> Restoration {
        Restoration {
            accounts: 0,
            sessions_ended: 0,
            links_voided: 0,
            challenges_voided: 0,
            browsers_forgotten: 0,
            requests_dropped: 0,
            methods_removed: 0,
            messages_withdrawn: 0,
            left: &CHORES,
            after: None,
            // Versions count changes. However often an account was changed in the time that was lost, after this restoration or
            // an earlier one from the same backup: it was less than once a microsecond.
            least: AuthVersion::from_i64(self.now().as_micros()),
        }
    }

    /// Does one small batch of it, with its record. Dropped or failed, it has done all of the batch or nothing, and may be called again.
    ///
    /// # Errors
    /// [`Error::Denied`] for an actor that does not administer the platform.
    pub async fn restored(&self, restoration: &mut Restoration, actor: &Actor) -> Result<(), Error> {
        self.must_be_platform(actor, "restored").await?;
        let Some((&chore, further)) = restoration.left.split_first() else { return Ok(()) };
        let (done, most) = if chore == Chore::Accounts {
            let (after, least) = (restoration.after, restoration.least);
            let batch = self.retried(|| self.end_what_accounts_had(after, least, actor)).await?;
            restoration.sessions_ended += batch.ended.values().sum::<u64>();
            restoration.after = batch.accounts.last().copied();
            (batch.accounts.len() as u64, ACCOUNTS)
        } else {
            (self.retried(|| self.void(chore)).await?, ROWS)
        };
        *restoration.count(chore) += done;
        if done < u64::from(most) {
            restoration.left = further;
        }
        Ok(())
    }

    async fn end_what_accounts_had(
        &self,
        after: Option<AccountId>,
        least: AuthVersion,
        actor: &Actor,
    ) -> Result<Batch, Error> {
        let now = self.now();
        let mut unit = self.begin().await?;
        let accounts = unit.accounts().raise_versions(after, least, ACCOUNTS, now).await?;
        let mut ended = BTreeMap::new();
        // In the order in which everybody locks: all sessions, then all methods, then the log.
        for &account in &accounts {
            let count = unit.sessions().end_all(account, EndReason::Restored, now).await?;
            if count > 0 {
                ended.insert(account, count);
            }
        }
        self.move_steps_on(&mut unit, &accounts, now).await?;
        for (&account, &count) in &ended {
            unit.record(&Event::SessionsEnded(count), actor.on(account), actor.client()).await?;
        }
        if let Ok(count @ 1..) = u32::try_from(accounts.len()) {
            let event = Event::StoreRestored { count };
            unit.record(&event, actor.subject(), actor.client()).await?;
        }
        unit.commit().await?;
        Ok(Batch { accounts, ended })
    }

    /// A code that may have been used before is not good again.
    async fn move_steps_on(
        &self,
        unit: &mut Unit<'_>,
        accounts: &[AccountId],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for factor in &self.inner.factors {
            let Some(step) = factor.latest_step(now) else { continue };
            for &account in accounts {
                unit.methods().move_on(account, factor.kind(), step).await?;
            }
        }
        Ok(())
    }

    async fn void(&self, chore: Chore) -> Result<u64, Error> {
        let mut unit = self.begin().await?;
        let done = match chore {
            Chore::Accounts => 0,
            Chore::Links => unit.tickets().purge(AFTER_ALL, ROWS).await?,
            // Those that were answered are worth nothing without their sessions, and tell what was proved when.
            Chore::Challenges => unit.challenges().purge_unanswered(AFTER_ALL, ROWS).await?,
            Chore::TrustedDevices => unit.trusted_devices().purge(AFTER_ALL, ROWS).await?,
            Chore::InterruptedRequests => unit.interrupted_requests().purge(AFTER_ALL, ROWS).await?,
            Chore::UnconfirmedMethods => unit.methods().purge_unconfirmed(AFTER_ALL, ROWS).await?,
            Chore::Messages => unit.outbox().withdraw(self.now(), ROWS).await?,
        };
        unit.commit().await?;
        Ok(done)
    }
}

/// What was done to some accounts.
struct Batch {
    accounts: Vec<AccountId>,
    /// How many sessions of which.
    ended: BTreeMap<AccountId, u64>,
}
