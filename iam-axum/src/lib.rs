//! Identity and access management for axum: accounts, roles, tenants, sessions and an audit trail, behind one layer.
//!
//! ```no_run
//! use axum::Router;
//! use iam_axum::{GuardedRouter, Iam, IamLayer, Keys, public, requires_role};
//! use iam_store_sqlite::SqliteStore;
//!
//! # async fn start(keys: Keys) -> Result<(), Box<dyn std::error::Error>> {
//! let store = SqliteStore::open("iam.db").await?;
//! store.migrate().await?;
//! let iam = Iam::builder(store, keys).base_url("https://app.example.com".parse()?).build().await?;
//!
//! let app: Router = GuardedRouter::new()
//!     .get("/", public(), || async { "welcome" })
//!     .get("/reports", requires_role(["admin", "auditor"]), || async { "reports" })
//!     .auth_routes(&iam) // the login page and its JSON twin
//!     .layer(IamLayer::new(iam)) // after the last route
//!     .into_router();
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! // With the peer's address: limits and the audit log need it.
//! axum::serve(listener, app.into_make_service_with_connect_info::<std::net::SocketAddr>()).await?;
//! # Ok(()) }
//! ```
//!
//! Here the builders are called by hand. A service that is set up by its environment begins with [`settings`] instead;
//! `docs/FIRST_HOUR.md` says when which, and `docs/INVOICES.md` is a whole service.
//!
//! # Guards
//!
//! A [`GuardedRouter`] takes each route with its guard, so that one can't be forgotten, and lists them all:
//! [`GuardedRouter::inventory`], as a table or as JSON. [`public`] says that everybody may pass.
//!
//! [`requires_login`], [`requires_role`] and [`requires_parent`] say who else may, and combine: [`Guard::and`], [`any_of`],
//! [`Guard::or_platform_admin`]. Somebody who is not signed in is sent to the login page (a page request) or told 401
//! (everything else); somebody who is, and may not, is told 403, or 404 with [`Guard::hide`]: of
//! `requires_parent(..).hide().and(requires_role(..))` another tenant gets a 404, and the wrong role a 403. Whoever is not signed in
//! is asked to sign in all the same. When the store fails the answer is 503, never a yes and never a sign-out. Guards also refuse unsafe requests that another site made the browser send, WebSockets included;
//! a stream learns by a [`SessionWatch`] that its session is over.
//!
//! [`requires_parent`] asks whose the object of the request is, by an async function of extractors:
//!
//! ```
//! use std::{collections::BTreeMap, convert::Infallible, sync::Arc};
//!
//! use axum::extract::{Path, State};
//! use iam_axum::{GuardedRouter, ParentId, Proof, requires_parent};
//!
//! type Documents = Arc<BTreeMap<u64, ParentId>>;
//!
//! async fn document_parent(
//!     State(all): State<Documents>,
//!     Path(id): Path<u64>,
//! ) -> Result<Option<ParentId>, Infallible> {
//!     Ok(all.get(&id).copied()) // a missing document is nobody's
//! }
//!
//! /// Who takes a `Proof` is never reached without a guard.
//! async fn document(proof: Proof) -> String {
//!     format!("{} reads what belongs to {:?}", proof.principal().username(), proof.object_parent())
//! }
//!
//! let router: GuardedRouter =
//!     GuardedRouter::new().get("/documents/{id}", requires_parent(document_parent), document).with_state(Documents::default());
//! ```
//!
//! Those who keep axum's own router put the same guards on with `route_layer`, and mount [`auth_routes`]:
//!
//! ```
//! use axum::{Router, routing::get};
//! use iam_axum::{Iam, IamLayer, auth_routes, requires_role};
//!
//! # fn app(iam: Iam) -> Router {
//! Router::new()
//!     .route("/reports", get(|| async { "reports" }).route_layer(requires_role(["admin", "auditor"])))
//!     .merge(auth_routes(&iam))
//!     .layer(IamLayer::new(iam))
//! # }
//! ```
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
//! - **A method added after `route_layer` is not guarded.** `get(a).route_layer(guard).post(b)` leaves `b` open. Guard last, or
//!   use [`GuardedRouter`], where this can't happen.
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

pub use extract::{CsrfToken, CurrentActor, CurrentUser, MaybeUser, Proof, Refusal, RequestId, SessionWatch};
pub use guard::{
    Guard, GuardService, ParentResolver, Public, RouteGuard, any_of, public, requires_login, requires_parent,
    requires_role, requires_step_up,
};
/// What services use of the core: accounts, policies, errors, and what they may implement ([`ports`]).
pub use iam_core::*;
pub use iam_web::{
    Access, CookiePrefix, ForwardHeader, Granted, Hsts, InvalidCookiePrefix, InvalidHsts, InvalidProxies,
    InvalidTheme, Inventory, InventoryRoute, Theme, ThemeBuilder, TrustedProxies, WebIam, WebIamBuilder,
    loggable_path, settings,
};
pub use layer::{IamLayer, IamService};
pub use router::GuardedRouter;
pub use routes::auth_routes;
