//! Browsers that are trusted for a while, so that signing in on them asks for no second factor.

use crate::account::AuthVersion;
use crate::clock::Timestamp;
use crate::id::{AccountId, DeviceId};
use crate::meta::Client;
use crate::token::TokenHash;

/// A browser to be trusted.
#[derive(Clone, Debug)]
pub struct NewTrustedDevice {
    /// Which one.
    pub id: DeviceId,
    /// Whose it is.
    pub account: AccountId,
    /// The account's version: a change of its password or factors ends the trust.
    pub auth_version: AuthVersion,
    /// The hash of what the browser keeps.
    pub token: TokenHash,
    /// When it came to be trusted.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
    /// From where.
    pub client: Client,
}
