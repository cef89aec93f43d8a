//! Notes of known devices: given at sign-in, and anew to the device on which an owner changes what they sign in with.

use crate::authz::principal::Principal;
use crate::base::id::AccountId;
use crate::iam::Iam;
use crate::model::account::AuthVersion;
use crate::model::error::Error;
use crate::model::token::SessionToken;
use crate::secrets::device::DeviceToken;

/// A session that goes on under another token, after its owner changed their password or factors in it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Renewed {
    /// The token that opens it from now on; the old one is dead.
    pub token: SessionToken,
    /// A note to be kept on this device: with the change all notes from before are void. None when nothing has changed that voids them.
    pub device: Option<DeviceToken>,
}

impl Iam {
    /// The device of a note that counts for an account under this version.
    pub(super) fn known_device(
        &self,
        shown: Option<&DeviceToken>,
        account: AccountId,
        version: AuthVersion,
    ) -> Option<[u8; 16]> {
        shown?.device_of(&self.inner.device_key, account, version, self.now())
    }

    /// A note for a device whose user has proved to be the account's owner.
    pub(super) fn device_note(
        &self,
        account: AccountId,
        version: AuthVersion,
        known: Option<[u8; 16]>,
    ) -> Result<DeviceToken, Error> {
        let (key, now) = (&self.inner.device_key, self.now());
        Ok(DeviceToken::issue(key, account, version, known, now, self.randomness())?)
    }

    /// A session that goes on after a change that raised the account's version by one. Its device stays known, as no other does: who
    /// made the change has just proved who they are.
    pub(super) fn renewed_on(
        &self,
        token: SessionToken,
        principal: &Principal,
        shown: Option<&DeviceToken>,
    ) -> Result<Renewed, Error> {
        let (account, version) = (principal.account, principal.auth_version);
        let known = self.known_device(shown, account, version);
        let device = self.device_note(account, version.next(), known)?;
        Ok(Renewed { token, device: Some(device) })
    }
}
