//! Identity and access management for actix-web: accounts, roles, tenants, sessions and an audit trail, behind one layer.
//!
//! ```no_run
//! use actix_web::{App, HttpServer};
//! use iam_actix::{GuardedRouter, Iam, IamLayer, Keys, public, requires_role};
//! use iam_store_sqlite::SqliteStore;
//!
//! # async fn start(keys: Keys) -> Result<(), Box<dyn std::error::Error>> {
//! let store = SqliteStore::open("iam.db").await?;
//! store.migrate().await?;
//! let iam = Iam::builder(store, keys).base_url("https://app.example.com".parse()?).build().await?;
//!
//! let app = move || {
//!     let routes = GuardedRouter::new()
//!         .get("/", public(), || async { "welcome" })
//!         .get("/reports", requires_role(["admin", "auditor"]), || async { "reports" })
//!         .auth_routes(&iam); // the login page and its JSON twin
//!     App::new().configure(routes.into_config()).wrap(IamLayer::new(&iam)) // the last of the wraps
//! };
//! HttpServer::new(app).bind("127.0.0.1:3000")?.run().await?;
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
//! use std::{collections::BTreeMap, convert::Infallible};
//!
//! use actix_web::web::{Data, Path};
//! use iam_actix::{GuardedRouter, ParentId, Proof, requires_parent};
//!
//! type Documents = BTreeMap<u64, ParentId>;
//!
//! async fn document_parent(all: Data<Documents>, id: Path<u64>) -> Result<Option<ParentId>, Infallible> {
//!     Ok(all.get(&id).copied()) // a missing document is nobody's
//! }
//!
//! /// Who takes a `Proof` is never reached without a guard.
//! async fn document(proof: Proof) -> String {
//!     format!("{} reads what belongs to {:?}", proof.principal().username(), proof.object_parent())
//! }
//!
//! let all = Data::new(Documents::new()); // once, outside of the closure of `HttpServer::new`: that runs in each worker
//! let router = GuardedRouter::new().get("/documents/{id}", requires_parent(document_parent), document);
//! let app = actix_web::App::new().app_data(all.clone()).configure(router.into_config());
//! # let _ = app;
//! ```
//!
//! State is `app_data`, on the `App` or within a `configure`: a resolver takes it as a handler does. What was not registered there fails with
//! each request, and not at the start.
//!
//! Those who keep actix-web's own routes put the same guards on a route, a resource or a scope with `wrap`, and mount
//! [`auth_routes`]:
//!
//! ```
//! use actix_web::web::{self, ServiceConfig};
//! use iam_actix::{Iam, auth_routes, requires_role};
//!
//! fn configure(iam: &Iam, config: &mut ServiceConfig) {
//!     config
//!         .route("/reports", web::get().to(|| async { "reports" }).wrap(requires_role(["admin", "auditor"])))
//!         .configure(auth_routes(iam));
//! }
//! ```
//!
//! A handler asks who is there with [`CurrentUser`] or [`MaybeUser`], and gets a token for its forms with [`CsrfToken`]:
//!
//! ```
//! use actix_web::web::Html;
//! use iam_actix::{CsrfToken, CurrentUser};
//!
//! async fn new_report(user: CurrentUser, csrf: CsrfToken) -> Html {
//!     Html::new(format!(
//!         r#"<p>{}</p><form method="post"><input name="title"><input type="hidden" name="csrf_token" value="{csrf}">"#,
//!         user.account(),
//!     ))
//! }
//! ```
//!
//! # Seven things to know about actix-web
//!
//! [`GuardedRouter`] minds the second, the third and the fourth of them for you.
//!
//! - **`Option<CurrentUser>` is not [`MaybeUser`].** actix-web makes any failure of an extractor a `None`: with the store down,
//!   everybody would look signed out. The answer of a handler that went on like that is not sent, a 503 is. Ask for
//!   [`MaybeUser`].
//! - **A guard on a route protects that method**, and comes after the handler: `web::get().to(handler).wrap(guard)`. Another
//!   method of the resource needs a guard of its own. A guard on the resource protects them all, and answers 401 even to
//!   methods that the resource does not have.
//! - **`web::get()` does not answer HEAD.** Where it should, as for every page:
//!   `web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(handler).wrap(guard)`.
//! - **Two resources at one path make the second unreachable.** Put every method on one `web::resource`.
//! - **What is wrapped after [`IamLayer`] is outside of it**, and so is a route of another scope. A guard there answers 500 and
//!   the log says why.
//! - **A guard on a scope runs before the rest of the path is read.** There [`requires_parent`] finds no `{id}` and refuses
//!   everybody: put it on the resource.
//! - **A path is decoded before it is routed**: `/%72eports` is `/reports`, guard and all. The family's own addresses are only
//!   where they are written.

mod convert;
mod extract;
mod guard;
mod layer;
mod router;
mod routes;

pub use extract::{CsrfToken, CurrentActor, CurrentUser, MaybeUser, Proof, RequestId, SessionWatch};
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
