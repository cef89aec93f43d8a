//! The example host application on actix-web: what a service looks like that embeds the family.

mod app;
mod serve;

pub use app::{inventory, routes};
pub use example_host::Documents;
pub use serve::serve;
