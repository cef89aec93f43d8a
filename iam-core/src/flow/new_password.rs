//! Taking a new password: policy, breaches, hash.

use crate::audit::{Event, Subject};
use crate::base::id::ParentId;
use crate::base::invalid::{Invalid, Problem};
use crate::base::store_error::StoreError;
use crate::iam::{Iam, Unit};
use crate::model::account::{EmailAddress, Username};
use crate::model::client::Client;
use crate::model::error::Error;
use crate::password::{self, Breach, PasswordContext, PasswordHash, PlainPassword};

/// A password that was accepted.
#[derive(Debug)]
pub(crate) struct NewPassword {
    pub(crate) hash: PasswordHash,
    breach_check_skipped: Option<&'static str>,
}

impl NewPassword {
    /// One that nobody but its owner knows: nothing was checked.
    pub(crate) fn brought_over(hash: PasswordHash) -> Self {
        Self { hash, breach_check_skipped: None }
    }

    /// Notes, in the unit that keeps the hash, what could not be checked about it.
    pub(crate) async fn audit(
        &self,
        unit: &mut Unit<'_>,
        subject: Subject,
        client: &Client,
    ) -> Result<(), StoreError> {
        match self.breach_check_skipped {
            Some(why) => unit.record(&Event::BreachCheckSkipped(why), subject, client).await,
            None => Ok(()),
        }
    }
}

impl Iam {
    /// What everybody knows about an account, so that its password is not made of it.
    pub(crate) async fn password_context(
        &self,
        username: &Username,
        email: Option<&EmailAddress>,
        parent: Option<ParentId>,
    ) -> Result<PasswordContext, Error> {
        let mut context = PasswordContext::default().username(username);
        if let Some(email) = email {
            context = context.email(email);
        }
        if let Some(base_url) = &self.inner.base_url {
            context = context.base_url(base_url);
        }
        let parent = match parent {
            Some(id) => self.inner.store.reader().await?.parents().by_id(id).await?,
            None => None,
        };
        Ok(match parent {
            Some(parent) => context.parent(&parent),
            None => context,
        })
    }

    /// Checks a password that is to be set, and hashes it. No unit of work may be open.
    pub(crate) async fn new_password(
        &self,
        password: &PlainPassword,
        context: &PasswordContext,
    ) -> Result<NewPassword, Error> {
        self.inner.password_policy.check(password, context)?;
        let breach_check_skipped = match &self.inner.breached_passwords {
            Some(service) => match password::look_up(service.as_ref(), password).await {
                Breach::Unknown => None,
                Breach::Known => return Err(Invalid::new("password", Problem::Breached).into()),
                Breach::Skipped(why) => Some(why),
            },
            None => None,
        };
        let hash = self.inner.hashing.hash(password.clone()).await?;
        Ok(NewPassword { hash, breach_check_skipped })
    }
}
