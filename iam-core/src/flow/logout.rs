//! Signing out.

use crate::audit::{Event, Subject};
use crate::error::Error;
use crate::flow::Claimant;
use crate::iam::Iam;
use crate::id::SessionId;
use crate::meta::Client;
use crate::session::EndReason;
use crate::token::SessionToken;

impl Iam {
    /// Ends the session of a token. Says whether there was one to end: doing it twice does no harm.
    pub async fn logout(&self, token: &SessionToken, client: &Client) -> Result<bool, Error> {
        let Some(session) = self.inner.store.session(&token.hash(), self.now()).await? else {
            return Ok(false);
        };
        let parent = session.parent.as_ref().map(|parent| parent.id);
        let subject = Subject { parent, amr: Some(session.amr.clone()), ..Subject::own(session.account) };
        self.end_by_logout(session.id, &subject, client).await
    }

    /// Ends the session of somebody who is signed in, or about to be, whatever its token is by now: a renewal that another request
    /// brings about meanwhile saves nothing. Says whether there was one to end.
    pub async fn logout_of(&self, claimant: &Claimant, client: &Client) -> Result<bool, Error> {
        let subject = Subject { session: None, ..claimant.subject() };
        self.end_by_logout(claimant.session, &subject, client).await
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
            self.audit(unit.as_mut(), &event, subject.clone(), client).await?;
            unit.commit().await?;
            Ok(true)
        })
        .await
    }
}
