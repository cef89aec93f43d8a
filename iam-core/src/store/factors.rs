use crate::delivery::Delivery;
use crate::model::purpose::Purpose;
use async_trait::async_trait;

use super::{Kept, StoreError};
use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ChallengeId, MethodId, SessionId};
use crate::factor::challenge::{Challenge, ChallengePurpose, NewChallenge};
use crate::factor::method::{Method, MethodName};
use crate::limits::TakenPlace;
use crate::model::conflict::UniqueKey;
use crate::model::factor_kind::FactorKind;
use crate::model::proof::ProofMethod;

/// Reads of factors that people have set up: in a unit of work, or beside any.
#[async_trait]
pub trait MethodReads: Send {
    /// The methods of an account, confirmed or not, in the order in which they were made.
    async fn of_account(&mut self, account: AccountId) -> Result<Vec<Method>, StoreError>;
}

/// The factors that people have set up, in a unit of work.
#[async_trait]
pub trait Methods: MethodReads {
    /// Adds a method, if its account has fewer than `most`, confirmed or not; else [`Kept::Full`]. One conditional statement;
    /// whoever calls it holds the account, so that of any number at once no more are added.
    async fn insert(&mut self, method: &Method, most: u32) -> Result<Kept, StoreError>;

    /// Confirms a method of this account that is not confirmed and was made after `made_after`, with what the [`Confirmation`] says; at most
    /// one caller is ever told that it did. Of the methods of a kind no two have the same lookup, whoever's they are: it MUST give
    /// [`Confirmed::Taken`] when another one has it, also when both are confirmed at the same time, and the unit can go on.
    async fn confirm(
        &mut self,
        account: AccountId,
        id: MethodId,
        confirmation: &Confirmation<'_>,
        made_after: Timestamp,
        now: Timestamp,
    ) -> Result<Confirmed, StoreError>;

    /// Notes the use of a confirmed method of this account. With a time step: only if no such step or a later one was noted before,
    /// decided by one conditional statement, so that of any number of callers with one code at most one is told that it did.
    async fn note_use(
        &mut self,
        account: AccountId,
        id: MethodId,
        step: Option<i64>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Puts another secret in place of that of a confirmed method of this account, and notes its use, if the secret is still `old`, byte by
    /// byte. It MUST be one conditional statement: of any number of callers with one secret at most one is told that it did.
    async fn rewrite(
        &mut self,
        account: AccountId,
        id: MethodId,
        old: &[u8],
        new: &[u8],
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Notes a time step as the last one of all methods of this account and kind, where no such step or a later one was noted before:
    /// no code of that step or an earlier one is accepted from then on. Says of how many.
    async fn move_on(&mut self, account: AccountId, kind: FactorKind, step: i64) -> Result<u64, StoreError>;

    /// Gives a method of this account another name. Says whether there is one.
    async fn rename(
        &mut self,
        account: AccountId,
        id: MethodId,
        name: &MethodName,
    ) -> Result<bool, StoreError>;

    /// Removes a method of this account. Says whether there was one.
    async fn remove(&mut self, account: AccountId, id: MethodId) -> Result<bool, StoreError>;

    /// Removes a method of this account that was never confirmed. Says whether there was one.
    async fn remove_unconfirmed(&mut self, account: AccountId, id: MethodId) -> Result<bool, StoreError>;

    /// Removes all methods of an account. Says how many.
    async fn remove_all(&mut self, account: AccountId) -> Result<u64, StoreError>;

    /// Removes up to `most` methods that were made before a time and never confirmed. Says how many.
    async fn purge_unconfirmed(&mut self, made_before: Timestamp, most: u32) -> Result<u64, StoreError>;
}

/// What a method is given when it is confirmed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Confirmation<'a> {
    /// Its secret, sealed; without it, what it has stays.
    pub secret: Option<&'a [u8]>,
    /// What it is found by.
    pub lookup: Option<&'a [u8]>,
    /// The time step of the code that confirmed it.
    pub step: Option<i64>,
}

/// The outcome of a confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Confirmed {
    /// It was confirmed.
    Done,
    /// There is no such method to be confirmed any more.
    Stale,
    /// Another method has the key.
    Taken(UniqueKey),
}

/// Reads of recovery codes: in a unit of work, or beside any.
#[async_trait]
pub trait RecoveryCodeReads: Send {
    /// How many recovery codes of an account were not used.
    async fn left(&mut self, account: AccountId) -> Result<u32, StoreError>;
}

/// Recovery codes, in a unit of work.
#[async_trait]
pub trait RecoveryCodes: RecoveryCodeReads {
    /// Puts these digests in place of all codes of an account.
    async fn replace(
        &mut self,
        account: AccountId,
        digests: &[[u8; 32]],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Uses up a code of this account that was not used. Says whether it did; at most one caller is ever told so.
    async fn consume(
        &mut self,
        account: AccountId,
        digest: &[u8; 32],
        now: Timestamp,
    ) -> Result<bool, StoreError>;
}

/// Reads of challenges: in a unit of work, or beside any.
#[async_trait]
pub trait ChallengeReads: Send {
    /// The challenges of a session and purpose that were not answered and not replaced, whatever their age, each with how far the
    /// message that carries its code has come. One for a method that only a newer program knows is left out, here and below.
    async fn all_open(
        &mut self,
        session: SessionId,
        purpose: ChallengePurpose,
    ) -> Result<Vec<(Challenge, Option<Delivery>)>, StoreError>;

    /// The challenge of a session that was asked for last, was not answered and not replaced, and has not expired; for this purpose, or
    /// for any but setting up a factor and signing in.
    async fn asked_last(
        &mut self,
        session: SessionId,
        purpose: Option<Purpose>,
        now: Timestamp,
    ) -> Result<Option<Challenge>, StoreError>;
}

/// Challenges (`iam_mfa_challenge`), in a unit of work.
#[async_trait]
pub trait Challenges: ChallengeReads {
    /// Adds a challenge in place of those of the same session, purpose and kind (and method, if it names one) that were not answered:
    /// they are marked as replaced, and what they kept is gone. Whoever calls it holds the session.
    async fn issue(&mut self, challenge: &NewChallenge) -> Result<(), StoreError>;

    /// The challenge of a session, purpose and kind (and method, if one is named) that was not answered and not replaced, whatever its
    /// age.
    async fn open(
        &mut self,
        session: SessionId,
        purpose: ChallengePurpose,
        kind: ProofMethod,
        method: Option<MethodId>,
    ) -> Result<Option<Challenge>, StoreError>;

    /// Counts a try, if there were fewer than `most`, and the challenge was not answered, not replaced, and has not expired. It MUST
    /// be one conditional statement: of any number of callers at once no more than `most` are ever told that they may go on.
    async fn count_try(&mut self, id: ChallengeId, most: u32, now: Timestamp) -> Result<bool, StoreError>;

    /// Marks a challenge as answered, by this method, if it was not and was not replaced; what it kept is gone. Says whether it did; at most
    /// one caller is ever told so.
    async fn consume(
        &mut self,
        id: ChallengeId,
        method: Option<MethodId>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Notes the place of a limit that a challenge has taken, and that its right answer gives back.
    async fn note_place(&mut self, id: ChallengeId, place: &TakenPlace) -> Result<(), StoreError>;

    /// Takes the note of an answered challenge's place away, and says what it was. It MUST be taken away by a conditional statement:
    /// of any number of callers at once at most one is ever told.
    async fn take_place(&mut self, id: ChallengeId) -> Result<Option<TakenPlace>, StoreError>;

    /// Removes up to `most` challenges that expired before a time and were never answered. Says how many.
    async fn purge_unanswered(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError>;

    /// Removes up to `most` challenges that expired before a time. Says how many.
    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError>;
}
