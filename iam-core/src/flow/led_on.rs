//! Signing in where one is signed in already: in a second tab, or by a second click.

use crate::audit::Event;
use crate::authz::principal::Principal;
use crate::base::clock::Timestamp;
use crate::flow::Claimant;
use crate::flow::attempt::Proven;
use crate::iam::Iam;
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
    /// Who they say they are.
    pub identifier: &'a LoginIdentifier,
    /// Their password.
    pub password: &'a PlainPassword,
    /// They want to stay signed in beyond the ordinary limits: with this session, of which they have shown this token. A wish, granted as at
    /// sign-in; a session whose second factor is due is none that anybody could stay signed in with.
    pub staying: Option<(&'a Principal, &'a SessionToken)>,
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

impl Iam {
    /// Leads somebody on with the session that they have, if they are who they say, by a name of theirs and their password; it needs no
    /// other in its place. Nothing is checked, and nothing counted, where the name is not theirs. No freshness is renewed: who must prove
    /// who they are re-authenticates.
    ///
    /// # Errors
    /// Where the name is theirs, as [`reauthenticate`](Self::reauthenticate).
    pub async fn lead_on(&self, login: &LoginAgain<'_>) -> Result<Option<LedOn>, Error> {
        let LoginAgain { claimant, identifier, password, staying, client } = *login;
        let named = self.inner.store.reader().await?.accounts().login_candidate(identifier).await?;
        if named.is_none_or(|named| named.account != claimant.account) {
            return Ok(None);
        }
        let Proven { candidate, reserved, told } = self.prove(claimant, password, client).await?;
        let wish = staying.and_then(|(principal, token)| Some((self.could_stay(principal)?, token)));
        let became_long = self.retried(|| async {
            let mut unit = self.begin().await?;
            if told.is_some() {
                let _ = unit.accounts().hold(claimant.account, candidate.auth_version).await?;
            }
            let long = match wish {
                Some((_, token)) => {
                    unit.sessions().lengthen(claimant.session, claimant.account, &token.hash()).await?
                }
                None => false,
            };
            self.accept(&mut unit, &reserved, told.as_ref(), client).await?;
            let event = Event::LoginContinued { session: claimant.session, long };
            unit.record(&event, claimant.subject(), client).await?;
            unit.commit().await?;
            Ok(long)
        });
        let became_long = became_long.await?;
        let stays_until = match wish {
            Some((until, token)) => {
                // The other click of two was first: its answer may be lost.
                let is_long = became_long || self.is_long_with(claimant, token).await;
                is_long.then_some(until)
            }
            None => staying.and_then(|(principal, token)| stays_already(principal, token)),
        };
        Ok(Some(LedOn { stays_until }))
    }

    /// Until when somebody could stay signed in with an ordinary session of theirs. It takes nothing away: one that goes on for longer as it
    /// is, since proofs begin its time anew, stays as it is.
    fn could_stay(&self, principal: &Principal) -> Option<Timestamp> {
        let owes_factor = principal.factor_due_at.is_some_and(|due_at| self.now() >= due_at);
        if owes_factor || principal.stays_until.is_some() {
            return None;
        }
        let long = self.inner.long_sessions.as_ref()?;
        let until = principal.signed_in_at.plus(long.absolute());
        let proved_at = principal.authenticated_at();
        let proved_at = principal.second_factor_at().map_or(proved_at, |at| at.min(proved_at));
        let is_longer = until > proved_at.plus(self.inner.session_policy.absolute);
        (is_longer && long.allows(principal.roles(), principal.parent_key_of_account())).then_some(until)
    }

    /// Whether a session is a long one and has this token as its own. What can't be told now is not so: the session goes on all the same.
    async fn is_long_with(&self, claimant: &Claimant, token: &SessionToken) -> bool {
        let found = self.inner.store.session(&token.hash(), self.now()).await;
        found.ok().flatten().is_some_and(|record| {
            record.id == claimant.session
                && record.long
                && record.ended.is_none()
                && record.tokens.current == Some(token.hash())
        })
    }
}

/// Until when a session that is a long one already is stayed signed in with. Nothing, if its token is about to be replaced or was: another
/// answer has the next one, and this one in its place would be taken for a copy.
fn stays_already(principal: &Principal, token: &SessionToken) -> Option<Timestamp> {
    let is_own = !principal.token_due && principal.token_before != Some(token.hash());
    principal.stays_until.filter(|_| is_own)
}
