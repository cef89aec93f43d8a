//! Signing in where one is signed in already: in a second tab, or by a second click.

use crate::audit::Event;
use crate::authz::principal::Principal;
use crate::base::clock::Timestamp;
use crate::flow::attempt::Proven;
use crate::flow::{Claimant, FRESH_FOR};
use crate::iam::{Iam, Protocol};
use crate::model::account::LoginIdentifier;
use crate::model::client::Client;
use crate::model::error::Error;
use crate::model::token::SessionToken;
use crate::password::PlainPassword;

/// A sign-in, as it was sent, of somebody who has a session already.
#[derive(Clone, Copy, Debug)]
pub struct LoginAgain<'a> {
    /// Whose session it is.
    pub claimant: &'a Claimant,
    /// The token that they have shown for it.
    pub token: &'a SessionToken,
    /// Who they say they are.
    pub identifier: &'a LoginIdentifier,
    /// Their password.
    pub password: &'a PlainPassword,
    /// Who is signed in with it and wants to stay so beyond the ordinary limits. A wish, granted as at sign-in: where the account has a second
    /// factor, only if that was proved lately, too. A session whose second factor is due is none to stay signed in with.
    pub staying: Option<&'a Principal>,
    /// From where.
    pub client: &'a Client,
}

/// The session that somebody goes on with who signed in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedOn {
    /// When it ends at the latest, if they want to stay signed in and do: the token that they have shown is to be kept until then.
    pub stays_until: Option<Timestamp>,
}

impl Protocol<'_> {
    /// Leads somebody on with the session that they have, if they are who they say, by a name of theirs and their password; it needs no
    /// other in its place. Nothing, if the session ended meanwhile. Nothing is checked, and nothing counted, where the name is not theirs. No freshness is renewed: who must prove
    /// who they are re-authenticates.
    ///
    /// # Errors
    /// Where the name is theirs, as [`reauthenticate`](crate::OwnAccount::reauthenticate).
    pub async fn lead_on(self, login: &LoginAgain<'_>) -> Result<Option<LedOn>, Error> {
        let iam = self.iam;
        let LoginAgain { claimant, token, identifier, password, staying, client } = *login;
        let named = iam.inner.store.reader().await?.accounts().login_candidate(identifier).await?;
        if named.is_none_or(|named| named.account != claimant.session.account) {
            return Ok(None);
        }
        let proven = iam.prove(claimant, password, client).await?;
        let wish = staying.and_then(|principal| iam.could_stay(principal, proven.candidate.second_factor));
        let led_on = iam.retried(|| iam.lead_on_in_one_unit(login, &proven, wish.is_some())).await?;
        let Some(became_long) = led_on else { return Ok(None) };
        let stays_until = match wish {
            // The other click of two was first: its answer may be lost.
            Some(until) => (became_long || iam.is_long_with(claimant, token).await).then_some(until),
            None => staying.and_then(|principal| stays_already(principal, token)),
        };
        Ok(Some(LedOn { stays_until }))
    }
}

impl Iam {
    /// Says whether the session became a long one; nothing, if it does not live any more.
    async fn lead_on_in_one_unit(
        &self,
        login: &LoginAgain<'_>,
        proven: &Proven,
        lengthens: bool,
    ) -> Result<Option<bool>, Error> {
        let LoginAgain { claimant, token, client, .. } = *login;
        let Proven { candidate, reserved, told } = proven;
        let mut unit = self.begin().await?;
        if told.is_some() {
            let _ = unit.accounts().hold(claimant.session.account, candidate.auth_version).await?;
        }
        let lives = unit.sessions().hold(claimant.session.id, &token.hash()).await?.is_some();
        self.accept(&mut unit, reserved, told.as_ref(), client).await?;
        if !lives {
            unit.commit().await?;
            return Ok(None);
        }
        let now = self.now();
        let long = lengthens
            && unit
                .sessions()
                .lengthen(claimant.session.id, claimant.session.account, &token.hash(), now)
                .await?;
        let event = Event::LoginContinued { session: claimant.session.id, long };
        unit.record(&event, claimant.subject(), client).await?;
        unit.commit().await?;
        Ok(Some(long))
    }

    /// Until when somebody could stay signed in with an ordinary session of theirs. It takes nothing away: one that goes on for longer as it
    /// is, since proofs begin its time anew, stays as it is.
    fn could_stay(&self, principal: &Principal, has_factor: bool) -> Option<Timestamp> {
        // The password alone makes no session of two factors live longer.
        let proved_factor =
            principal.second_factor_at().is_some_and(|at| at.is_within(FRESH_FOR, self.now()));
        if has_factor && !proved_factor {
            return None;
        }
        let owes_factor = principal.factor_due_at().is_some_and(|due_at| self.now() >= due_at);
        if owes_factor || principal.stays_until().is_some() {
            return None;
        }
        let long = self.inner.long_sessions.as_ref()?;
        let until = principal.signed_in_at().plus(long.absolute());
        let proved_at = principal.authenticated_at();
        let proved_at = principal.second_factor_at().map_or(proved_at, |at| at.min(proved_at));
        let is_longer = until > proved_at.plus(self.inner.session_policy.absolute);
        (is_longer && long.allows(principal.roles(), principal.parent_key_of_account())).then_some(until)
    }

    /// Whether a session is a long one and has this token as its own. What can't be told now is not so: the session goes on all the same.
    async fn is_long_with(&self, claimant: &Claimant, token: &SessionToken) -> bool {
        let found = self.inner.store.session(&token.hash()).await;
        found.ok().flatten().is_some_and(|record| {
            record.id == claimant.session.id
                && record.long
                && record.ended.is_none()
                && record.tokens.current == Some(token.hash())
        })
    }
}

/// Until when a session that is a long one already is stayed signed in with. Nothing, if its token is about to be replaced or was: another
/// answer has the next one, and this one in its place would be taken for a copy.
fn stays_already(principal: &Principal, token: &SessionToken) -> Option<Timestamp> {
    let is_own = !principal.is_token_due() && principal.token_before() != Some(&token.hash());
    principal.stays_until().filter(|_| is_own)
}
