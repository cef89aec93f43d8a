//! A router that can't forget a guard.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, MethodRouter, Route, on};
use iam_web::{Inventory, WebIam};
use tower_layer::Layer;
use tower_service::Service;

use crate::guard::{Guard, RouteGuard};

/// A router whose every route says who may pass, between its path and its handler. [`public`](crate::public) says everybody.
///
/// ```
/// use axum::extract::{Path, State};
/// use iam_axum::{GuardedRouter, ParentId, public, requires_parent, requires_role};
/// # #[derive(Clone)] struct Documents;
/// # impl Documents { async fn parent_of(&self, _: u64) -> Result<Option<ParentId>, std::io::Error> { Ok(None) } }
/// # async fn home() {}
/// # async fn reports() {}
/// # async fn add_report() {}
/// # async fn document() {}
///
/// async fn document_parent(
///     State(documents): State<Documents>,
///     Path(id): Path<u64>,
/// ) -> Result<Option<ParentId>, std::io::Error> {
///     documents.parent_of(id).await
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
/// let app: axum::Router = router.with_state(Documents).into_router();
/// ```
///
/// A forgotten guard does not compile ...
///
/// ```
/// # async fn reports() {}
/// use iam_axum::{GuardedRouter, requires_login};
/// let app: GuardedRouter = GuardedRouter::new().get("/reports", requires_login(), reports);
/// ```
/// ```compile_fail,E0061
/// # async fn reports() {}
/// use iam_axum::{GuardedRouter, requires_login};
/// let app: GuardedRouter = GuardedRouter::new().get("/reports", reports);
/// ```
///
/// ... nor does something else in its place:
///
/// ```compile_fail,E0277
/// # async fn reports() {}
/// use iam_axum::{GuardedRouter, requires_login};
/// let app: GuardedRouter = GuardedRouter::new().get("/reports", reports, reports);
/// ```
///
/// Methods of one path are put together; another method is answered 405. `get` answers `HEAD`, too. The same method twice at
/// one path, and whatever else axum's own router does not take, stops the program when it starts.
///
/// [`IamLayer`](crate::IamLayer) goes over it [by `layer`](Self::layer), after the last route.
#[must_use]
pub struct GuardedRouter<S = ()> {
    router: Router<S>,
    inventory: Inventory,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident $filter:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name<G, H, T>(self, path: &str, guard: G, handler: H) -> Self
        where
            G: RouteGuard<S>,
            H: Handler<T, S>,
            T: 'static,
        {
            self.route(MethodFilter::$filter, stringify!($filter), path, guard, handler)
        }
    )*};
}

impl<S> GuardedRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    /// A router without routes.
    pub fn new() -> Self {
        Self { router: Router::new(), inventory: Inventory::default() }
    }

    methods! {
        /// Adds a route for `GET` and `HEAD`.
        get GET;
        /// Adds a route for `POST`.
        post POST;
        /// Adds a route for `PUT`.
        put PUT;
        /// Adds a route for `PATCH`.
        patch PATCH;
        /// Adds a route for `DELETE`.
        delete DELETE;
    }

    fn route<G, H, T>(
        mut self,
        filter: MethodFilter,
        method: &'static str,
        path: &str,
        guard: G,
        handler: H,
    ) -> Self
    where
        G: RouteGuard<S>,
        H: Handler<T, S>,
        T: 'static,
    {
        let guard = guard.into_guard();
        if let Some(guard) = &guard {
            guard.0.policy().must_be_right(Some((method, path)));
        }
        self.inventory.add(method, path, guard.as_ref().map(|guard| guard.0.policy()));
        let route = match guard {
            Some(guard) => guarded(filter, guard, handler),
            None => on(filter, handler),
        };
        Self { router: self.router.route(path, route), ..self }
    }

    /// Adds all routes of another router below a path.
    pub fn nest(mut self, path: &str, other: Self) -> Self {
        self.inventory.nest(path, other.inventory);
        Self { router: self.router.nest(path, other.router), ..self }
    }

    /// Adds all routes of another router.
    pub fn merge(mut self, other: Self) -> Self {
        self.inventory.merge(other.inventory);
        Self { router: self.router.merge(other.router), ..self }
    }

    /// Adds routes of which this router can't know the guards: of another library, or guarded by layers. The inventory
    /// tells so, with the reason.
    pub fn unguarded_router(mut self, reason: &str, router: impl Into<Router<S>>) -> Self {
        self.inventory.add_unguarded(reason);
        Self { router: self.router.merge(router.into()), ..self }
    }

    /// Adds the sign-in pages and their JSON twins, as [`auth_routes`](crate::auth_routes) gives them.
    pub fn auth_routes(mut self, iam: impl Into<WebIam>) -> Self {
        let web = iam.into();
        self.inventory.add_family(&web);
        Self { router: self.router.merge(crate::auth_routes(web)), ..self }
    }

    /// Puts a layer over the routes that are there already, as axum's own `layer` does.
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        Self { router: self.router.layer(layer), ..self }
    }

    /// Gives the handlers and resolvers their state. `T` is the state that is still missing, as in axum.
    pub fn with_state<T>(self, state: S) -> GuardedRouter<T> {
        GuardedRouter { router: self.router.with_state(state), inventory: self.inventory }
    }

    /// What has been added, each route with its guard.
    pub fn inventory(&self) -> Inventory {
        self.inventory.clone()
    }

    /// As a router of axum's, to be served.
    pub fn into_router(self) -> Router<S> {
        self.router
    }
}

/// Wraps the handler and not the route: there the state is at hand, for a resolver that takes it.
fn guarded<H, T, S>(filter: MethodFilter, guard: Guard<S>, handler: H) -> MethodRouter<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    let guard = Arc::new(guard);
    on(filter, move |State(state): State<S>, request: Request| {
        let (guard, handler) = (Arc::clone(&guard), handler.clone());
        async move {
            match guard.admit(request, &state).await {
                Ok(request) => handler.call(request, state).await,
                Err(response) => *response,
            }
        }
    })
}

impl<S> Default for GuardedRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Clone for GuardedRouter<S> {
    fn clone(&self) -> Self {
        Self { router: self.router.clone(), inventory: self.inventory.clone() }
    }
}

impl<S> fmt::Debug for GuardedRouter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedRouter").field("inventory", &self.inventory).finish_non_exhaustive()
    }
}
