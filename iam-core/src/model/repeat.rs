//! Requests whose success renews a session and that come twice: a double click, a retry, an answer that was lost on its way.

use crate::base::clock::Timestamp;
use crate::base::id::SessionId;
use crate::model::token::{SessionToken, TokenHash};

/// A request that may come twice: what makes two of them the same.
#[derive(Clone, Copy)]
pub struct Repeatable<'a> {
    /// The token that it came with.
    pub token: &'a SessionToken,
    /// Its method.
    pub method: &'a str,
    /// Its path and query, as they were sent.
    pub target: &'a str,
    /// The token of the form that it was sent from, if it was.
    pub form: &'a str,
    /// Its whole body, with what was typed.
    pub body: &'a [u8],
}

impl Repeatable<'_> {
    pub(crate) fn parts<'a>(&'a self, token: &'a [u8]) -> [&'a [u8]; 5] {
        [token, self.method.as_bytes(), self.target.as_bytes(), self.form.as_bytes(), self.body]
    }
}

/// A request holds passwords and codes.
impl std::fmt::Debug for Repeatable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repeatable").field("method", &self.method).finish_non_exhaustive()
    }
}

/// A claim to be the one of several equal requests that is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The session that the request came in.
    pub session: SessionId,
    /// The token that it came with.
    pub old_token: TokenHash,
    /// A keyed digest of all that makes it this request.
    pub request: [u8; 32],
    /// When it was claimed.
    pub at: Timestamp,
}

/// The most requests of one session that are noted at a time, under way or answered.
pub const MOST_OF_A_SESSION: u8 = 4;

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum ClaimOutcome {
    /// The request is to be carried out by whoever claimed it.
    First,
    /// An equal one is there, or others came in between: whoever asked looks for it, or asks again.
    Before,
    /// There are [`MOST_OF_A_SESSION`] others of its session.
    NoRoom,
}

/// What a store keeps of a request that may come twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRequest {
    /// The claim; once it was answered, its time is that of the answer.
    pub claim: Claim,
    /// The answer, if there is one already.
    pub answer: Option<KeptAnswer>,
}

/// The answer to a request that renewed its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The token that the session goes on with.
    pub token: TokenHash,
    /// The answer itself; sealed.
    pub sealed: Vec<u8>,
}
