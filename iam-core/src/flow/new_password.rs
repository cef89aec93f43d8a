//! Taking a new password: policy, breaches, hash.

use crate::audit::{Event, Subject};
use crate::error::{Error, Invalid, Problem};
use crate::iam::Iam;
use crate::meta::Client;
use crate::password::{self, Breach, PasswordContext, PasswordHash, PlainPassword};
use crate::store::{StoreError, UnitOfWork};

/// A password that was accepted.
pub(crate) struct NewPassword {
    pub(crate) hash: PasswordHash,
    breach_check_skipped: Option<&'static str>,
}

impl NewPassword {
    /// Notes, in the unit that keeps the hash, what could not be checked about it.
    pub(crate) async fn audit(
        &self,
        iam: &Iam,
        unit: &mut dyn UnitOfWork,
        subject: Subject,
        client: &Client,
    ) -> Result<(), StoreError> {
        match self.breach_check_skipped {
            Some(why) => iam.audit(unit, &Event::BreachCheckSkipped(why), subject, client).await,
            None => Ok(()),
        }
    }
}

impl Iam {
    /// Checks a password that is to be set, and hashes it. No unit of work may be open.
    pub(crate) async fn new_password(
        &self,
        password: &PlainPassword,
        context: PasswordContext,
    ) -> Result<NewPassword, Error> {
        let context = match &self.inner.base_url {
            Some(base_url) => context.base_url(base_url),
            None => context,
        };
        self.inner.password_policy.check(password, &context)?;
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
