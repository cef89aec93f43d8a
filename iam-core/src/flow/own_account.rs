//! What people do to their own account: prove again who they are, change the password, see and end their sessions.

use std::time::Duration;

use crate::audit::{Event, Subject};
use crate::authz::principal::Principal;
use crate::base::id::SessionId;
use crate::delivery::Notice;
use crate::flow::attempt::Proven;
use crate::flow::new_password::NewPassword;
use crate::flow::sign_in::{Occasion, Raise};
use crate::flow::{Claimant, Renewed};
use crate::iam::{Iam, OwnAccount, Unit};
use crate::model::account::{Account, AuthVersion};
use crate::model::client::Client;
use crate::model::conflict::{Changing, Conflict};
use crate::model::error::{Error, ProofKind};
use crate::model::proof::{Proof, ProofMethod};
use crate::model::session::{HeldSession, SessionSummary};
use crate::model::session_state::EndReason;
use crate::model::token::SessionToken;
use crate::password::PlainPassword;
use crate::secrets::device::DeviceToken;

/// How long after somebody proved who they are they may do what asks for that: end other sessions, say (OWASP ASVS 7.5).
pub const FRESH_FOR: Duration = Duration::from_mins(15);

impl OwnAccount<'_> {
    /// The person's sessions that still count, newest first.
    pub async fn sessions(self) -> Result<Vec<SessionSummary>, Error> {
        let Self { iam, principal, .. } = self;
        let mut sessions = iam.inner.store.reader().await?.sessions().of_account(principal.account()).await?;
        let now = iam.now();
        let long = iam.inner.long_sessions.as_ref();
        let long = long.filter(|long| long.allows(principal.roles(), principal.parent_key_of_account()));
        sessions.retain(|session| session.counts(&iam.inner.session_policy, long, now));
        for session in &mut sessions {
            session.long &= long.is_some();
        }
        Ok(sessions)
    }

    /// Ends one of the person's sessions, from the next request on. Says whether there was one to end; somebody else's is as if
    /// it were not there.
    ///
    /// # Errors
    /// [`Error::Stale`] when they last proved who they are too long ago.
    pub async fn end_session(self, session: SessionId) -> Result<bool, Error> {
        let Self { iam, principal, client } = self;
        iam.must_be_fresh(principal)?;
        let own = iam.inner.store.reader().await?.sessions().of_account(principal.account()).await?;
        if !own.iter().any(|known| known.id == session) {
            return Ok(false);
        }
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
            if !unit.sessions().end(session, EndReason::Revoked, iam.now()).await? {
                return Ok(false);
            }
            let event = Event::SessionEnded(session, EndReason::Revoked);
            unit.record(&event, of(principal), client).await?;
            unit.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Ends all of the person's sessions but this one. Says how many.
    ///
    /// # Errors
    /// As [`end_session`](crate::OwnAccount::end_session).
    pub async fn end_other_sessions(self) -> Result<u64, Error> {
        let Self { iam, principal, client } = self;
        iam.must_be_fresh(principal)?;
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
            let (account, kept) = (principal.account(), principal.session());
            let ended = unit.sessions().end_others(account, kept, EndReason::Revoked, iam.now()).await?;
            if ended > 0 {
                unit.record(&Event::SessionsEnded(ended), of(principal), client).await?;
                unit.commit().await?;
            }
            Ok(ended)
        })
        .await
    }

    /// Proves again who somebody is, and gives their session a new token; the old one is dead.
    ///
    /// # Errors
    /// [`Error::Credentials`] for a wrong password, [`Error::Throttled`] after too many; with the last one that
    /// [`LoginLimits::session`](crate::limits::LoginLimits::session) allows the session ends. So it is wherever a password is proved.
    pub async fn reauthenticate(
        self,
        token: &SessionToken,
        password: &PlainPassword,
    ) -> Result<SessionToken, Error> {
        let Self { iam, principal, client } = self;
        let claimant = Claimant::from(principal);
        let Proven { reserved, told, .. } = iam.prove(&claimant, password, client).await?;
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
            let renewed = match iam.hold_if_there(&mut unit, &claimant, token).await? {
                Some(held) => {
                    iam.raise_by_password(&mut unit, token, principal, held, Occasion::Again).await?
                }
                None => None,
            };
            // Signed out, or renewed by another request, meanwhile: the password was right all the same.
            iam.accept(&mut unit, &reserved, told.as_ref(), client).await?;
            let Some(new) = renewed else {
                unit.commit().await?;
                return Err(Conflict::Changed(Changing::Session).into());
            };
            unit.record(&Event::Reauthenticated, of(principal), client).await?;
            unit.commit().await?;
            Ok(new)
        })
        .await
    }

    /// Changes the person's password, given the one they have. All their other sessions end, and this one gets a new token; all notes
    /// of known devices are void, and this device gets a new one. `device` is the note that it has.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a new password that the policy refuses, before anything is checked; [`Error::Credentials`] when the
    /// current one is wrong; [`Error::Throttled`] after too many of those.
    pub async fn change_password(
        self,
        token: &SessionToken,
        current: &PlainPassword,
        new: &PlainPassword,
        device: Option<&DeviceToken>,
    ) -> Result<Renewed, Error> {
        let Self { iam, principal, client } = self;
        let mut reader = iam.inner.store.reader().await?;
        let known = reader.accounts().by_id(principal.account()).await?.ok_or(Error::Credentials)?;
        drop(reader);
        let context = iam.password_context(&known.username, known.email.as_ref(), known.parent).await?;
        iam.inner.password_policy.check(new, &context).map_err(|invalid| invalid.of_field("new_password"))?;
        let Proven { candidate, reserved, told } = iam.prove(&principal.into(), current, client).await?;
        let new = match iam.new_password(new, &context).await {
            Ok(new) => new,
            Err(error) => {
                // It was the new one that was refused: no guess.
                iam.give_back(&reserved).await?;
                return Err(of_new_password(error));
            }
        };
        let change = (candidate.auth_version, &new);
        let done = iam.retried(|| async {
            let account = principal.account();
            let mut unit = iam.begin().await?;
            let Some(renewed) = iam.raise_with_new_password(&mut unit, token, principal, change).await?
            else {
                // Changed, signed out or renewed by another request, meanwhile: half of it is undone.
                drop(unit);
                iam.give_back(&reserved).await?;
                return Err(Conflict::Changed(Changing::Session).into());
            };
            let renewed = iam.renewed_on(renewed, principal, device)?;
            if let Err(refused) = iam.count_password_change(&mut unit, account).await {
                drop(unit);
                iam.give_back(&reserved).await?;
                return Err(refused);
            }
            let (kept, reason) = (principal.session(), EndReason::PasswordChanged);
            let ended = unit.sessions().end_others(account, kept, reason, iam.now()).await?;
            iam.accept(&mut unit, &reserved, told.as_ref(), client).await?;
            iam.tell_of_new_password(&mut unit, &known, principal, (&new, ended), client).await?;
            iam.forget_devices_in(&mut unit, account, of(principal), client).await?;
            unit.commit().await?;
            Ok(renewed)
        });
        let done = done.await;
        iam.note_throttled(&done, "account.changes.password", &principal.into(), client).await;
        done
    }

    /// Whether the person has proved who they are within [`FRESH_FOR`].
    pub fn is_fresh(self) -> bool {
        self.iam.is_fresh(self.principal)
    }
}

impl Iam {
    fn is_fresh(&self, principal: &Principal) -> bool {
        let proved_at = principal.authenticated_at();
        principal.still_proves(proved_at) && proved_at.is_within(FRESH_FOR, self.now())
    }

    pub(super) fn must_be_fresh(&self, principal: &Principal) -> Result<(), Error> {
        if self.is_fresh(principal) {
            Ok(())
        } else {
            Err(Error::Stale { proof: ProofKind::Password, max_age: FRESH_FOR })
        }
    }

    /// The account has another password, if its version is still the one that the current one was compared under, and the session goes on.
    async fn raise_with_new_password(
        &self,
        unit: &mut Unit<'_>,
        token: &SessionToken,
        principal: &Principal,
        (version, new): (AuthVersion, &NewPassword),
    ) -> Result<Option<SessionToken>, Error> {
        let Some(held) = self.hold_if_there(unit, &principal.into(), token).await? else { return Ok(None) };
        let (account, now) = (principal.account(), self.now());
        if !unit.accounts().change_password(account, version, &new.hash, now).await? {
            return Ok(None);
        }
        self.raise_by_password(unit, token, principal, held, Occasion::Change).await
    }

    /// Writes a change of password into the trail, with how many sessions it ended, and tells the account's owner.
    async fn tell_of_new_password(
        &self,
        unit: &mut Unit<'_>,
        known: &Account,
        principal: &Principal,
        (new, ended): (&NewPassword, u64),
        client: &Client,
    ) -> Result<(), Error> {
        unit.record(&Event::PasswordChanged, of(principal), client).await?;
        self.notify(unit, known, Notice::PasswordChanged, client).await?;
        new.audit(unit, of(principal), client).await?;
        if ended > 0 {
            unit.record(&Event::SessionsEnded(ended), of(principal), client).await?;
        }
        Ok(())
    }

    /// The session goes on with its password proved now.
    async fn raise_by_password(
        &self,
        unit: &mut Unit<'_>,
        token: &SessionToken,
        principal: &Principal,
        held: HeldSession,
        on: Occasion,
    ) -> Result<Option<SessionToken>, Error> {
        let raise = Raise {
            session: principal.session(),
            token,
            version: principal.auth_version,
            proofs: held.proofs.with(Proof::new(ProofMethod::Password, self.now())),
            lapsed_at: principal.facts().lapsed_at,
            on,
        };
        self.raise_session(unit, raise).await
    }
}

/// What an ordinary session does without a fresh proof is none of a long one's that has outlived its proofs.
pub(super) fn must_not_have_lapsed(principal: &Principal) -> Result<(), Error> {
    if principal.still_proves(principal.authenticated_at()) {
        Ok(())
    } else {
        Err(Error::Stale { proof: ProofKind::Password, max_age: FRESH_FOR })
    }
}

/// A refusal of the new password names the field that it was typed into.
fn of_new_password(error: Error) -> Error {
    match error {
        Error::Invalid(invalid) => invalid.of_field("new_password").into(),
        error => error,
    }
}

pub(super) fn of(principal: &Principal) -> Subject {
    Subject {
        parent: principal.parent().into(),
        session: Some(principal.session()),
        amr: Some(principal.proofs().amr_text()),
        ..Subject::own(principal.account())
    }
}
