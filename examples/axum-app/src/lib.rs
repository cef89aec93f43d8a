//! The example host application's routes and data: what a service looks like that embeds the family on axum.

mod app;
mod documents;
mod pages;
mod serve;

pub use app::router;
pub use documents::Documents;
pub use serve::serve;
