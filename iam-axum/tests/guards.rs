//! Guards that combine and hide, in the typed router and as layers.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what goes wrong fails the test")]

#[path = "../../tests/cases/guards.rs"]
mod cases;

use std::convert::Infallible;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, FromRef, Path, State};
use axum::http;
use axum::routing::get;
use cases::{Answer, INVENTORY, Objects, Request};
use iam_axum::{
    Guard, GuardedRouter, IamLayer, ParentId, ParentKey, Proof, any_of, auth_routes, public, requires_login,
    requires_parent, requires_role,
};
use iam_testkit::PEER;
use tower::ServiceExt;

type Found = Result<Option<ParentId>, Infallible>;

async fn parent(State(objects): State<Objects>, Path(id): Path<u64>) -> Found {
    Ok(objects.parent_of(id))
}

async fn key(State(objects): State<Objects>, Path(id): Path<u64>) -> Result<Option<ParentKey>, Infallible> {
    Ok(objects.key_of(id))
}

async fn first(State(objects): State<Objects>, Path((id, _)): Path<(u64, u64)>) -> Found {
    Ok(objects.parent_of(id))
}

async fn second(State(objects): State<Objects>, Path((_, id)): Path<(u64, u64)>) -> Found {
    Ok(objects.parent_of(id))
}

async fn ok() -> &'static str {
    "ok"
}

async fn proof(State(objects): State<Objects>, proof: Proof) -> String {
    objects.describe(proof.principal().username(), proof.object_parent())
}

async fn needs_proof(_: Proof) {}

/// What the table asks for, by path.
fn guard(path: &str) -> Guard<Objects> {
    match path {
        "/both/{id}" => requires_parent(parent).and(requires_role(["admin"])),
        "/either/{id}" => any_of([requires_parent(parent), requires_role(["auditor"])]),
        "/platform/{id}" | "/proof/{id}" => requires_parent(parent).or_platform_admin(),
        "/hidden/{id}" => requires_parent(parent).hide(),
        "/scoped/{id}" => requires_parent(parent).hide().and(requires_role(["admin"])),
        "/keyed/{id}" => requires_parent(key),
        "/named" => requires_parent("acme"),
        "/pair/{first}/{second}" => requires_parent(first).and(requires_parent(second)),
        "/one-of/{first}/{second}" => any_of([requires_parent(first), requires_parent(second)]),
        _ => any_of([]),
    }
}

const PATHS: [&str; 9] = [
    "/both/{id}",
    "/either/{id}",
    "/platform/{id}",
    "/hidden/{id}",
    "/scoped/{id}",
    "/named",
    "/pair/{first}/{second}",
    "/one-of/{first}/{second}",
    "/nobody",
];

fn routes() -> GuardedRouter<Objects> {
    PATHS
        .iter()
        .fold(GuardedRouter::new(), |router, path| router.get(path, guard(path), ok))
        .post("/both/{id}", requires_login().hide(), ok)
        .get("/proof/{id}", guard("/proof/{id}"), proof)
        .get("/keyed/{id}", guard("/keyed/{id}"), proof)
        .get("/proofless", public(), needs_proof)
}

async fn send(app: Router, request: Request) -> Answer {
    let peer = ConnectInfo(PEER);
    let mut builder = http::Request::builder().method(request.method).uri(request.path).extension(peer);
    for (name, value) in request.headers {
        builder = builder.header(name, value);
    }
    let response = app.oneshot(builder.body(Body::from(request.body)).unwrap()).await.unwrap();
    let headers = response.headers().iter();
    Answer {
        status: response.status().as_u16(),
        headers: headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect(),
        body: String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap(),
    }
}

#[tokio::test]
async fn the_router_guards_as_the_table_says() {
    let (test, objects) = cases::world().await;
    let app: Router = routes()
        .with_state(objects.clone())
        .auth_routes(test.web())
        .layer(IamLayer::new(test.web()))
        .into_router();
    cases::check(&test, &objects, |request| send(app.clone(), request)).await;
}

#[tokio::test]
async fn layers_guard_as_the_table_says() {
    let (test, objects) = cases::world().await;
    let layer = |path: &str| guard(path).with_state::<()>(objects.clone());
    let app: Router = PATHS
        .iter()
        .fold(Router::new(), |router, path| router.route(path, get(ok).route_layer(layer(path))))
        .route("/both/{id}", axum::routing::post(ok).route_layer(requires_login().hide()))
        .route("/proof/{id}", get(proof).route_layer(layer("/proof/{id}")))
        .route("/keyed/{id}", get(proof).route_layer(layer("/keyed/{id}")))
        .route("/proofless", get(needs_proof))
        .with_state(objects.clone())
        .merge(auth_routes(test.web()))
        .layer(IamLayer::new(test.web()));
    cases::check(&test, &objects, |request| send(app.clone(), request)).await;
}

/// A state of the host's that has more in it.
#[derive(Clone)]
struct Everything {
    objects: Objects,
}

impl FromRef<Everything> for Objects {
    fn from_ref(all: &Everything) -> Self {
        all.objects.clone()
    }
}

#[tokio::test]
async fn routers_nest_merge_and_know_what_they_have() {
    let (test, objects) = cases::world().await;
    let old = Router::new().route("/x/old", get(ok));
    let v1 = GuardedRouter::new()
        .get("/", requires_login().background(), ok)
        .put("/x/{id}", requires_role(["admin"]), ok)
        .patch("/x/{id}", requires_role(["admin"]), ok)
        .delete("/x/{id}", requires_role(["admin"]), ok)
        .get("/x/new", public(), ok)
        .unguarded_router("an old library", old);
    let router = routes()
        .nest("/v1", v1)
        .unguarded_router("kept from before", Router::new().route("/old", get(ok)))
        .with_state(objects.clone())
        .auth_routes(test.web())
        .layer(IamLayer::new(test.web()));
    assert_eq!(cases::shown(&router.inventory()), INVENTORY);
    let app: Router = router.clone().into_router();
    for (method, path, status) in [
        ("GET", "/v1", 401),
        ("HEAD", "/v1", 401),
        ("DELETE", "/v1/x/1", 401),
        ("PUT", "/v1/x/1", 401),
        ("GET", "/v1/x/1", 405),
        ("GET", "/v1/x/new", 200),
        ("DELETE", "/v1/x/new", 405),
        ("GET", "/v1/x/old", 200),
        ("GET", "/old", 200),
        ("GET", "/v1/old", 404),
        ("GET", "/auth/login", 200),
    ] {
        let request = Request { method, path: path.to_owned(), headers: Vec::new(), body: String::new() };
        assert_eq!(send(app.clone(), request).await.status, status, "{method} {path}");
    }

    // A part of a larger state is enough, for handlers and resolvers.
    let app = GuardedRouter::new()
        .get("/either/{id}", any_of([requires_parent(parent), requires_role(["auditor"])]), ok)
        .get("/proof/{id}", requires_parent(parent), proof)
        .with_state::<()>(Everything { objects: objects.clone() });
    let whole = app.merge(GuardedRouter::new().get("/proof", public(), ok)).into_router();
    let request = Request { method: "GET", path: "/proof".into(), headers: Vec::new(), body: String::new() };
    assert_eq!(send(whole, request).await.status, 200);
}
