//! Identity and access management for axum: accounts, roles, tenants, sessions and an audit trail, behind one layer.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use iam_axum::{Iam, IamLayer, Keys, auth_routes, requires_role};
//! use iam_store_sqlite::SqliteStore;
//!
//! # async fn start(keys: Keys) -> Result<(), Box<dyn std::error::Error>> {
//! let store = SqliteStore::open("iam.db").await?;
//! store.migrate().await?;
//! let iam = Iam::builder(store, keys).base_url("https://app.example.com".parse()?).build().await?;
//!
//! let app: Router = Router::new()
//!     .route("/reports", get(|| async { "reports" }).route_layer(requires_role(["admin", "auditor"])))
//!     .merge(auth_routes(&iam)) // the login page and its JSON twin
//!     .layer(IamLayer::new(iam)); // after the last route
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! // With the peer's address: limits and the audit log need it.
//! axum::serve(listener, app.into_make_service_with_connect_info::<std::net::SocketAddr>()).await?;
//! # Ok(()) }
//! ```
//!
//! # Guards
//!
//! [`requires_login`], [`requires_role`] and [`requires_parent`] go on a route with `route_layer`. Somebody who is not signed
//! in is sent to the login page (a page request) or told 401 (everything else); somebody who is, and may not, is told 403. When
//! the store fails the answer is 503, never a yes and never a sign-out. Guards also refuse unsafe requests that another site
//! made the browser send.
//!
//! A handler asks who is there with [`CurrentUser`] or [`MaybeUser`], and gets a token for its forms with [`CsrfToken`]:
//!
//! ```
//! use axum::response::Html;
//! use iam_axum::{CsrfToken, CurrentUser};
//!
//! async fn new_report(user: CurrentUser, csrf: CsrfToken) -> Html<String> {
//!     Html(format!(
//!         r#"<p>{}</p><form method="post"><input name="title"><input type="hidden" name="csrf_token" value="{csrf}">"#,
//!         user.account(),
//!     ))
//! }
//! ```
//!
//! # Four things to know about axum
//!
//! - **A method added after `route_layer` is not guarded.** `get(a).route_layer(guard).post(b)` leaves `b` open. Guard last.
//! - **A route added after `.layer(IamLayer)` is not covered.** A guard there answers 500 and the log says why.
//! - **Without `into_make_service_with_connect_info::<SocketAddr>()`** nobody knows where a request comes from: guards and the
//!   family's own pages answer 500 and the log says why.
//! - **`nest` is fine**: the login page sends people back to the address that they asked for, prefix included.

mod convert;
mod extract;
mod guard;
mod layer;
mod router;
mod routes;

pub use extract::{CsrfToken, CurrentUser, MaybeUser, Proof, Refusal, RequestId};
pub use guard::{
    Guard, GuardService, ParentResolver, Public, RouteGuard, any_of, public, requires_login, requires_parent,
    requires_role,
};
pub use iam_core::guard::Principal;
pub use iam_core::id::{AccountId, ParentId, RoleId, SessionId};
pub use iam_core::keys::{Keys, SecretKey};
pub use iam_core::origin::BaseUrl;
pub use iam_core::seal::KeyRing;
pub use iam_core::store::Readiness;
pub use iam_core::{Error, Iam, IamBuilder, account, flow, parent, password, role};
pub use iam_web::settings;
pub use iam_web::{Access, Granted, Inventory, InventoryRoute, WebIam, WebIamBuilder};
pub use layer::{IamLayer, IamService};
pub use router::GuardedRouter;
pub use routes::auth_routes;
