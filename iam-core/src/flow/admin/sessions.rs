//! Sessions of others.

use crate::audit::Event;
use crate::authz::actor::Actor;
use crate::base::id::{AccountId, SessionId};
use crate::iam::{Iam, Sessions, Unit};
use crate::model::error::Error;
use crate::model::session_state::EndReason;

impl Sessions<'_> {
    /// Ends a session of an account, from the next request on. Says whether there was one to end; another account's is as if it
    /// were not there.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`]: for an account that the actor does not administer.
    pub async fn revoke(self, account: AccountId, session: SessionId) -> Result<bool, Error> {
        let Self { iam, actor } = self;
        let done = iam.retried(|| async {
            let mut unit = iam.begin().await?;
            iam.administered(&mut unit, actor, account).await?;
            // A session never changes its account.
            let sessions = unit.sessions().of_account(account).await?;
            if !sessions.iter().any(|known| known.id == session)
                || !unit.sessions().end(session, EndReason::Revoked, iam.now()).await?
            {
                return Ok(false);
            }
            let event = Event::SessionEnded(session, EndReason::Revoked);
            unit.record(&event, actor.on(account), actor.client()).await?;
            unit.commit().await?;
            Ok(true)
        });
        iam.note_refused(done.await, actor, "sessions.revoke").await
    }
}

impl Iam {
    /// Ends all sessions of an account, in a unit that changes what it signs in with.
    pub(super) async fn end_sessions_in(
        &self,
        unit: &mut Unit<'_>,
        account: AccountId,
        actor: &Actor,
    ) -> Result<(), Error> {
        let ended = unit.sessions().end_all(account, EndReason::Revoked, self.now()).await?;
        if ended > 0 {
            unit.record(&Event::SessionsEnded(ended), actor.on(account), actor.client()).await?;
        }
        Ok(())
    }
}
