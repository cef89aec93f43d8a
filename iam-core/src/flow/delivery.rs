//! Sending codes and notices. They are kept with the change that they belong to, and sent by whoever runs the worker.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::audit::{Event, Subject};
use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ChallengeId, MessageId};
use crate::delivery::{
    AT_ONCE, ATTEMPT_TIMEOUT, Accepted, AttemptOutcome, Claimed, Delivery, DeliveryAttempt, MOST_REFERENCE,
    Message, NewMessage, Notice, OtpSender, Receipt, SEND_TIMEOUT, SendError, Settled,
};
use crate::iam::{Iam, Unit};
use crate::limits::{LimitKey, Reservation, Window};
use crate::model::account::Account;
use crate::model::channel::Channel;
use crate::model::client::Client;
use crate::model::error::Error;
use crate::secrets::seal::Place;
use crate::store::SealedColumn;

/// After this long an attempt of which nothing was written down counts as lost: its worker died.
const LOST_AFTER: Duration = Duration::from_mins(1);

/// How long there is a point in sending news.
const NOTICE_LIFETIME: Duration = Duration::from_hours(72);

/// How often an account's owner is told the same.
const SAME_NOTICES: Window = Window { limit: 5, length: Duration::from_hours(1) };

/// The most messages that one unit of work ends, each with its record: on a slow link to the store, too, that takes a moment.
pub(super) const EXPIRED_AT_ONCE: u32 = 20;

impl Iam {
    /// Tells an account's owner what happened to it, at their verified address, if they have one and mail can be sent.
    pub(super) async fn notify(
        &self,
        unit: &mut Unit<'_>,
        account: &Account,
        notice: Notice,
        client: &Client,
    ) -> Result<(), Error> {
        let Some(address) = account.email.as_ref().filter(|_| account.email_verified_at.is_some()) else {
            return Ok(());
        };
        if self.sender(Channel::Email).is_none() {
            return Ok(());
        }
        let now = self.now();
        // The same over and over tells nothing more, and buries what is worth reading.
        let subject = [account.id.as_bytes().as_slice(), notice.as_str().as_bytes()].concat();
        let key = LimitKey::new(&self.inner.limit_key, "notice", &subject);
        if let Reservation::Refused(_) = unit.limits().reserve_in_window(&key, &SAME_NOTICES, now).await? {
            return Ok(());
        }
        let message = Message::notice(address, &account.username, notice, now, client.address);
        self.put(unit, account.id, None, Channel::Email, &message, now.plus(NOTICE_LIFETIME)).await
    }

    /// Keeps a message for the worker.
    pub(super) async fn put(
        &self,
        unit: &mut Unit<'_>,
        account: AccountId,
        challenge: Option<ChallengeId>,
        channel: Channel,
        message: &Message,
        expires_at: Timestamp,
    ) -> Result<(), Error> {
        let now = self.now();
        let id = MessageId::generate(now, self.randomness())?;
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(message).unwrap_or_default());
        let sealed = self.inner.keys.ring.seal(place(&account, &id), &plain, self.randomness())?;
        let new = NewMessage { id, account, challenge, channel, sealed, created_at: now, expires_at };
        unit.outbox().put(&new).await?;
        unit.note_message();
        Ok(())
    }

    pub(super) fn sender(&self, channel: Channel) -> Option<&dyn OtpSender> {
        self.inner.senders.iter().map(AsRef::as_ref).find(|sender| sender.channel() == channel)
    }

    /// Sends what is due, and writes down what came of it. The [`Worker`](crate::Worker) does so by itself; a host that runs none calls
    /// this from a task of its own, again and again while it gives more than zero. Says how many messages were tried.
    pub async fn deliver(&self) -> Result<usize, Error> {
        let mut attempts = JoinSet::new();
        for claimed in self.claim_messages(AT_ONCE).await? {
            let iam = self.clone();
            attempts.spawn(async move { iam.attempt(claimed).await });
        }
        let (tried, mut failed) = (attempts.len(), None);
        while let Some(done) = attempts.join_next().await {
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed = Some(error),
                // Its claim counts as lost after a while.
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "a sender panicked"),
            }
        }
        failed.map_or(Ok(tried), Err)
    }

    /// Takes up to so many messages that are due.
    pub(crate) async fn claim_messages(&self, most: u32) -> Result<Vec<Claimed>, Error> {
        if self.inner.senders.is_empty() || most == 0 {
            return Ok(Vec::new());
        }
        // It looks once a second, and mostly in vain: a unit would take the only writer, or locks, each time.
        let (now, mut reader) = (self.now(), self.inner.store.reader().await?);
        if !reader.outbox().has_claimable(now, now.minus(LOST_AFTER)).await? {
            return Ok(Vec::new());
        }
        drop(reader);
        self.retried(|| async {
            let now = self.now();
            let mut unit = self.begin().await?;
            let claimed = unit.outbox().claim(now, now.minus(LOST_AFTER), most).await?;
            if !claimed.is_empty() {
                unit.commit().await?;
            }
            Ok(claimed)
        })
        .await
    }

    /// Tries to send a message that was taken, and writes down what came of it.
    pub(crate) async fn attempt(&self, claimed: Claimed) -> Result<(), Error> {
        let (settled, attempts) = self.send(&claimed).await?;
        let Claimed { message, attempt, .. } = claimed;
        self.retried(|| async {
            let now = self.now();
            let mut unit = self.begin().await?;
            if !unit.outbox().settle(message.id, attempt, settled, now).await? {
                return Ok(());
            }
            for attempt in &attempts {
                unit.outbox().record_attempt(attempt).await?;
            }
            if let Settled::Over(delivery) = settled
                && delivery.has_failed()
            {
                self.note_failure(&mut unit, &message, delivery).await?;
            }
            Ok(unit.commit().await?)
        })
        .await
    }

    /// What becomes of a message that was taken, and what each provider did for it.
    async fn send(&self, claimed: &Claimed) -> Result<(Settled, Vec<DeliveryAttempt>), Error> {
        let Claimed { message: kept, attempt, lost } = claimed;
        let nobody = |settled| Ok((settled, Vec::new()));
        // The worker of an attempt died, and that of the next one too: perhaps both had sent it.
        if *lost > 1 {
            return nobody(Settled::Over(Delivery::Unknown));
        }
        if self.sender(kept.channel).is_none() {
            return nobody(self.again(kept, *attempt, Duration::ZERO));
        }
        let opened = self.inner.keys.ring.open(place(&kept.account, &kept.id), &kept.sealed);
        let Ok(plain) = opened else {
            tracing::error!(id = %kept.id, "a message does not open: it was changed or moved");
            return nobody(Settled::Over(Delivery::Refused));
        };
        let Ok(message) = serde_json::from_slice::<Message>(&plain) else {
            // Of a kind that a newer program beside this one knows: left to that.
            tracing::warn!(id = %kept.id, "a message is of a kind that this program does not know");
            return nobody(self.again(kept, *attempt, Duration::ZERO));
        };
        let before = match attempt {
            0 | 1 => Vec::new(),
            _ => self.inner.store.reader().await?.outbox().attempts_of(kept.id).await?,
        };
        Ok(self.send_by_turns(claimed, &message, &before).await)
    }

    /// Tries one sender after the other, until one takes the message over or nobody knows whether it did.
    async fn send_by_turns(
        &self,
        claimed: &Claimed,
        message: &Message,
        before: &[DeliveryAttempt],
    ) -> (Settled, Vec<DeliveryAttempt>) {
        let Claimed { message: kept, attempt, .. } = claimed;
        let (mut attempts, mut may_later, mut wait) = (Vec::new(), false, Duration::ZERO);
        let until = tokio::time::Instant::now() + ATTEMPT_TIMEOUT;
        let has_failed =
            |provider: &str| before.iter().any(|past| past.provider == provider && past.outcome.has_failed());
        let senders = self.inner.senders.iter().filter(|sender| sender.channel() == kept.channel);
        for sender in senders.filter(|sender| !has_failed(sender.provider())) {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                may_later = true;
                break;
            }
            let sent = self.send_by(sender.as_ref(), kept, message, left).await;
            let part = self.part_of(claimed, sender.provider(), attempts.len(), &sent);
            let has_reference = part.reference.is_some();
            attempts.push(part);
            match sent {
                Ok(accepted) if accepted.receipt_follows && has_reference => {
                    return (Settled::AwaitsReceipt, attempts);
                }
                Ok(_) => return (Settled::Over(Delivery::Accepted), attempts),
                Err(SendError::Unknown(_)) => return (Settled::Over(Delivery::Unknown), attempts),
                Err(SendError::Refused(_)) => {}
                Err(SendError::NotNow(_)) => may_later = true,
                Err(SendError::Busy { retry_after, .. }) => (may_later, wait) = (true, wait.max(retry_after)),
            }
        }
        let settled = if may_later {
            self.again(kept, *attempt, wait)
        } else if before.iter().any(|past| past.outcome == AttemptOutcome::Undelivered) {
            Settled::Over(Delivery::Undelivered)
        } else {
            Settled::Over(Delivery::Refused)
        };
        (settled, attempts)
    }

    /// One provider's part in an attempt, as it is written down.
    fn part_of(
        &self,
        claimed: &Claimed,
        provider: &str,
        position: usize,
        sent: &Result<Accepted, SendError>,
    ) -> DeliveryAttempt {
        let Claimed { message: kept, attempt, .. } = claimed;
        if let Err(error) = sent {
            tracing::warn!(id = %kept.id, channel = %kept.channel, provider, attempt, "a message was not sent: {error}");
        }
        let Accepted { reference, cost_micros, .. } = sent.clone().unwrap_or_default();
        DeliveryAttempt {
            message: kept.id,
            attempt: *attempt,
            position: u32::try_from(position).unwrap_or(u32::MAX),
            provider: provider.to_owned(),
            // One that can't be kept whole would be found by no receipt.
            reference: reference.filter(|reference| reference.len() <= MOST_REFERENCE),
            outcome: outcome_of(sent),
            cost_micros,
            at: self.now(),
        }
    }

    async fn send_by(
        &self,
        sender: &dyn OtpSender,
        kept: &NewMessage,
        message: &Message,
        left: Duration,
    ) -> Result<Accepted, SendError> {
        // Nothing arrives after it has expired.
        let left = left.min(SEND_TIMEOUT).min(kept.expires_at.since(self.now()));
        let sent = timeout(left, sender.send(self.service(), message)).await;
        sent.unwrap_or_else(|_| Err(SendError::Unknown("the sender did not end in time".into())))
    }

    /// Writes down what a provider says of a message that it had taken over; it may say the same any number of times. One that did not arrive is
    /// given to the next provider, if there is one and it is not too late. Says whether it was news.
    ///
    /// Whoever calls it has made sure that it is the provider who says so.
    pub async fn record_receipt(
        &self,
        provider: &str,
        reference: &str,
        receipt: Receipt,
    ) -> Result<bool, Error> {
        let found =
            self.inner.store.reader().await?.outbox().attempt_by_reference(provider, reference).await?;
        let Some(attempt) = found else { return Ok(false) };
        self.retried(|| async {
            let (now, id) = (self.now(), attempt.message);
            let mut unit = self.begin().await?;
            let settled = match receipt {
                Receipt::Delivered => Settled::Over(Delivery::Delivered),
                Receipt::Undelivered => Settled::Again(now),
            };
            // Of what was replaced or is too late it is noted, and changes nothing.
            let goes_on = unit.outbox().resettle(id, attempt.attempt, settled, now).await?;
            if !unit.outbox().receive(&attempt, receipt).await? {
                return Ok(false);
            }
            if goes_on && receipt == Receipt::Undelivered {
                unit.note_message();
            }
            unit.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Later each time, not before so long, and never after it has expired.
    fn again(&self, message: &NewMessage, attempt: u32, least: Duration) -> Settled {
        let wait =
            Duration::from_secs(2).saturating_mul(3_u32.saturating_pow(attempt.saturating_sub(1).min(6)));
        let at = self.now().plus(wait.min(Duration::from_mins(10)).max(least));
        if at < message.expires_at { Settled::Again(at) } else { Settled::Over(Delivery::Expired) }
    }

    /// Ends what was not delivered in time. Says how many.
    pub(super) async fn expire_messages(&self) -> Result<u64, Error> {
        let mut unit = self.begin().await?;
        let expired = unit.outbox().expire(self.now(), EXPIRED_AT_ONCE).await?;
        for message in &expired {
            self.note_failure(&mut unit, message, Delivery::Expired).await?;
        }
        unit.commit().await?;
        Ok(expired.len() as u64)
    }

    async fn note_failure(
        &self,
        unit: &mut Unit<'_>,
        message: &NewMessage,
        delivery: Delivery,
    ) -> Result<(), Error> {
        let subject = Subject { account: Some(message.account), ..Subject::default() };
        let event = Event::DeliveryFailed(message.channel, delivery);
        Ok(unit.record(&event, subject, &Client::default()).await?)
    }
}

fn outcome_of(sent: &Result<Accepted, SendError>) -> AttemptOutcome {
    match sent {
        Ok(_) => AttemptOutcome::Accepted,
        Err(SendError::NotNow(_) | SendError::Busy { .. }) => AttemptOutcome::NotNow,
        Err(SendError::Refused(_)) => AttemptOutcome::Refused,
        Err(SendError::Unknown(_)) => AttemptOutcome::Unknown,
    }
}

fn place<'a>(account: &'a AccountId, id: &'a MessageId) -> Place<'a> {
    SealedColumn::OutboxMessage.place(account.as_bytes(), id.as_bytes())
}
