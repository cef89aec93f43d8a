//! Sessions: the one place that opens them, and the one that raises what they have proved.
//!
//! A password, a second factor, and whatever else shows who somebody is, bring [`Proof`](crate::model::proof::Proof)s here and nothing
//! else: tokens, other sessions, the note of the device and the trail are the same for all of them. No other file may call
//! [`Sessions::insert`](crate::store::Sessions::insert) or [`Sessions::renew`](crate::store::Sessions::renew).

use crate::audit::{Event, Subject};
use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, SessionId};
use crate::flow::Claimant;
use crate::iam::{Iam, Unit};
use crate::model::account::AuthVersion;
use crate::model::client::Client;
use crate::model::error::{Error, SecondFactorRefusal};
use crate::model::factor_kind::FactorKind;
use crate::model::proof::{ProofMethod, Proofs};
use crate::model::session::{HeldSession, NewSession, Renewal};
use crate::model::session_state::{EndReason, SessionState};
use crate::model::token::{Carrier, SessionToken};
use crate::model::trusted_device::TrustedDeviceToken;
use crate::secrets::device::DeviceToken;
use crate::store::{Changed, LoginCandidate};

/// Somebody who has just signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// The account.
    pub account: AccountId,
    /// The session.
    pub session: SessionId,
    /// How far it has come. While the second factor is due the token opens nothing but that.
    pub state: SessionState,
    /// What opens it. It is nowhere else.
    pub token: SessionToken,
    /// When it ends at the latest, if it is a long one; its token is replaced once a day.
    pub stays_until: Option<Timestamp>,
    /// To be kept on this device, once the sign-in is complete.
    pub device: Option<DeviceToken>,
    /// To be kept by this browser, which is trusted from now on for as long as the policy says.
    pub trusted: Option<TrustedDeviceToken>,
    /// Whose session it took the place of, if the browser had one: what it keeps of theirs is not for this person.
    pub replaced: Option<AccountId>,
}

/// A session to be opened.
pub(super) struct Opening<'a> {
    /// The account, as it was read: the session is made only if that is still so.
    pub(super) candidate: &'a LoginCandidate,
    /// What was proved. Where the account has a second factor that is not among it, the session waits for that.
    pub(super) proofs: Proofs,
    /// How many tries led to it.
    pub(super) tries: u32,
    /// How its token will be carried.
    pub(super) carrier: Carrier,
    /// When it ends at the latest, if it is a long one.
    pub(super) stays_until: Option<Timestamp>,
    /// The session that it takes the place of, and whose that was.
    pub(super) replaces: Option<(SessionId, AccountId)>,
    /// The device, if it is known.
    pub(super) device: Option<[u8; 16]>,
    /// From where.
    pub(super) client: &'a Client,
}

/// A session that has proved more than before, or something else.
pub(super) struct Raise<'a> {
    /// The session.
    pub(super) session: SessionId,
    /// The token that was shown, which it must still have.
    pub(super) token: &'a SessionToken,
    /// The account's version that it must have been made under.
    pub(super) version: AuthVersion,
    /// All that it has proved from now on.
    pub(super) proofs: Proofs,
    /// Up to when earlier proofs count no more, in a long session.
    pub(super) lapsed_at: Option<Timestamp>,
    /// On what occasion.
    pub(super) on: Occasion,
}

/// An occasion on which a session is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The second factor that its sign-in waited for: it is active from now on.
    SecondFactor,
    /// Its owner proved again who they are.
    Again,
    /// Its owner proved for one purpose who they are. That is looked at with every request, so the token need not change.
    StepUp,
    /// Its owner changed what they sign in with, which raised the account's version by one and ended all trust in browsers.
    Change,
}

/// A session that is active from now on.
struct Active<'a> {
    session: SessionId,
    account: AccountId,
    version: AuthVersion,
    tries: u32,
    device: Option<[u8; 16]>,
    subject: &'a Subject,
    client: &'a Client,
}

impl Iam {
    /// Opens a session, in a unit of work; nothing, if the account is not any more what it was read as. The unit holds the account then.
    pub(super) async fn open_session(
        &self,
        unit: &mut Unit<'_>,
        opening: &Opening<'_>,
    ) -> Result<Option<SignedIn>, Error> {
        let Opening { candidate, client, .. } = *opening;
        let token = SessionToken::generate(opening.carrier, self.randomness())?;
        let session = self.new_session(opening, &token)?;
        if unit.sessions().insert(&session).await? == Changed::Stale {
            return Ok(None);
        }
        if let Some((id, account)) = opening.replaces
            && unit.sessions().end(id, EndReason::Replaced, session.login_at).await?
        {
            let event = Event::SessionEnded(id, EndReason::Replaced);
            unit.record(&event, Subject::own(account), client).await?;
        }
        let subject = Subject {
            parent: candidate.parent.map(|(id, _)| id).into(),
            amr: Some(session.proofs.amr_text()),
            ..Subject::own(candidate.account)
        };
        let device = match session.state {
            SessionState::Active => Some(self.note_active(unit, &active(opening, &session, &subject)).await?),
            SessionState::PendingSecondFactor => {
                self.evict(unit, candidate.account, session.state, session.id, client).await?;
                let event = Event::FirstFactorAccepted { session: session.id, tries: opening.tries };
                unit.record(&event, subject.clone(), client).await?;
                None
            }
        };
        let created = Event::SessionCreated { session: session.id, long: session.long };
        unit.record(&created, subject, client).await?;
        Ok(Some(SignedIn {
            account: candidate.account,
            session: session.id,
            state: session.state,
            token,
            stays_until: opening.stays_until,
            device,
            trusted: None,
            replaced: opening.replaces.map(|(_, account)| account),
        }))
    }

    fn new_session(&self, opening: &Opening<'_>, token: &SessionToken) -> Result<NewSession, Error> {
        let (now, candidate) = (self.now(), opening.candidate);
        let is_whole = !candidate.second_factor || opening.proofs.has_second_factor();
        Ok(NewSession {
            id: SessionId::generate(now, self.randomness())?,
            account: candidate.account,
            auth_version: candidate.auth_version,
            token: token.hash(),
            state: if is_whole { SessionState::Active } else { SessionState::PendingSecondFactor },
            proofs: opening.proofs.clone(),
            tries: opening.tries,
            login_at: now,
            long: opening.stays_until.is_some(),
            client: opening.client.clone(),
        })
    }

    /// Gives a session what it has proved by now, in a unit of work that holds it, with a token that takes the place of the one that was
    /// shown; nothing, if it is not any more what the caller believes.
    pub(super) async fn raise_session(
        &self,
        unit: &mut Unit<'_>,
        raise: Raise<'_>,
    ) -> Result<Option<SessionToken>, Error> {
        let Raise { session, token, version, proofs, lapsed_at, on } = raise;
        let new = match on {
            Occasion::StepUp => token.clone(),
            _ => SessionToken::generate(token.carrier(), self.randomness())?,
        };
        let (to_version, proofs) = match on {
            Occasion::Change => (version.next(), proofs.without_trust()),
            _ => (version, proofs),
        };
        let from_state = match on {
            Occasion::SecondFactor => SessionState::PendingSecondFactor,
            _ => SessionState::Active,
        };
        let renewal = Renewal {
            token: new.hash(),
            from_state,
            state: SessionState::Active,
            proofs,
            from_version: version,
            to_version,
            lapsed_at,
            at: self.now(),
        };
        let renewed = unit.sessions().renew(session, &token.hash(), &renewal).await?;
        Ok(renewed.then_some(new))
    }

    /// What goes with a second factor that completes a sign-in: `token` is the one that the session was given for it, `tries` how many its
    /// first factor took.
    pub(super) async fn complete_sign_in(
        &self,
        unit: &mut Unit<'_>,
        claimant: &Claimant,
        (token, tries): (SessionToken, u32),
        method: ProofMethod,
        subject: &Subject,
        client: &Client,
    ) -> Result<SignedIn, Error> {
        let trusts = |kind: &FactorKind| {
            claimant.trusting && self.inner.factor_policy.may_trust(*kind, token.carrier())
        };
        let trusted = match method.factor().filter(trusts) {
            Some(kind) => self.trust_in(unit, claimant, kind, subject, client).await?,
            None => None,
        };
        let active = Active {
            session: claimant.session.id,
            account: claimant.session.account,
            version: claimant.session.auth_version,
            tries,
            device: None,
            subject,
            client,
        };
        let device = Some(self.note_active(unit, &active).await?);
        Ok(SignedIn { device, trusted, ..claimant.signed_in(token) })
    }

    /// What goes with every session that becomes an active one.
    async fn note_active(&self, unit: &mut Unit<'_>, active: &Active<'_>) -> Result<DeviceToken, Error> {
        let Active { session, account, version, tries, device, subject, client } = *active;
        self.evict(unit, account, SessionState::Active, session, client).await?;
        unit.record(&Event::LoginSucceeded { session, tries }, subject.clone(), client).await?;
        self.device_note(account, version, device)
    }

    /// A session more than there may be ends that of its state that was not used for longest, whenever it was made. The caller holds the account.
    async fn evict(
        &self,
        unit: &mut Unit<'_>,
        account: AccountId,
        state: SessionState,
        new: SessionId,
        client: &Client,
    ) -> Result<(), Error> {
        let (most, now) = (self.inner.most_sessions, self.now());
        let evicted = unit
            .sessions()
            .end_longest_unused_beyond(account, state, new, most, EndReason::Evicted, now)
            .await?;
        for id in evicted {
            let event = Event::SessionEnded(id, EndReason::Evicted);
            unit.record(&event, Subject::own(account), client).await?;
        }
        Ok(())
    }

    /// Holds account and session, in this order, and knows that they are what the caller believes. Gives what the session has proved that
    /// still counts.
    pub(super) async fn hold(
        &self,
        unit: &mut Unit<'_>,
        claimant: &Claimant,
        token: &SessionToken,
    ) -> Result<HeldSession, Error> {
        let held = self.hold_if_there(unit, claimant, token).await?;
        Ok(held.ok_or(SecondFactorRefusal::Gone)?)
    }

    /// The same; nothing, if they are not.
    pub(super) async fn hold_if_there(
        &self,
        unit: &mut Unit<'_>,
        claimant: &Claimant,
        token: &SessionToken,
    ) -> Result<Option<HeldSession>, Error> {
        let is_there = claimant.until.is_none_or(|until| self.now() < until)
            && unit.accounts().hold(claimant.session.account, claimant.session.auth_version).await?;
        if !is_there {
            return Ok(None);
        }
        let held = unit.sessions().hold(claimant.session.id, &token.hash()).await?;
        Ok(held.map(|held| match claimant.session.lapsed_at {
            Some(lapsed_at) => HeldSession { proofs: held.proofs.after(lapsed_at), ..held },
            None => held,
        }))
    }
}

impl Claimant {
    /// Somebody whose session has this token from now on.
    pub(super) fn signed_in(&self, token: SessionToken) -> SignedIn {
        SignedIn {
            account: self.session.account,
            session: self.session.id,
            state: SessionState::Active,
            token,
            stays_until: self.session.stays_until,
            device: None,
            trusted: None,
            replaced: None,
        }
    }
}

fn active<'a>(opening: &Opening<'a>, session: &NewSession, subject: &'a Subject) -> Active<'a> {
    Active {
        session: session.id,
        account: session.account,
        version: session.auth_version,
        tries: opening.tries,
        device: opening.device,
        subject,
        client: opening.client,
    }
}
