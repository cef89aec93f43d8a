//! What everything stands on.

pub(crate) mod base_url;
pub(crate) mod clock;
pub(crate) mod code;
pub(crate) mod id;
pub(crate) mod invalid;
pub(crate) mod random;
pub(crate) mod store_error;
pub(crate) mod text;
pub(crate) mod typed;
