//! Signing out.

use crate::audit::{Event, Subject};
use crate::error::Error;
use crate::iam::Iam;
use crate::meta::Client;
use crate::session::EndReason;
use crate::token::SessionToken;

impl Iam {
    /// Ends the session of a token. Says whether there was one to end: doing it twice does no harm.
    pub async fn logout(&self, token: &SessionToken, client: &Client) -> Result<bool, Error> {
        let Some(session) = self.inner.store.session(&token.hash()).await? else { return Ok(false) };
        self.retried(|| async {
            let mut unit = self.begin().await?;
            if !unit.sessions().end(session.id, EndReason::Logout, self.now()).await? {
                return Ok(false);
            }
            let event = Event::SessionEnded(session.id, EndReason::Logout);
            let parent = session.parent.as_ref().map(|parent| parent.id);
            let subject = Subject { parent, amr: Some(session.amr.clone()), ..Subject::own(session.account) };
            self.audit(unit.as_mut(), &event, subject, client).await?;
            unit.commit().await?;
            Ok(true)
        })
        .await
    }
}
