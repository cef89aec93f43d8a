//! `iam_outbox`.

use iam_core::ports::{AttemptOutcome, ChallengeId, Claimed, DeliveryAttempt, MessageId, NewMessage};
use iam_core::{AccountId, Channel, StoreError};

use crate::{Column, Dialect};

/// A row of `iam_outbox`.
#[expect(missing_docs, missing_debug_implementations, reason = "columns, some of them secret")]
pub struct MessageRow<D: Dialect> {
    pub id: Vec<u8>,
    pub account_id: Vec<u8>,
    pub challenge_id: Option<Vec<u8>>,
    pub channel: String,
    pub sealed: Option<Vec<u8>>,
    pub state: String,
    pub attempts: u32,
    pub lost: u32,
    pub created_at: D::Time,
    pub expires_at: D::Time,
}

impl<D: Dialect> MessageRow<D> {
    /// The message; nothing, for a channel that only a newer program knows: that program takes it, as one of which nothing was heard. One
    /// that is over has nothing sealed any more.
    pub fn read(self) -> Result<Option<NewMessage>, StoreError> {
        let column = |name| Column("iam_outbox", name);
        let Some(channel) = Channel::parse(&self.channel) else { return Ok(None) };
        Ok(Some(NewMessage {
            id: MessageId::from_bytes(column("id").id(&self.id)?),
            account: AccountId::from_bytes(column("account_id").id(&self.account_id)?),
            challenge: column("challenge_id")
                .maybe_id(self.challenge_id.as_deref())?
                .map(ChallengeId::from_bytes),
            channel,
            sealed: self.sealed.unwrap_or_default(),
            created_at: D::timestamp(self.created_at),
            expires_at: D::timestamp(self.expires_at),
        }))
    }

    /// The message as a worker has claimed it; nothing, likewise.
    pub fn read_claimed(self) -> Result<Option<Claimed>, StoreError> {
        let (attempt, lost) = (self.attempts, self.lost);
        Ok(self.read()?.map(|message| Claimed { message, attempt, lost }))
    }
}

/// A row of `iam_delivery_attempt`.
#[expect(missing_docs, missing_debug_implementations, reason = "columns, some of them secret")]
pub struct AttemptRow<D: Dialect> {
    pub message_id: Vec<u8>,
    pub attempt: u32,
    pub position: u32,
    pub provider: D::Text,
    pub reference: Option<D::Text>,
    pub outcome: String,
    pub cost_micros: Option<i64>,
    pub at: D::Time,
}

impl<D: Dialect> AttemptRow<D> {
    /// The attempt.
    pub fn read(self) -> Result<DeliveryAttempt, StoreError> {
        let column = |name| Column("iam_delivery_attempt", name);
        Ok(DeliveryAttempt {
            message: MessageId::from_bytes(column("message_id").id(&self.message_id)?),
            attempt: self.attempt,
            position: self.position,
            provider: column("provider").text(self.provider)?,
            reference: self.reference.map(|bytes| column("reference").text(bytes)).transpose()?,
            outcome: column("outcome").parsed(self.outcome, AttemptOutcome::parse)?,
            cost_micros: self.cost_micros,
            at: D::timestamp(self.at),
        })
    }
}
