//! The example host application on axum: what a service looks like that embeds the family.

mod app;
mod serve;

pub use app::{inventory, router};
pub use example_host::Documents;
pub use serve::serve;
