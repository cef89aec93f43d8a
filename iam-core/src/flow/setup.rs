//! The first administrator, by a link that works once (OWASP ASVS 6.3.2: no default accounts).

use std::time::Duration;

use crate::audit::Event;
use crate::base::id::AccountId;
use crate::base::invalid::{Invalid, Problem};
use crate::flow::tickets::NewTicket;
use crate::flow::{Actor, NewAccount};
use crate::iam::Iam;
use crate::model::account::Username;
use crate::model::conflict::Conflict;
use crate::model::error::Error;
use crate::model::role::{PLATFORM_ADMIN, RoleName};
use crate::model::ticket::{TicketPurpose, TicketToken};
use crate::password::PlainPassword;

/// How long the link works.
const LIFETIME: Duration = Duration::from_hours(24);

impl Iam {
    /// A token for the link that makes the first platform administrator; none when there is one. An earlier one is void from then
    /// on: so a service calls this once it has its listener, and not when it is about to find out that another one runs. Whoever has it
    /// becomes the administrator: show it to whoever runs the service, and nobody else.
    pub async fn issue_setup_token(&self, actor: &Actor) -> Result<Option<TicketToken>, Error> {
        let role = self.ensure_role(&RoleName::parse(PLATFORM_ADMIN)?, actor).await?;
        self.retried(|| async {
            let mut unit = self.begin().await?;
            if unit.roles().is_held(role).await? {
                return Ok(None);
            }
            let new = NewTicket {
                purpose: TicketPurpose::Setup,
                account: None,
                parent: None,
                payload: None,
                lifetime: LIFETIME,
            };
            let token = self.issue_ticket(&mut unit, new).await?;
            unit.record(&Event::SetupOffered, actor.subject(), &actor.client).await?;
            unit.commit().await?;
            Ok(Some(token))
        })
        .await
    }

    /// Whether a token would make the first administrator now. It changes nothing.
    pub async fn is_setup_token(&self, token: &TicketToken) -> Result<bool, Error> {
        let mut reader = self.inner.store.reader().await?;
        let found = reader.tickets().peek(&token.hash(), TicketPurpose::Setup, self.now()).await?;
        Ok(found.is_some())
    }

    /// Makes the first platform administrator. What is wrong with name or password uses up nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a token that is used, void or expired, or once there is an administrator.
    pub async fn set_up(
        &self,
        token: &TicketToken,
        username: &Username,
        password: &PlainPassword,
        actor: &Actor,
    ) -> Result<AccountId, Error> {
        const GONE: Error = Error::NotFound("set-up link");
        // Before anything costs: strangers have no token.
        if !self.is_setup_token(token).await? {
            return Err(GONE);
        }
        let role = self.ensure_role(&RoleName::parse(PLATFORM_ADMIN)?, actor).await?;
        let new = NewAccount::new(username.clone()).password(password.clone());
        let prepared = self.prepare_account(new).await?;
        self.retried(|| async {
            let mut unit = self.begin().await?;
            if unit.roles().is_held(role).await?
                || unit.tickets().consume(&token.hash(), TicketPurpose::Setup, self.now()).await?.is_none()
            {
                return Err(GONE);
            }
            let account = match self.make_account(&mut unit, &prepared, actor).await {
                Err(Error::Conflict(Conflict::Taken(key))) => {
                    return Err(Invalid::new(key.field(), Problem::Taken).into());
                }
                done => done?,
            };
            self.grant_in(&mut unit, account, role, PLATFORM_ADMIN, actor).await?;
            unit.commit().await?;
            Ok(account)
        })
        .await
    }
}
