//! The heart of the IAM family: accounts, parents (tenants), roles, sessions, limits, audit, and the rules between them.
//!
//! There is no HTTP here, no SQL and no framework. A service that wants to sign people in uses an adapter (`iam-axum`) and a
//! store (`iam-store-sqlite`), which give out what it needs of this crate; an author of a store or an adapter reads on.
//!
//! - **[`Iam`]** is the facade; [`flow`] has its methods, each a short sequence of steps.
//! - **[`store`]** has the ports that a store implements, with their duties.
//! - **[`guard`]** decides who may pass, without any input or output of its own.
//! - **[`clock::Clock`]** and **[`random::Randomness`]** are the only sources of time and chance.
//!
//! ```
//! use iam_core::guard::{Decision, Facts, Requirement, Step};
//!
//! // A guard without anyone signed in asks for nothing and refuses.
//! let asked = Requirement::AnyRole(vec!["auditor".into()]);
//! assert_eq!(asked.decide(None, &Facts::default()), Step::Done(Decision::Unauthenticated));
//! ```

pub mod account;
pub mod audit;
pub mod clock;
pub mod device;
pub mod error;
pub mod flow;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod guard;
mod iam;
pub mod id;
pub mod interrupted;
pub mod keys;
pub mod limit;
pub mod long_sessions;
pub mod meta;
pub mod mfa;
pub mod origin;
pub mod outbox;
pub mod parent;
pub mod password;
pub mod policy;
pub mod random;
pub mod repeat;
pub mod role;
pub mod seal;
pub mod session;
mod steady_clock;
pub mod step_up;
pub mod store;
pub mod text;
pub mod token;
pub mod trusted_device;
pub mod typed;
mod worker;

pub use error::Error;
pub use iam::{Iam, IamBuilder};
pub use worker::Worker;
