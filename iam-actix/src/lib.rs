//! The IAM family on actix-web: layer, guards, extractors, routes.
