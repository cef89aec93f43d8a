//! Who may pass: principals, requirements, and what a session is worth.

pub(crate) mod actor;
pub(crate) mod credential;
pub(crate) mod principal;
pub(crate) mod requirement;
pub(crate) mod standing;
pub(crate) mod step_up;
