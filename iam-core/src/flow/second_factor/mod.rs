//! The second factor: what is offered, what is asked, and whether the answer is right.
//!
//! Everything that decides happens in one unit of work that holds the account and the session: the try is counted before anything is
//! compared, and what the right answer leads to comes with it or not at all.

mod compare;
mod limits;
mod means;
mod step_up;

use compare::Compared;
pub(in crate::flow) use means::Means;
pub use step_up::{INTERRUPTED_FOR, Used};

use std::time::Duration;

use crate::audit::{Event, Subject};
use crate::authz::principal::Principal;
use crate::authz::standing::Pending;
use crate::base::clock::Timestamp;
use crate::base::code::Code;
use crate::base::id::{AccountId, ChallengeId, MethodId, ParentId, SessionId};
use crate::delivery::{Message, Notice};
use crate::factor::challenge::{ChallengePurpose, NewChallenge};
use crate::factor::method::Method;
use crate::factor::{Digest, FactorBegun, FactorLimits, Show, TRIES};
use crate::flow::SignedIn;
use crate::flow::first_factor;
use crate::flow::sign_in::{Occasion, Raise};
use crate::iam::{Iam, Unit};
use crate::model::account::{Account, AuthVersion, Username};
use crate::model::channel::Channel;
use crate::model::client::Client;
use crate::model::error::{Error, SecondFactorRefusal};
use crate::model::factor_kind::Assurance;
use crate::model::proof::{Proof, ProofMethod, Proofs};
use crate::model::purpose::Purpose;
use crate::model::session::HeldSession;
use crate::model::token::SessionToken;
use crate::secrets::seal::Place;
use crate::store::SealedColumn;

/// Somebody whose second factor is asked for: to sign in, or to prove again who they are (a claimant, in NIST's words).
#[derive(Clone, Debug)]
pub struct Claimant {
    pub(super) account: AccountId,
    pub(super) username: Username,
    pub(super) parent: Option<ParentId>,
    pub(super) session: SessionId,
    pub(super) auth_version: AuthVersion,
    /// What was proved in the session before.
    pub(super) proofs: Proofs,
    pub(super) purpose: ChallengePurpose,
    /// The kinds that will do; without it, all that the purpose admits.
    pub(super) accepted: Option<Vec<ProofMethod>>,
    /// What the proof is to be good for alone.
    pub(super) approval: Option<[u8; 32]>,
    /// When the sign-in is over, if it is not complete until then.
    pub(super) until: Option<Timestamp>,
    /// When the session ends, if it is a long one.
    pub(super) stays_until: Option<Timestamp>,
    /// Up to when what was proved in it counts no more.
    pub(super) lapsed_at: Option<Timestamp>,
    /// They want no second factor to be asked for on this browser from now on.
    pub(super) trusting: bool,
}

impl From<&Pending> for Claimant {
    fn from(pending: &Pending) -> Self {
        Self {
            account: pending.account,
            username: pending.username.clone(),
            parent: pending.parent,
            session: pending.session,
            auth_version: pending.auth_version,
            proofs: pending.proofs.clone(),
            purpose: ChallengePurpose::SignIn,
            accepted: None,
            approval: None,
            until: Some(pending.until),
            stays_until: pending.stays_until,
            lapsed_at: None,
            trusting: false,
        }
    }
}

impl From<&Principal> for Claimant {
    fn from(principal: &Principal) -> Self {
        Self {
            account: principal.account,
            username: principal.username.clone(),
            parent: principal.parent(),
            session: principal.session,
            auth_version: principal.auth_version,
            proofs: principal.proofs.clone(),
            purpose: ChallengePurpose::Reauthenticate,
            accepted: None,
            approval: None,
            until: None,
            stays_until: principal.stays_until,
            lapsed_at: principal.lapsed_at,
            trusting: false,
        }
    }
}

impl Claimant {
    /// They want this browser to be trusted: signing in on it asks for no second factor for as long as the policy says. A wish: it is
    /// granted with the right answer if the policy allows it ([`FactorPolicy::may_trust`](crate::model::policy::FactorPolicy::may_trust)),
    /// and only to who is signing in.
    #[must_use]
    pub fn trusting_this_browser(self) -> Self {
        Self { trusting: true, ..self }
    }

    /// The account's name.
    pub fn username(&self) -> &str {
        self.username.as_str()
    }

    /// Whether they are signing in, and not signed in already.
    pub fn is_signing_in(&self) -> bool {
        self.purpose == ChallengePurpose::SignIn
    }

    /// Whether they are signed in and prove again who they are, for whatever.
    fn is_signed_in(&self) -> bool {
        matches!(self.purpose, ChallengePurpose::Reauthenticate | ChallengePurpose::StepUp(_))
    }

    /// What they prove who they are for, if that is a purpose of its own.
    pub fn purpose(&self) -> Option<Purpose> {
        match self.purpose {
            ChallengePurpose::StepUp(purpose) => Some(purpose),
            _ => None,
        }
    }

    /// Whether they show that the account is theirs, to set up its first factor.
    pub(super) fn opens_first_factor(&self) -> bool {
        self.purpose() == Some(Purpose::ENROL)
    }

    /// Whether a method will do for what they are asked for.
    fn admits(&self, method: ProofMethod) -> bool {
        is_for(method, self.purpose)
            && self.accepted.as_ref().is_none_or(|accepted| accepted.contains(&method))
    }

    pub(super) fn subject(&self) -> Subject {
        Subject {
            parent: self.parent.into(),
            session: Some(self.session),
            amr: Some(self.proofs.amr_text()),
            ..Subject::own(self.account)
        }
    }
}

/// A factor that somebody may be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offer {
    /// Which.
    pub kind: ProofMethod,
    /// Where its codes are sent, for showing: `a***@example.com`.
    pub destination: Option<String>,
    /// What was asked for last and waits for an answer.
    pub asked: Option<Asked>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asked {
    /// Which factor.
    pub kind: ProofMethod,
    /// Where its code was sent, for showing.
    pub destination: Option<String>,
    /// How long until another code may be asked for; without it, none is ever sent for this factor.
    pub resend_after: Option<Duration>,
    /// When it was asked for.
    pub at: Timestamp,
    /// How long the answer is waited for.
    pub expires_after: Duration,
    /// The code could not be delivered: another way is needed.
    pub undelivered: bool,
    /// Options for the browser's own dialogue, as JSON, for a factor that is answered there. They are given when it is asked for, and not again.
    pub options: Option<String>,
}

/// What a response is compared with, read before anything is held.
pub(super) struct Known<'f> {
    pub(super) means: Means<'f>,
    pub(super) method: ProofMethod,
    pub(super) methods: Vec<Method>,
}

impl Iam {
    /// The methods that somebody may be asked for, in the order in which to offer them.
    pub async fn offers(&self, claimant: &Claimant) -> Result<Vec<Offer>, Error> {
        let methods = self.inner.store.reader().await?.methods().of_account(claimant.account).await?;
        self.offers_with(claimant, &methods).await
    }

    async fn offers_with(&self, claimant: &Claimant, methods: &[Method]) -> Result<Vec<Offer>, Error> {
        let store = &self.inner.store;
        let open = store.reader().await?.challenges().all_open(claimant.session, claimant.purpose).await?;
        let now = self.now();
        // Who proves again who they are does so with what the account is worth.
        let needed = match claimant.purpose {
            ChallengePurpose::Reauthenticate => strongest(methods),
            _ => None,
        };
        let is_enough = |method: &ProofMethod| needed.is_none_or(|needed| method.assurance() >= needed);
        let is_asked = |method: &ProofMethod| {
            claimant.admits(*method) && self.means(claimant, *method).is_some() && is_enough(method)
        };
        let mut offers = Vec::new();
        for kind in ProofMethod::ASKED.into_iter().filter(is_asked) {
            let destination = match self.usable(claimant.account, methods, claimant.purpose, kind).await? {
                Destination::Missing => continue,
                there => there.shown(),
            };
            let asked = open.iter().find(|(challenge, _)| {
                challenge.new.kind == kind
                    && challenge.is_open(now)
                    && challenge.new.approval == claimant.approval
            });
            let asked = asked.map(|(challenge, delivery)| {
                let undelivered = delivery.is_some_and(crate::delivery::Delivery::has_failed);
                Asked { undelivered, ..self.asked(&challenge.new, destination.clone()) }
            });
            offers.push(Offer { kind, destination, asked });
        }
        Ok(offers)
    }

    /// The methods that an account can answer with for a purpose, whether or not they are enough for it.
    pub(super) async fn usable_kinds(
        &self,
        account: AccountId,
        methods: &[Method],
        purpose: ChallengePurpose,
    ) -> Result<Vec<ProofMethod>, Error> {
        let mut usable = Vec::new();
        for method in ProofMethod::ASKED {
            let is_offered = method.factor().is_none_or(|kind| self.factor(kind).is_some());
            if is_for(method, purpose)
                && is_offered
                && !matches!(self.usable(account, methods, purpose, method).await?, Destination::Missing)
            {
                usable.push(method);
            }
        }
        Ok(usable)
    }

    /// Where codes of a method that an account can answer with go; [`Destination::Missing`] where it can't.
    async fn usable(
        &self,
        account: AccountId,
        methods: &[Method],
        purpose: ChallengePurpose,
        method: ProofMethod,
    ) -> Result<Destination, Error> {
        let is_set_up = match method.factor() {
            None => true,
            // Here it shows whose the account is, and needs no factor to have been set up.
            Some(_) if purpose == ChallengePurpose::StepUp(Purpose::ENROL) => true,
            Some(kind) if kind.is_list() => {
                methods.iter().any(is_confirmed)
                    && self.inner.store.reader().await?.recovery_codes().left(account).await? > 0
            }
            Some(kind) => methods.iter().any(|method| method.kind == kind && is_confirmed(method)),
        };
        if is_set_up { self.destination(account, method).await } else { Ok(Destination::Missing) }
    }

    /// Asks for a factor; a code that is to be sent is on its way then, and one that was sent before is worth nothing.
    ///
    /// # Errors
    /// [`Error::SecondFactor`] for a method that they don't have, a sign-in that is over, or too many failures; [`Error::Throttled`]
    /// when a code was asked for too often.
    pub async fn challenge(
        &self,
        claimant: &Claimant,
        token: &SessionToken,
        method: ProofMethod,
        client: &Client,
    ) -> Result<Asked, Error> {
        let (kind, means) = (method, self.means(claimant, method).ok_or(SecondFactorRefusal::NoMethod)?);
        let methods = self.inner.store.reader().await?.methods().of_account(claimant.account).await?;
        if !self.offers_with(claimant, &methods).await?.iter().any(|offer| offer.kind == kind) {
            return Err(SecondFactorRefusal::NoMethod.into());
        }
        let known = Known { means, method, methods };
        let destination = self.destination(claimant.account, kind).await?;
        let asked = self
            .retried(|| async {
                let mut unit = self.begin().await?;
                self.hold(&mut unit, claimant, token).await?;
                if let Some(locked) = self.locked(&mut unit, claimant.account, kind).await? {
                    return Err(locked.into());
                }
                let asked = self.ask(&mut unit, claimant, &known, &destination, client).await?;
                unit.commit().await?;
                Ok(asked)
            })
            .await;
        let limit = if kind.channel().is_some() { "otp.send" } else { "mfa.asked" };
        self.note_throttled(&asked, limit, claimant, client).await;
        if let Err(Error::SecondFactor(SecondFactorRefusal::Locked { .. })) = &asked {
            let account = self
                .inner
                .store
                .reader()
                .await?
                .accounts()
                .by_id(claimant.account)
                .await?
                .ok_or(SecondFactorRefusal::Gone)?;
            self.lock_out(claimant, &account, client).await?;
        }
        asked
    }

    /// Asks for a method, in a unit of work that holds the session.
    async fn ask(
        &self,
        unit: &mut Unit<'_>,
        claimant: &Claimant,
        known: &Known<'_>,
        destination: &Destination,
        client: &Client,
    ) -> Result<Asked, Error> {
        let (now, method) = (self.now(), known.method);
        let mut tries = 0;
        if method.channel().is_none() {
            let open = unit.challenges().open(claimant.session, claimant.purpose, method, None).await?;
            if let Some(open) = open.filter(|open| open.is_open(now)) {
                // Nothing is sent, so at sign-in there is nothing to begin anew. Who is signed in may be asked for several purposes, and
                // which was the last one tells what a code is for. A try that was counted stays counted.
                if !claimant.is_signed_in() && !method.asks_anew() {
                    return Ok(self.asked(&open.new, None));
                }
                if open.tries >= TRIES {
                    return Err(Error::Throttled { retry_after: open.new.expires_at.since(now) });
                }
                tries = open.tries;
            }
            if claimant.is_signed_in() {
                self.count_ask(unit, claimant).await?;
            }
        }
        let id = ChallengeId::generate(now, self.randomness())?;
        let cx = self.factor_context(claimant.account, claimant.username(), Some(id));
        let methods = method.factor().map(|kind| self.opened(&known.methods, kind)).unwrap_or_default();
        let begun = known.means.begin(&cx, &methods)?;
        let asking = Asking { id, method, of: None, tries, begun: &begun };
        self.issue(unit, claimant, &asking, destination, client).await
    }

    /// Puts a challenge that was begun into a unit of work that holds the session, and its code on its way.
    pub(super) async fn issue(
        &self,
        unit: &mut Unit<'_>,
        claimant: &Claimant,
        asking: &Asking<'_>,
        destination: &Destination,
        client: &Client,
    ) -> Result<Asked, Error> {
        let (now, limits) = (self.now(), &self.inner.factor_limits);
        let Asking { id, method, of, tries, begun } = *asking;
        // Whatever method it was for: each set-up begins another one.
        let last = match method.channel() {
            Some(_) => unit.challenges().open(claimant.session, claimant.purpose, method, None).await?,
            None => None,
        };
        if let Some(last) = &last {
            self.may_send_again(last, now)?;
        }
        let lifetime = if begun.send.is_some() { limits.code_lifetime } else { limits.pending_lifetime };
        let new = NewChallenge {
            id,
            account: claimant.account,
            session: claimant.session,
            purpose: claimant.purpose,
            kind: method,
            method: of,
            kept: self.seal_kept(claimant.account, id, &begun.keep)?,
            approval: claimant.approval,
            tries,
            sends: last.as_ref().map_or(0, |last| last.new.sends) + u32::from(begun.send.is_some()),
            created_at: now,
            expires_at: now.plus(lifetime),
        };
        if let Some(last) = &last {
            unit.outbox().replace(last.new.id, now).await?;
        }
        unit.challenges().issue(&new).await?;
        if let Some(code) = &begun.send {
            self.send_otp(unit, claimant, code, &new, destination, client).await?;
        }
        let options = match &begun.show {
            Show::Options(options) => Some(options.clone()),
            _ => None,
        };
        Ok(Asked { options, ..self.asked(&new, destination.shown()) })
    }

    /// The one way by which a code leaves, whatever its channel: within its budgets, by the outbox, and written down.
    async fn send_otp(
        &self,
        unit: &mut Unit<'_>,
        claimant: &Claimant,
        code: &Code,
        challenge: &NewChallenge,
        destination: &Destination,
        client: &Client,
    ) -> Result<(), Error> {
        let kind = challenge.kind;
        let (Destination::Masked { address, .. }, Some(channel)) = (destination, kind.channel()) else {
            return Err(SecondFactorRefusal::NoMethod.into());
        };
        if let Some(place) = self.count_send(unit, claimant, address, client).await? {
            unit.challenges().note_place(challenge.id, &place).await?;
        }
        let minutes = challenge.expires_at.since(challenge.created_at).as_secs().div_ceil(60);
        let message = Message::code(address, &claimant.username, code, minutes);
        let (account, expires_at) = (claimant.account, challenge.expires_at);
        self.put(unit, account, Some(challenge.id), channel, &message, expires_at).await?;
        Ok(unit.record(&Event::CodeIssued(kind), claimant.subject(), client).await?)
    }

    /// Compares an answer. The right one completes the sign-in, or renews the proof, with a new token; the old one is dead. For a
    /// purpose of its own it leaves a step-up proof behind, and the token stays: what it opens is decided with every request.
    ///
    /// # Errors
    /// [`Error::SecondFactor`] for everything that is not right; [`Error::Credentials`] and [`Error::Throttled`] where the answer is a
    /// password; [`Error::Invalid`] for what can't be a code of this kind, which is no try.
    pub async fn verify_second_factor(
        &self,
        claimant: &Claimant,
        token: &SessionToken,
        method: ProofMethod,
        response: &str,
        client: &Client,
    ) -> Result<SignedIn, Error> {
        let means = self.means(claimant, method).ok_or(SecondFactorRefusal::NoMethod)?;
        let methods = self.inner.store.reader().await?.methods().of_account(claimant.account).await?;
        let needs_none = claimant.opens_first_factor() || matches!(means, Means::Password);
        if !claimant.admits(method) || !(needs_none || methods.iter().any(is_confirmed)) {
            return Err(SecondFactorRefusal::NoMethod.into());
        }
        // Before anything is counted.
        let response = means.read(response)?;
        let account = self
            .inner
            .store
            .reader()
            .await?
            .accounts()
            .by_id(claimant.account)
            .await?
            .ok_or(SecondFactorRefusal::Gone)?;
        let (known, response) = (Known { means, method, methods }, response.expose());
        if matches!(means, Means::Password) {
            return self.verify_password(claimant, token, &known, response, client).await;
        }
        let done = self
            .retried(|| self.verify_in_one_unit(claimant, token, &known, &account, response, client))
            .await;
        match &done {
            Err(Error::SecondFactor(SecondFactorRefusal::Locked { .. })) => {
                self.lock_out(claimant, &account, client).await?;
            }
            Err(Error::SecondFactor(SecondFactorRefusal::Spent)) => {
                let event = Event::LimitExceeded("mfa.challenge");
                self.record_refusal(&event, claimant.subject(), client).await;
            }
            _ => {}
        }
        self.note_throttled(&done, "mfa.asked", claimant, client).await;
        done
    }

    async fn verify_in_one_unit(
        &self,
        claimant: &Claimant,
        token: &SessionToken,
        known: &Known<'_>,
        account: &Account,
        response: &str,
        client: &Client,
    ) -> Result<SignedIn, Error> {
        let (now, kind) = (self.now(), known.method);
        let mut unit = self.begin().await?;
        let held = self.hold(&mut unit, claimant, token).await?;
        let challenge = self.to_answer(&mut unit, claimant, known, client).await?;
        // Counted before anything is compared: for this challenge, for a day, and in a row.
        if !unit.challenges().count_try(challenge.id, TRIES, now).await? {
            return Err(SecondFactorRefusal::Spent.into());
        }
        let reserved = match self.reserve_failure(&mut unit, claimant.account, kind).await? {
            Ok(reserved) => reserved,
            Err(locked) => return Err(locked.into()),
        };
        let right = self.compare(&mut unit, claimant, known, &challenge, response).await?;
        let right = match right {
            Compared::Right(right) => right,
            compared => {
                if compared == Compared::Used {
                    // A right code that came second is no guess.
                    self.give_back_failure(&mut unit, &reserved, false).await?;
                }
                let tries_left = self.note_wrong_answer(&mut unit, claimant, kind, account, client).await?;
                unit.commit().await?;
                return Err(SecondFactorRefusal::Rejected { tries_left }.into());
            }
        };
        self.settle_challenge(&mut unit, claimant, &challenge, right.method).await?;
        self.give_back_failure(&mut unit, &reserved, true).await?;
        self.give_back_send(&mut unit, challenge.id).await?;
        let done = self.complete(&mut unit, claimant, held, token, kind, client).await?;
        if right.used_code {
            self.notify(&mut unit, account, Notice::RecoveryCodeUsed, client).await?;
        }
        unit.commit().await?;
        Ok(done)
    }

    /// Writes down that an answer was wrong. Says how many tries are left.
    async fn note_wrong_answer(
        &self,
        unit: &mut Unit<'_>,
        claimant: &Claimant,
        kind: ProofMethod,
        account: &Account,
        client: &Client,
    ) -> Result<u32, Error> {
        let event = Event::SecondFactorRefused(kind, claimant.purpose);
        unit.record(&event, claimant.subject(), client).await?;
        let tries = unit.challenges().open(claimant.session, claimant.purpose, kind, None).await?;
        let tries_left = TRIES.saturating_sub(tries.map_or(TRIES, |open| open.tries));
        // Somebody knows the password (OWASP ASVS 6.3.5); its owner will hardly mistype so often.
        if tries_left == 0 && claimant.is_signing_in() {
            self.tell_of(unit, account, Notice::SecondFactorFailed, client).await?;
        }
        Ok(tries_left)
    }

    /// The challenge that an answer is for, in a unit that holds the session. What needs nothing to be sent needs no asking, either.
    async fn to_answer(
        &self,
        unit: &mut Unit<'_>,
        claimant: &Claimant,
        known: &Known<'_>,
        client: &Client,
    ) -> Result<NewChallenge, Error> {
        let kind = known.method;
        match unit.challenges().open(claimant.session, claimant.purpose, kind, None).await? {
            // A code that was sent for something else is not for this.
            Some(open) if open.is_open(self.now()) && open.new.approval == claimant.approval => Ok(open.new),
            _ if !kind.asks_anew() => {
                self.ask(unit, claimant, known, &Destination::None, client).await?;
                // One that has just taken another one's place has its tries.
                let open = unit.challenges().open(claimant.session, claimant.purpose, kind, None).await?;
                Ok(open.ok_or(SecondFactorRefusal::Spent)?.new)
            }
            _ => Err(SecondFactorRefusal::Spent.into()),
        }
    }

    /// The session goes on with what was proved.
    async fn complete(
        &self,
        unit: &mut Unit<'_>,
        claimant: &Claimant,
        held: HeldSession,
        token: &SessionToken,
        kind: ProofMethod,
        client: &Client,
    ) -> Result<SignedIn, Error> {
        let (now, purpose) = (self.now(), claimant.purpose());
        // What only shows whose the account is, is no factor of its; and a password that a route asks for is good for that alone.
        let is_factor = !claimant.opens_first_factor() && kind.is_second_factor();
        let proofs = match purpose {
            _ if !is_factor => held.proofs,
            Some(_) => held.proofs.with(Proof::of_step_up(kind, now)),
            None => held.proofs.with(Proof::new(kind, now)),
        };
        let subject = Subject { amr: Some(proofs.amr_text()), ..claimant.subject() };
        let raise = Raise {
            session: claimant.session,
            token,
            version: claimant.auth_version,
            proofs,
            lapsed_at: claimant.lapsed_at,
            on: match claimant.purpose {
                ChallengePurpose::SignIn => Occasion::SecondFactor,
                ChallengePurpose::StepUp(_) => Occasion::StepUp,
                ChallengePurpose::Reauthenticate | ChallengePurpose::Enrol => Occasion::Again,
            },
        };
        let new = self.raise_session(unit, raise).await?.ok_or(SecondFactorRefusal::Gone)?;
        // A device's code works once; a password could be sent as often as one likes.
        if claimant.is_signed_in() && is_factor && kind.assurance() == Assurance::Aal2 {
            self.forget_asks(unit, claimant.account).await?;
        }
        self.drop_codes(unit, claimant).await?;
        let event = Event::SecondFactorAccepted(kind, claimant.purpose);
        unit.record(&event, subject.clone(), client).await?;
        if claimant.is_signing_in() {
            self.complete_sign_in(unit, claimant, (new, held.tries), kind, &subject, client).await
        } else {
            Ok(claimant.signed_in(new))
        }
    }

    /// What is still on its way for what was proved is worth nothing any more.
    async fn drop_codes(&self, unit: &mut Unit<'_>, claimant: &Claimant) -> Result<(), Error> {
        for kind in ProofMethod::ASKED.into_iter().filter(|method| method.channel().is_some()) {
            if let Some(open) = unit.challenges().open(claimant.session, claimant.purpose, kind, None).await?
            {
                unit.outbox().replace(open.new.id, self.now()).await?;
            }
        }
        Ok(())
    }

    // -- look-ups --

    pub(super) fn digest(&self, account: AccountId, challenge: Option<ChallengeId>) -> Digest<'_> {
        Digest { key: &self.inner.code_key, account, challenge }
    }

    /// Where codes of a method go. Always the stored, verified address, never what somebody typed.
    async fn destination(&self, account: AccountId, method: ProofMethod) -> Result<Destination, Error> {
        match method.channel() {
            None => return Ok(Destination::None),
            Some(Channel::Email) => {}
            Some(_) => return Ok(Destination::Missing),
        }
        let account = self.inner.store.reader().await?.accounts().by_id(account).await?;
        let address =
            account.filter(|account| account.email_verified_at.is_some()).and_then(|account| account.email);
        Ok(address.map_or(Destination::Missing, |address| Destination::email(address.as_str())))
    }

    fn asked(&self, challenge: &NewChallenge, destination: Option<String>) -> Asked {
        let now = self.now();
        let again = challenge.created_at.plus(FactorLimits::cool_down(challenge.sends));
        Asked {
            kind: challenge.kind,
            destination,
            resend_after: challenge.kind.channel().map(|_| again.since(now)),
            at: challenge.created_at,
            expires_after: challenge.expires_at.since(now),
            undelivered: false,
            options: None,
        }
    }
}

/// A challenge that was begun and is to be put.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) id: ChallengeId,
    pub(super) method: ProofMethod,
    /// The method that is being set up.
    pub(super) of: Option<MethodId>,
    /// How often the one that it replaces was tried, where trying must not begin anew.
    pub(super) tries: u32,
    pub(super) begun: &'a FactorBegun,
}

/// What the strongest confirmed method is worth.
pub(super) fn strongest(methods: &[Method]) -> Option<Assurance> {
    methods.iter().filter(|method| is_confirmed(method)).map(|method| method.kind.assurance()).max()
}

/// Where codes go.
pub(super) enum Destination {
    /// Nowhere: a device makes them.
    None,
    /// To an address, which is shown only in part.
    Masked { address: String, shown: String },
    /// There is no verified address.
    Missing,
}

impl Destination {
    /// The part of an address that is shown.
    fn shown(&self) -> Option<String> {
        match self {
            Self::Masked { shown, .. } => Some(shown.clone()),
            Self::None | Self::Missing => None,
        }
    }

    /// The first character and the domain (OWASP ASVS 6.6.1).
    pub(super) fn email(address: &str) -> Self {
        let (local, domain) = address.split_once('@').unwrap_or((address, ""));
        let first: String = local.chars().take(1).collect();
        Self::Masked { address: address.to_owned(), shown: format!("{first}***@{domain}") }
    }
}

/// Whether a method is ever asked for, for a purpose.
fn is_for(method: ProofMethod, purpose: ChallengePurpose) -> bool {
    match purpose {
        ChallengePurpose::StepUp(Purpose::ENROL) => first_factor::opens(method),
        ChallengePurpose::StepUp(_) => method.is_second_factor() || method == ProofMethod::Password,
        _ => method.is_second_factor(),
    }
}

pub(super) fn is_confirmed(method: &Method) -> bool {
    method.confirmed_at.is_some()
}

pub(super) fn secret_place<'a>(account: &'a AccountId, method: &'a MethodId) -> Place<'a> {
    SealedColumn::MethodSecret.place(account.as_bytes(), method.as_bytes())
}
