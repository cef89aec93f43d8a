//! Tickets: links that work once, and what they carry.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::token::{Carrier, SessionToken, TokenHash};
use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ParentId, TicketId};
use crate::base::random::{Randomness, RandomnessUnavailable};

/// The secret of a ticket, as it stands in a link: 256 random bits. Only its hash is ever stored.
#[derive(Clone)]
pub struct TicketToken(Zeroizing<[u8; 32]>);

impl TicketToken {
    pub(crate) fn generate(random: &dyn Randomness) -> Result<Self, RandomnessUnavailable> {
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(bytes.as_mut())?;
        Ok(Self(bytes))
    }

    /// Reads a token from its text, as it stands in a link.
    pub fn parse(text: &str) -> Option<Self> {
        SessionToken::parse(text, Carrier::Cookie).map(|token| Self(token.into_bytes()))
    }

    /// The text for a link.
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(Base64UrlUnpadded::encode_string(self.0.as_ref()))
    }

    /// The hash that a store keeps.
    pub fn hash(&self) -> TokenHash {
        let mut hash = Sha256::new();
        hash.update(b"one-time");
        hash.update(self.0.as_ref());
        TokenHash::from_bytes(hash.finalize().into())
    }

    /// The hash that a store keeps of a ticket which is good for one account alone.
    pub(crate) fn hash_for(&self, account: AccountId) -> TokenHash {
        let mut hash = Sha256::new();
        hash.update(b"one-time of account");
        hash.update(account.as_bytes());
        hash.update(self.0.as_ref());
        TokenHash::from_bytes(hash.finalize().into())
    }
}

impl fmt::Debug for TicketToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketToken(..)")
    }
}

/// The purpose of a ticket. It works for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TicketPurpose {
    /// Making the first administrator.
    Setup,
    /// Setting up the first factor of an account that must have one.
    Invitation,
}

impl TicketPurpose {
    /// The name that stores use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Invitation => "invitation",
        }
    }
}

/// A ticket as a store holds it: a right to do one thing once, for the holder of its token, with what it takes to do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its id. Public; it opens nothing.
    pub id: TicketId,
    /// The one thing that it is good for.
    pub purpose: TicketPurpose,
    /// The account that it is for, if there is one already.
    pub account: Option<AccountId>,
    /// The parent that it belongs to, if any.
    pub parent: Option<ParentId>,
    /// What it carries, if anything; sealed, bound to its id and account.
    pub payload: Option<Vec<u8>>,
    /// When it was issued.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::OsRandomness;

    #[test]
    fn a_ticket_has_one_text_and_a_hash_for_each_use() {
        let token = TicketToken::generate(&OsRandomness).unwrap();
        assert_eq!(TicketToken::parse(&token.expose()).unwrap().hash(), token.hash());
        assert!(TicketToken::parse(&token.expose()[1..]).is_none());
        let (one, two) = (AccountId::from_bytes([1; 16]), AccountId::from_bytes([2; 16]));
        assert_ne!(token.hash_for(one), token.hash_for(two), "one account's is no other's");
        assert_ne!(token.hash_for(one), token.hash());
        let session = SessionToken::parse(&token.expose(), Carrier::Cookie).unwrap();
        assert_ne!(session.hash(), token.hash(), "it is no session's token");
        assert_eq!(format!("{token:?}"), "TicketToken(..)");
    }
}
