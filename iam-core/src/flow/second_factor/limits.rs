//! How often second factors may be tried, and codes sent.

use std::time::Duration;

use super::{ChallengePurpose, Claimant};
use crate::audit::Event;
use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ChallengeId};
use crate::delivery::Notice;
use crate::factor::FactorLimits;
use crate::factor::challenge::Challenge;
use crate::iam::{Iam, Unit};
use crate::limits::{Change, LimitKey, Reservation, Slot, TakenPlace, Window};
use crate::model::account::Account;
use crate::model::client::Client;
use crate::model::error::{Error, SecondFactorRefusal};
use crate::model::proof::ProofMethod;
use crate::model::session_state::EndReason;

/// How many codes are sent for one purpose in one session.
const MOST_SENDS: u32 = 5;

/// Failures in a row are never forgotten by time alone.
const FOR_GOOD: Duration = Duration::from_hours(24 * 365 * 100);

/// How often somebody who is signed in may be asked for what a device shows without answering: each is a row that is kept.
const ASKS: Window = Window { limit: 30, length: Duration::from_mins(10) };

/// How often somebody may change what is their own: password, factors, names, recovery codes. Each leaves records behind, and many a
/// message.
const CHANGES: Window = Window { limit: 60, length: Duration::from_hours(1) };

/// What was reserved before an answer was looked at.
pub(super) struct Failure {
    /// Of the recent ones, and of those in a row.
    places: Vec<(LimitKey, Slot)>,
}

impl Iam {
    pub(super) async fn reserve_failure(
        &self,
        unit: &mut Unit<'_>,
        account: AccountId,
        kind: ProofMethod,
    ) -> Result<Result<Failure, SecondFactorRefusal>, Error> {
        let now = self.now();
        let (recent, in_a_row) = (self.recent_failures(account), self.failures_in_a_row(account, kind));
        let limits = &self.inner.factor_limits;
        let ever = Window { limit: limits.in_a_row, length: FOR_GOOD };
        let changes = [(recent, Change::Take(limits.failures)), (in_a_row, Change::Take(ever))];
        Ok(match unit.limits().change(&changes, now).await? {
            Ok(slots) => Ok(Failure { places: [recent, in_a_row].into_iter().zip(slots).collect() }),
            Err((key, refusal)) => {
                let retry_after = (key == recent).then(|| refusal.until.since(now));
                Err(SecondFactorRefusal::Locked { retry_after })
            }
        })
    }

    /// A right answer takes its own try back; if it was the one that counts, those of its kind in a row are over. Another kind's are
    /// not: who reads somebody's mail has not found their telephone.
    pub(super) async fn give_back_failure(
        &self,
        unit: &mut Unit<'_>,
        failure: &Failure,
        accepted: bool,
    ) -> Result<(), Error> {
        let changes: Vec<_> = (0..)
            .zip(&failure.places)
            .map(|(place, (key, slot))| {
                (*key, if place == 1 && accepted { Change::Forget } else { Change::Leave(*slot) })
            })
            .collect();
        let _ = unit.limits().change(&changes, self.now()).await?;
        Ok(())
    }

    /// Whether right answers would be refused, too.
    pub(super) async fn locked(
        &self,
        unit: &mut Unit<'_>,
        account: AccountId,
        kind: ProofMethod,
    ) -> Result<Option<SecondFactorRefusal>, Error> {
        let now = self.now();
        let (recent, in_a_row) = (self.recent_failures(account), self.failures_in_a_row(account, kind));
        let limits = &self.inner.factor_limits;
        let ever = Window { limit: limits.in_a_row, length: FOR_GOOD };
        if unit.limits().full_until(&in_a_row, &ever, now).await?.is_some() {
            return Ok(Some(SecondFactorRefusal::Locked { retry_after: None }));
        }
        let until = unit.limits().full_until(&recent, &limits.failures, now).await?;
        Ok(until.map(|until| SecondFactorRefusal::Locked { retry_after: Some(until.since(now)) }))
    }

    pub(super) fn recent_failures(&self, account: AccountId) -> LimitKey {
        LimitKey::new(&self.inner.limit_key, "mfa.failures", account.as_bytes())
    }

    pub(super) fn failures_in_a_row(&self, account: AccountId, kind: ProofMethod) -> LimitKey {
        let subject = [account.as_bytes().as_slice(), kind.as_str().as_bytes()].concat();
        LimitKey::new(&self.inner.limit_key, "mfa.in_a_row", &subject)
    }

    /// Under which an account's failures are counted.
    pub(in crate::flow) fn failure_keys(&self, account: AccountId) -> Vec<LimitKey> {
        let mut keys = vec![self.recent_failures(account)];
        keys.extend(ProofMethod::ASKED.map(|kind| self.failures_in_a_row(account, kind)));
        keys
    }

    /// The sign-in dies, and its owner is told.
    pub(super) async fn lock_out(
        &self,
        claimant: &Claimant,
        account: &Account,
        client: &Client,
    ) -> Result<(), Error> {
        self.retried(|| async {
            let mut unit = self.begin().await?;
            // In the order of all others; whether it is still what it was is no matter here.
            let _ = unit.accounts().hold(claimant.session.account, claimant.session.auth_version).await?;
            if claimant.is_signing_in()
                && !unit
                    .sessions()
                    .end(claimant.session.id, EndReason::SecondFactorLocked, self.now())
                    .await?
            {
                return Ok(());
            }
            unit.record(&Event::SecondFactorLocked, claimant.subject(), client).await?;
            self.tell_of(&mut unit, account, Notice::SecondFactorLocked, client).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// Once a day for each kind of news: who knows the password could fill its owner's mailbox otherwise.
    pub(in crate::flow) async fn tell_of(
        &self,
        unit: &mut Unit<'_>,
        account: &Account,
        notice: Notice,
        client: &Client,
    ) -> Result<(), Error> {
        let subject = [account.id.as_bytes().as_slice(), notice.as_str().as_bytes()].concat();
        let key = LimitKey::new(&self.inner.limit_key, "mfa.notice", &subject);
        let daily = Window { limit: 1, length: Duration::from_hours(24) };
        match unit.limits().reserve_in_window(&key, &daily, self.now()).await? {
            Reservation::Granted(_) => self.notify(unit, account, notice, client).await,
            Reservation::Refused(_) => Ok(()),
        }
    }

    pub(super) fn may_send_again(&self, open: &Challenge, now: Timestamp) -> Result<(), Error> {
        // A wait from before the clock was put back would be as long as that.
        if open.new.created_at.is_ahead_of(now) {
            return Ok(());
        }
        let until = open.new.created_at.plus(FactorLimits::cool_down(open.new.sends));
        if now < until {
            return Err(Error::Throttled { retry_after: until.since(now) });
        }
        if open.new.sends >= MOST_SENDS {
            let until = open.new.created_at.plus(self.inner.factor_limits.pending_lifetime);
            if now < until {
                return Err(Error::Throttled { retry_after: until.since(now) });
            }
        }
        Ok(())
    }

    /// Counts a code that is to be sent. Says which place in its network's budget it took: the one that the right answer to it gives
    /// back.
    pub(super) async fn count_send(
        &self,
        unit: &mut Unit<'_>,
        claimant: &Claimant,
        address: &str,
        client: &Client,
    ) -> Result<Option<TakenPlace>, Error> {
        let limits = &self.inner.factor_limits;
        let key = |purpose, subject: &[u8]| LimitKey::new(&self.inner.limit_key, purpose, subject);
        let is_enrolling = claimant.purpose == ChallengePurpose::Enrol;
        let network = client.network().map(|network| {
            let purpose = if is_enrolling { "otp.enrol.network" } else { "otp.network" };
            key(purpose, network.to_string().as_bytes())
        });
        let mut windows: Vec<_> = network.into_iter().map(|key| (key, limits.sends_of_address)).collect();
        if is_enrolling {
            // Anyone may type anyone's address here: that must not keep its owner from signing in.
            windows.push((key("otp.enrol", address.as_bytes()), limits.sends));
            windows.push((key("otp.enrol.long", address.as_bytes()), limits.sends_long));
            windows.push((key("otp.enrol.account", claimant.session.account.as_bytes()), limits.sends_long));
        } else {
            windows.push((key("otp.destination", address.as_bytes()), limits.sends));
            windows.push((key("otp.destination.long", address.as_bytes()), limits.sends_long));
        }
        let changes: Vec<_> = windows.into_iter().map(|(key, window)| (key, Change::Take(window))).collect();
        match unit.limits().change(&changes, self.now()).await? {
            Ok(slots) => {
                let taken = network.zip(slots.first());
                Ok(taken.map(|(key, slot)| TakenPlace { key, since: slot.since }))
            }
            Err((_, refusal)) => Err(Error::Throttled { retry_after: refusal.until.since(self.now()) }),
        }
    }

    /// In the unit that has marked a challenge as answered: the place that its own code took in a network's budget is free again, once.
    /// Many people behind one address who read their mail are no flood. Nothing else is given back: not what was sent to the
    /// destination, not the day's budget, not a code that nobody answered.
    pub(in crate::flow) async fn give_back_send(
        &self,
        unit: &mut Unit<'_>,
        challenge: ChallengeId,
    ) -> Result<(), Error> {
        if let Some(place) = unit.challenges().take_place(challenge).await? {
            unit.limits().give_back_in_window(&place.key, &place.slot()).await?;
        }
        Ok(())
    }

    /// Another question that nothing is sent for.
    pub(super) async fn count_ask(&self, unit: &mut Unit<'_>, claimant: &Claimant) -> Result<(), Error> {
        let now = self.now();
        match unit.limits().reserve_in_window(&self.asks(claimant.session.account), &ASKS, now).await? {
            Reservation::Granted(_) => Ok(()),
            Reservation::Refused(until) => Err(Error::Throttled { retry_after: until.since(now) }),
        }
    }

    /// Another change that somebody makes to what is their own.
    pub(in crate::flow) async fn count_change(
        &self,
        unit: &mut Unit<'_>,
        account: AccountId,
    ) -> Result<(), Error> {
        self.count_change_of("account.changes", unit, account).await
    }

    /// Another change of the own password. It is counted apart from all others, and only after the current one was right: a stolen
    /// session, which can make others, does not keep the owner from changing the password.
    pub(in crate::flow) async fn count_password_change(
        &self,
        unit: &mut Unit<'_>,
        account: AccountId,
    ) -> Result<(), Error> {
        self.count_change_of("account.changes.password", unit, account).await
    }

    async fn count_change_of(
        &self,
        purpose: &'static str,
        unit: &mut Unit<'_>,
        account: AccountId,
    ) -> Result<(), Error> {
        let now = self.now();
        let key = LimitKey::new(&self.inner.limit_key, purpose, account.as_bytes());
        match unit.limits().reserve_in_window(&key, &CHANGES, now).await? {
            Reservation::Granted(_) => Ok(()),
            Reservation::Refused(until) => Err(Error::Throttled { retry_after: until.since(now) }),
        }
    }

    /// Whoever answers with a code of their device floods nobody.
    pub(super) async fn forget_asks(&self, unit: &mut Unit<'_>, account: AccountId) -> Result<(), Error> {
        Ok(unit.limits().forget(&self.asks(account)).await?)
    }

    fn asks(&self, account: AccountId) -> LimitKey {
        LimitKey::new(&self.inner.limit_key, "mfa.asked", account.as_bytes())
    }

    pub(in crate::flow) async fn note_throttled<T>(
        &self,
        done: &Result<T, Error>,
        limit: &'static str,
        claimant: &Claimant,
        client: &Client,
    ) {
        if matches!(done, Err(Error::Throttled { .. })) {
            let event = Event::LimitExceeded(limit);
            self.record_refusal(&event, claimant.subject(), client).await;
        }
    }
}
