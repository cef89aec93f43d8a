//! The nouns: accounts, parents, roles, sessions, tokens, and what can be said of them without looking anything up.

pub(crate) mod account;
pub(crate) mod channel;
pub(crate) mod client;
pub(crate) mod conflict;
pub(crate) mod error;
pub(crate) mod factor_kind;
pub(crate) mod interrupted;
pub(crate) mod long_sessions;
pub(crate) mod parent;
pub(crate) mod policy;
pub(crate) mod proof;
pub(crate) mod purpose;
pub(crate) mod repeat;
pub(crate) mod role;
pub(crate) mod session;
pub(crate) mod session_state;
pub(crate) mod step_up_proof;
pub(crate) mod ticket;
pub(crate) mod token;
pub(crate) mod trusted_device;
