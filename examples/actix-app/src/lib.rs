//! The example host application on actix-web.
