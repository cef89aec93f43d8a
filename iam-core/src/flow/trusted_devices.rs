//! Browsers on which signing in asks for no second factor for a while: how they come to be trusted, and how that ends.
//!
//! What they are good for is decided at sign-in (`login.rs`) and nowhere else: a session by a trusted browser has proved no second
//! factor, so it changes no factors, steps up to nothing, and re-authenticates as any other.

use crate::audit::{Event, Subject};
use crate::base::id::{AccountId, DeviceId};
use crate::flow::Claimant;
use crate::flow::own_account::of;
use crate::iam::{Iam, OwnAccount, Unit};
use crate::model::client::Client;
use crate::model::error::Error;
use crate::model::factor_kind::FactorKind;
use crate::model::trusted_device::{MOST_TRUSTED, NewTrustedDevice, TrustedDeviceToken};

impl OwnAccount<'_> {
    /// Trusts none of the person's browsers any more. Their sessions go on; who doubts a browser ends those, too
    /// ([`end_other_sessions`](crate::OwnAccount::end_other_sessions)). Says how many browsers there were.
    ///
    /// # Errors
    /// [`Error::Stale`] when they last proved who they are too long ago.
    pub async fn forget_trusted_devices(self) -> Result<u64, Error> {
        let Self { iam, principal, client } = self;
        iam.must_be_fresh(principal)?;
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
            // With the account held no browser comes to be trusted meanwhile. One that has changed trusts none by that.
            if !unit.accounts().hold(principal.account, principal.auth_version).await? {
                return Ok(0);
            }
            let forgotten =
                iam.forget_devices_in(&mut unit, principal.account, of(principal), client).await?;
            unit.commit().await?;
            Ok(forgotten)
        })
        .await
    }
}

impl Iam {
    /// Trusts the browser that a claimant signs in on, in the unit that holds the account and completes the sign-in.
    pub(super) async fn trust_in(
        &self,
        unit: &mut Unit<'_>,
        claimant: &Claimant,
        kind: FactorKind,
        subject: &Subject,
        client: &Client,
    ) -> Result<Option<TrustedDeviceToken>, Error> {
        let Some(time) = self.inner.factor_policy.trusted_devices else { return Ok(None) };
        let now = self.now();
        let token = TrustedDeviceToken::generate(kind, self.randomness())?;
        let new = NewTrustedDevice {
            id: DeviceId::generate(now, self.randomness())?,
            account: claimant.session.account,
            auth_version: claimant.session.auth_version,
            token: token.hash(),
            created_at: now,
            expires_at: now.plus(time),
            client: client.clone(),
        };
        unit.trusted_devices().trust(&new, MOST_TRUSTED).await?;
        unit.record(&Event::DeviceTrusted, subject.clone(), client).await?;
        Ok(Some(token))
    }

    /// Trusts no browser of an account any more, in a unit that changes what it signs in with, too. There the rise of the version
    /// has ended the trust already; this takes away what is left of it, and writes it down.
    pub(super) async fn forget_devices_in(
        &self,
        unit: &mut Unit<'_>,
        account: AccountId,
        subject: Subject,
        client: &Client,
    ) -> Result<u64, Error> {
        let forgotten = unit.trusted_devices().forget_all(account).await?;
        if forgotten > 0 {
            unit.record(&Event::DevicesForgotten(forgotten), subject, client).await?;
        }
        Ok(forgotten)
    }
}
