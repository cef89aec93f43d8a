//! Keys, and what is made with them.

pub(crate) mod device;
pub(crate) mod keys;
pub(crate) mod seal;
pub(crate) mod secret_key;
