//! The HTTP surface of the IAM family, without a framework: pages, forms, JSON, cookies, protection against forged requests,
//! the client's address, settings from the environment.
//!
//! An adapter does four things, and nothing that a second adapter would repeat (`docs/ADAPTERS.md` has the whole, with its tests):
//!
//! 1. For each request it makes a [`RequestContext`] by [`WebIam::context`], and lets that [`close`](RequestContext::close) the answer,
//!    whoever made it.
//! 2. For each guard, which is a [`Rule`], it calls [`RequestContext::check`] and fetches what that asks for, until it is allowed
//!    or refused. Its router keeps an [`Inventory`].
//! 3. It mounts [`WebIam::auth_endpoints`], each exactly and for every method, reads the body with [`read_body`], and answers
//!    with [`RequestContext::finish`] or [`RequestContext::body_refused`].
//! 4. It turns its requests into [`WebRequest`] and [`RequestView`], and [`WebResponse`] into its responses.

mod accept;
mod adapter;
mod address;
mod context;
mod cookies;
mod csrf;
mod endpoints;
mod fields;
mod form;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod hsts;
mod interrupted;
mod inventory;
mod json;
mod loggable;
mod message;
mod next;
mod pages;
mod problem;
mod qr;
mod respond;
mod rule;
pub mod settings;
mod step_up;
mod theme;
mod watch;
mod web;

pub use adapter::{
    BODY_TIMEOUT, Closing, Rejoined, Task, extractor_refused, guard_missing, layer_missing, read_body,
    read_start,
};
pub use address::{ForwardHeader, InvalidProxies, TrustedProxies};
pub use context::RequestContext;
pub use cookies::{CookiePrefix, InvalidCookiePrefix};
pub use endpoints::{Endpoint, path_matches};
pub use guard::{Evidence, Granted, MAX_FORM_BYTES, Progress};
pub use hsts::{Hsts, InvalidHsts};
pub use inventory::{Access, Inventory, InventoryRoute, join};
pub use loggable::loggable_path;
pub use message::{Body, RequestView, WebRequest, WebResponse};
pub use respond::BodyProblem;
pub use rule::{Policy, Rule};
pub use theme::{InvalidTheme, Theme, ThemeBuilder};
pub use watch::SessionWatch;
pub use web::{WebIam, WebIamBuilder};
