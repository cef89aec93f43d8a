use crate::model::account::AuthVersion;
use crate::model::token::TokenHash;
use async_trait::async_trait;

use super::StoreError;
use crate::base::clock::Timestamp;
use crate::base::id::AccountId;
use crate::model::trusted_device::NewTrustedDevice;

/// Reads of trusted browsers: in a unit of work, or beside any.
#[async_trait]
pub trait TrustedDeviceReads: Send {
    /// Whether a browser is trusted: the token is one that was given to it for this account under this version, and its time is not
    /// over; nor is it of the future.
    async fn is_trusted(
        &mut self,
        token: &TokenHash,
        account: AccountId,
        auth_version: AuthVersion,
        now: Timestamp,
    ) -> Result<bool, StoreError>;
}

/// Browsers that are trusted (`iam_trusted_device`), in a unit of work.
#[async_trait]
pub trait TrustedDevices: TrustedDeviceReads {
    /// Keeps a browser. Of those of its account only the `most` newest are left, this one among them.
    async fn trust(&mut self, device: &NewTrustedDevice, most: u32) -> Result<(), StoreError>;

    /// Trusts no browser of an account any more. Says how many there were.
    async fn forget_all(&mut self, account: AccountId) -> Result<u64, StoreError>;

    /// Removes up to `most` browsers whose time was over before a time. Says how many.
    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError>;
}
