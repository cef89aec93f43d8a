//! A router that can't forget a guard.

use std::cmp::Reverse;
use std::fmt;

use actix_web::guard::{Any, Get, Guard as Matches, Head, Method};
use actix_web::http::header::ALLOW;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder, Route, http};
use iam_web::{Inventory, Policy, WebIam, join};

use crate::guard::RouteGuard;

/// A router whose every route says who may pass, between its path and its handler. [`public`](crate::public) says everybody.
///
/// ```
/// use actix_web::App;
/// use actix_web::web::{Data, Path};
/// use iam_actix::{GuardedRouter, ParentId, public, requires_parent, requires_role};
/// # struct Documents;
/// # impl Documents { async fn parent_of(&self, _: u64) -> Result<Option<ParentId>, std::io::Error> { Ok(None) } }
/// # async fn home() -> &'static str { "" }
/// # async fn reports() -> &'static str { "" }
/// # async fn add_report() -> &'static str { "" }
/// # async fn document() -> &'static str { "" }
///
/// async fn document_parent(documents: Data<Documents>, id: Path<u64>) -> Result<Option<ParentId>, std::io::Error> {
///     documents.parent_of(*id).await
/// }
///
/// let router = GuardedRouter::new()
///     .get("/", public(), home)
///     .get("/reports", requires_role(["admin", "auditor"]), reports)
///     .post("/reports", requires_role(["admin"]), add_report)
///     .get("/documents/{id}", requires_parent(document_parent).or_platform_admin(), document);
/// assert_eq!(
///     router.inventory().to_string(),
///     "METHOD  PATH             GUARD
/// GET     /                public
/// GET     /documents/{id}  any of (same parent; role iam:platform-admin)
/// GET     /reports         role admin or auditor
/// POST    /reports         role admin"
/// );
/// let app = App::new().app_data(Data::new(Documents)).configure(router.into_config());
/// ```
///
/// A forgotten guard does not compile ...
///
/// ```
/// # async fn reports() -> &'static str { "" }
/// use iam_actix::{GuardedRouter, requires_login};
/// let app = GuardedRouter::new().get("/reports", requires_login(), reports);
/// ```
/// ```compile_fail,E0061
/// # async fn reports() -> &'static str { "" }
/// use iam_actix::{GuardedRouter, requires_login};
/// let app = GuardedRouter::new().get("/reports", reports);
/// ```
///
/// ... nor does something else in its place:
///
/// ```compile_fail,E0277
/// # async fn reports() -> &'static str { "" }
/// use iam_actix::{GuardedRouter, requires_login};
/// let app = GuardedRouter::new().get("/reports", reports, reports);
/// ```
///
/// Methods of one path are put together; another method is answered 405, with `Allow`. `get` answers `HEAD`, too. A path as it
/// is written goes before one with parts in braces, wherever it was added: `/documents/new` before `/documents/{id}`. Of the
/// same method twice at one path the first counts, and the log says so.
///
/// Build it in the closure that makes the `App`: each worker has its own. [`IamLayer`](crate::IamLayer) goes over it by the
/// `wrap` of the `App`, or of a `web::scope("")` around it. A scope with a prefix would be unknown to the inventory: that is
/// what [`nest`](Self::nest) is for.
#[must_use]
pub struct GuardedRouter {
    paths: Vec<AtPath>,
    others: Vec<Others>,
    /// Of the others alone: the paths know theirs.
    others_inventory: Inventory,
}

/// The routes at one path.
struct AtPath {
    path: String,
    routes: Vec<OneRoute>,
}

struct OneRoute {
    method: &'static str,
    guard: Option<Policy>,
    route: Route,
}

/// What is not ours to take apart, and below which path it is.
struct Others {
    prefix: String,
    /// Nothing but single addresses, which shadow nothing else.
    exact: bool,
    configure: Box<dyn FnOnce(&mut ServiceConfig)>,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident $method:ident $matches:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name<G, H, Args>(self, path: &str, guard: G, handler: H) -> Self
        where
            G: RouteGuard,
            H: Handler<Args>,
            H::Output: Responder + 'static,
            Args: FromRequest + 'static,
        {
            self.route(stringify!($method), $matches, path, guard, handler)
        }
    )*};
}

impl GuardedRouter {
    /// A router without routes.
    pub fn new() -> Self {
        Self { paths: Vec::new(), others: Vec::new(), others_inventory: Inventory::default() }
    }

    methods! {
        /// Adds a route for `GET` and `HEAD`.
        get GET Any(Get()).or(Head());
        /// Adds a route for `POST`.
        post POST Method(http::Method::POST);
        /// Adds a route for `PUT`.
        put PUT Method(http::Method::PUT);
        /// Adds a route for `PATCH`.
        patch PATCH Method(http::Method::PATCH);
        /// Adds a route for `DELETE`.
        delete DELETE Method(http::Method::DELETE);
    }

    fn route<G, H, Args>(
        mut self,
        method: &'static str,
        matches: impl Matches + 'static,
        path: &str,
        guard: G,
        handler: H,
    ) -> Self
    where
        G: RouteGuard,
        H: Handler<Args>,
        H::Output: Responder + 'static,
        Args: FromRequest + 'static,
    {
        let route = web::route().guard(matches).to(handler);
        let (guard, route) = match guard.into_guard() {
            // The guard after the handler: `to` would put it away.
            Some(guard) => {
                guard.0.policy().must_be_right(Some((method, path)));
                (Some(guard.0.policy().clone()), route.wrap(guard))
            }
            None => (None, route),
        };
        let routes = vec![OneRoute { method, guard, route }];
        self.take_in(AtPath { path: join("/", path), routes });
        self
    }

    /// Adds all routes of another router below a path.
    pub fn nest(mut self, path: &str, other: Self) -> Self {
        let prefix = join("/", path);
        for at in other.paths {
            self.take_in(AtPath { path: join(&prefix, &at.path), ..at });
        }
        for others in other.others {
            self.others.push(Others { prefix: join(&prefix, &others.prefix), exact: false, ..others });
        }
        self.others_inventory.nest(&prefix, other.others_inventory);
        self
    }

    /// Adds all routes of another router.
    pub fn merge(mut self, other: Self) -> Self {
        for at in other.paths {
            self.take_in(at);
        }
        self.others.extend(other.others);
        self.others_inventory.merge(other.others_inventory);
        self
    }

    /// Adds routes of which this router can't know the guards: of another library, or guarded by `wrap`. The inventory
    /// tells so, with the reason. They come after all others; below one prefix of [`nest`](Self::nest) there can be one of these.
    pub fn unguarded_config(
        mut self,
        reason: &str,
        configure: impl FnOnce(&mut ServiceConfig) + 'static,
    ) -> Self {
        self.others_inventory.add_unguarded(reason);
        self.others.push(Others { prefix: "/".to_owned(), exact: false, configure: Box::new(configure) });
        self
    }

    /// Adds the sign-in pages and their JSON twins, as [`auth_routes`](crate::auth_routes) gives them.
    pub fn auth_routes(mut self, iam: impl Into<WebIam>) -> Self {
        let web = iam.into();
        self.others_inventory.add_family(&web);
        let configure = Box::new(crate::auth_routes(web));
        self.others.push(Others { prefix: "/".to_owned(), exact: true, configure });
        self
    }

    /// What has been added, each route with its guard.
    pub fn inventory(&self) -> Inventory {
        let mut inventory = self.others_inventory.clone();
        for at in &self.paths {
            for route in &at.routes {
                inventory.add(route.method, &at.path, route.guard.as_ref());
            }
        }
        inventory
    }

    /// For the `configure` of an application, or of a scope without a prefix.
    pub fn into_config(mut self) -> impl FnOnce(&mut ServiceConfig) {
        self.paths.sort_by_cached_key(|at| specificity(&at.path));
        // A scope takes everything below its prefix: the longer ones first.
        self.others.sort_by_key(|others| (!others.exact, Reverse(others.prefix.len())));
        move |config| {
            for at in self.paths {
                config.service(at.into_resource());
            }
            for Others { prefix, configure, .. } in self.others {
                if prefix == "/" {
                    config.configure(configure);
                } else {
                    config.service(web::scope(&prefix).configure(configure));
                }
            }
        }
    }

    /// One entry for each path, as two resources at one path would make the second unreachable.
    fn take_in(&mut self, at: AtPath) {
        match self.paths.iter_mut().find(|known| known.path == at.path) {
            Some(known) => known.take_in(at),
            None => self.paths.push(at),
        }
    }
}

impl AtPath {
    fn take_in(&mut self, other: Self) {
        for route in other.routes {
            let method = route.method;
            if self.routes.iter().any(|known| known.method == method) {
                tracing::error!(method, path = self.path, "this route is there twice: the first counts");
            } else {
                self.routes.push(route);
            }
        }
    }

    fn into_resource(self) -> Resource {
        let names =
            self.routes.iter().map(|route| if route.method == "GET" { "GET,HEAD" } else { route.method });
        let allow = names.collect::<Vec<_>>().join(",");
        // actix-web's own 405 does not say which methods there are.
        let refuse = move || {
            let allow = allow.clone();
            async move { HttpResponse::MethodNotAllowed().insert_header((ALLOW, allow)).finish() }
        };
        let resource = web::resource(self.path).default_service(web::to(refuse));
        self.routes.into_iter().fold(resource, |resource, one| resource.route(one.route))
    }
}

/// Sorts what is written out before what takes anything, part by part: actix-web takes the first that fits.
fn specificity(path: &str) -> Vec<u8> {
    let part = |part: &str| match part {
        part if part.ends_with('*') || part.contains('*') && part.contains('{') => 2,
        part if part.contains(['{', '}']) => 1,
        _ => 0,
    };
    path.split('/').map(part).collect()
}

impl Default for GuardedRouter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for GuardedRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedRouter").field("inventory", &self.inventory()).finish_non_exhaustive()
    }
}
