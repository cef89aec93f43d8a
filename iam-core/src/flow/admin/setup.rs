//! The first administrator, by a link that works once (OWASP ASVS 6.3.2: no default accounts).

use std::time::Duration;

use super::NewAccount;
use crate::audit::Event;
use crate::base::id::AccountId;
use crate::base::invalid::{Invalid, Problem};
use crate::flow::tickets::NewTicket;
use crate::iam::Setup;
use crate::model::account::Username;
use crate::model::conflict::Conflict;
use crate::model::error::Error;
use crate::model::role::{PLATFORM_ADMIN, RoleName};
use crate::model::ticket::{TicketPurpose, TicketToken};
use crate::password::PlainPassword;

/// How long the link works.
const LIFETIME: Duration = Duration::from_hours(24);

/// A set-up link that is used, void or expired, or an administrator who is there already.
const GONE: Error = Error::NotFound("set-up link");

impl Setup<'_> {
    /// A token for the link that makes the first platform administrator; none when there is one. An earlier one is void from then
    /// on: so a service calls this once it has its listener, and not when it is about to find out that another one runs. Whoever has it
    /// becomes the administrator: show it to whoever runs the service, and nobody else.
    pub async fn issue_token(self) -> Result<Option<TicketToken>, Error> {
        let Self { iam, actor } = self;
        iam.must_be_platform(actor, "setup.issue_token").await?;
        let role = iam.ensure_role(&RoleName::parse(PLATFORM_ADMIN)?, actor).await?;
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
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
            let token = iam.issue_ticket(&mut unit, new).await?;
            unit.record(&Event::SetupOffered, actor.subject(), actor.client()).await?;
            unit.commit().await?;
            Ok(Some(token))
        })
        .await
    }

    /// Whether a token would make the first administrator now. It changes nothing.
    pub async fn is_token(self, token: &TicketToken) -> Result<bool, Error> {
        let mut reader = self.iam.inner.store.reader().await?;
        let found = reader.tickets().peek(&token.hash(), TicketPurpose::Setup, self.iam.now()).await?;
        Ok(found.is_some())
    }

    /// Makes the first platform administrator. What is wrong with name or password uses up nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a token that is used, void or expired, or once there is an administrator.
    pub async fn redeem(
        self,
        token: &TicketToken,
        username: &Username,
        password: &PlainPassword,
    ) -> Result<AccountId, Error> {
        let Self { iam, actor } = self;
        // Before anything costs: strangers have no token.
        if !self.is_token(token).await? {
            return Err(GONE);
        }
        let role = iam.ensure_role(&RoleName::parse(PLATFORM_ADMIN)?, actor).await?;
        let new = NewAccount::new(username.clone()).password(password.clone());
        let prepared = iam.prepare_account(new).await?;
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
            if unit.roles().is_held(role).await?
                || unit.tickets().consume(&token.hash(), TicketPurpose::Setup, iam.now()).await?.is_none()
            {
                return Err(GONE);
            }
            let account = match iam.make_account(&mut unit, &prepared, actor).await {
                Err(Error::Conflict(Conflict::Taken(key))) => {
                    return Err(Invalid::new(key.field(), Problem::Taken).into());
                }
                done => done?,
            };
            iam.grant_in(&mut unit, account, role, PLATFORM_ADMIN, actor).await?;
            unit.commit().await?;
            Ok(account)
        })
        .await
    }

    /// Makes the first platform administrator, unless there is one. Says whether it did.
    pub async fn create_first_administrator(self, new: NewAccount) -> Result<bool, Error> {
        let Self { iam, actor } = self;
        iam.must_be_platform(actor, "setup.create_first_administrator").await?;
        let role = iam.ensure_role(&RoleName::parse(PLATFORM_ADMIN)?, actor).await?;
        if iam.begin().await?.roles().is_held(role).await? {
            return Ok(false);
        }
        let prepared = iam.prepare_account(new).await?;
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
            if unit.roles().is_held(role).await? {
                return Ok(false);
            }
            let account = iam.make_account(&mut unit, &prepared, actor).await?;
            iam.grant_in(&mut unit, account, role, PLATFORM_ADMIN, actor).await?;
            unit.commit().await?;
            Ok(true)
        })
        .await
    }
}
