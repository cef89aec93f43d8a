//! Signing out.

use crate::audit::{Event, Subject};
use crate::base::id::SessionId;
use crate::flow::Claimant;
use crate::iam::{Iam, Protocol};
use crate::model::client::Client;
use crate::model::error::Error;
use crate::model::session::SessionRecord;
use crate::model::session_state::EndReason;
use crate::model::token::{SessionToken, TokenHash};

impl Protocol<'_> {
    /// Ends the session of a token. Says whether there was one to end: doing it twice does no harm.
    pub async fn logout(self, token: &SessionToken, client: &Client) -> Result<bool, Error> {
        let iam = self.iam;
        let Some(session) = iam.session_to_end(&token.hash()).await? else { return Ok(false) };
        let parent = session.parent.as_ref().map(|parent| parent.id);
        let subject = Subject {
            parent: parent.into(),
            amr: Some(session.proofs.amr_text()),
            ..Subject::own(session.account)
        };
        iam.end_by_logout(session.id, &subject, client).await
    }

    /// Ends the session of somebody who is signed in, or about to be, whatever its token is by now: a renewal that another request
    /// brings about meanwhile saves nothing. Says whether there was one to end.
    pub async fn logout_of(self, claimant: &Claimant, client: &Client) -> Result<bool, Error> {
        let iam = self.iam;
        let subject = Subject { session: None, ..claimant.subject() };
        iam.end_by_logout(claimant.session.id, &subject, client).await
    }
}

impl Iam {
    /// The session of a token; or of one that was renewed, as long as nobody has used what it was renewed to: the answer was lost, an equal
    /// request would be given it again, and whoever signs out with the token of old would still be signed in by that.
    async fn session_to_end(&self, token: &TokenHash) -> Result<Option<SessionRecord>, Error> {
        if let Some(session) = self.inner.store.session(token).await? {
            return Ok(Some(session));
        }
        // A token is renewed once: of what came with it one request at most succeeded.
        let kept = self.inner.store.reader().await?.repeatable_answers().by_old_token(token).await?;
        let answered = kept.into_iter().find_map(|kept| Some((kept.claim.session, kept.answer?.token)));
        let Some((session, token)) = answered else { return Ok(None) };
        let renewed = self.inner.store.session(&token).await?;
        Ok(renewed.filter(|record| record.id == session && record.tokens.is_unused(&token)))
    }

    async fn end_by_logout(
        &self,
        session: SessionId,
        subject: &Subject,
        client: &Client,
    ) -> Result<bool, Error> {
        self.retried(|| async {
            let mut unit = self.begin().await?;
            if !unit.sessions().end(session, EndReason::Logout, self.now()).await? {
                return Ok(false);
            }
            let event = Event::SessionEnded(session, EndReason::Logout);
            unit.record(&event, subject.clone(), client).await?;
            unit.commit().await?;
            Ok(true)
        })
        .await
    }
}
