//! Requests that a guard stopped half way, kept until their sender has proved again who they are.

use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, InterruptedId, SessionId};

/// A request to be kept.
#[derive(Clone, Debug)]
pub struct NewInterrupted {
    /// Which one.
    pub id: InterruptedId,
    /// Whose it is.
    pub account: AccountId,
    /// The session that it was sent in, and that alone may go on with it.
    pub session: SessionId,
    /// What was sent; sealed.
    pub sealed: Vec<u8>,
    /// When it was stopped.
    pub created_at: Timestamp,
    /// Until when it may be gone on with.
    pub expires_at: Timestamp,
}

/// A request as it is kept.
#[derive(Clone, Debug)]
pub struct Interrupted {
    /// What it began as.
    pub new: NewInterrupted,
    /// When it was gone on with.
    pub resumed_at: Option<Timestamp>,
}
