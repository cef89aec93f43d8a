//! Guards that combine and hide, in the typed router and by `wrap`.

#![expect(clippy::indexing_slicing, reason = "what goes wrong fails the test")]

#[path = "../../tests/cases/guards.rs"]
mod cases;

use std::convert::Infallible;

use actix_web::guard::{Any, Get, Head};
use actix_web::http::Method;
use actix_web::test::{TestRequest, init_service, read_body, try_call_service};
use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{App, HttpResponse};
use cases::{Answer, INVENTORY, Objects, Request};
use iam_actix::{
    Guard, GuardedRouter, IamLayer, ParentId, ParentKey, Proof, any_of, auth_routes, public, requires_login,
    requires_parent, requires_role,
};
use iam_testkit::PEER;

type Found = Result<Option<ParentId>, Infallible>;

async fn parent(objects: Data<Objects>, id: Path<u64>) -> Found {
    Ok(objects.parent_of(*id))
}

async fn key(objects: Data<Objects>, id: Path<u64>) -> Result<Option<ParentKey>, Infallible> {
    Ok(objects.key_of(*id))
}

async fn first(objects: Data<Objects>, ids: Path<(u64, u64)>) -> Found {
    Ok(objects.parent_of(ids.0))
}

async fn second(objects: Data<Objects>, ids: Path<(u64, u64)>) -> Found {
    Ok(objects.parent_of(ids.1))
}

async fn ok() -> &'static str {
    "ok"
}

async fn proof(objects: Data<Objects>, proof: Proof) -> String {
    objects.describe(proof.principal().username(), proof.object_parent())
}

async fn needs_proof(_: Proof) -> &'static str {
    ""
}

/// What the table asks for, by path.
fn guard(path: &str) -> Guard {
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

const PATHS: [&str; 8] = [
    "/either/{id}",
    "/platform/{id}",
    "/hidden/{id}",
    "/scoped/{id}",
    "/named",
    "/pair/{first}/{second}",
    "/one-of/{first}/{second}",
    "/nobody",
];

fn routes() -> GuardedRouter {
    PATHS
        .iter()
        .fold(GuardedRouter::new(), |router, path| router.get(path, guard(path), ok))
        .get("/both/{id}", guard("/both/{id}"), ok)
        .post("/both/{id}", requires_login().hide(), ok)
        .get("/proof/{id}", guard("/proof/{id}"), proof)
        .get("/keyed/{id}", guard("/keyed/{id}"), proof)
        .get("/proofless", public(), needs_proof)
}

/// Sends a request. A macro, because actix-web does not say what the type of an application's request is.
macro_rules! send {
    ($app:expr, $request:expr) => {{
        let (app, request): (_, Request) = ($app, $request);
        let mut test = TestRequest::with_uri(&request.path)
            .method(Method::from_bytes(request.method.as_bytes()).unwrap())
            .peer_addr(PEER)
            .set_payload(request.body);
        for (name, value) in request.headers {
            test = test.insert_header((name, value));
        }
        let response = try_call_service(app, test.to_request()).await.unwrap();
        let headers = response.headers().iter();
        Answer {
            status: response.status().as_u16(),
            headers: headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect(),
            body: String::from_utf8(read_body(response).await.to_vec()).unwrap(),
        }
    }};
}

#[tokio::test]
async fn the_router_guards_as_the_table_says() {
    let (test, objects) = cases::world().await;
    let app = App::new()
        .app_data(Data::new(objects.clone()))
        .configure(routes().auth_routes(test.web()).into_config())
        .wrap(IamLayer::new(test.web()));
    let app = init_service(app).await;
    cases::check(&test, &objects, async |request| send!(&app, request)).await;
}

/// The same by hand: what the router spares.
fn wrapped(config: &mut ServiceConfig) {
    let reads = || web::route().guard(Any(Get()).or(Head()));
    for path in PATHS {
        config.service(web::resource(path).route(reads().to(ok).wrap(guard(path))));
    }
    let refuse =
        || async { HttpResponse::MethodNotAllowed().insert_header(("allow", "GET,HEAD,POST")).finish() };
    config
        .service(
            web::resource("/both/{id}")
                .route(reads().to(ok).wrap(guard("/both/{id}")))
                .route(web::post().to(ok).wrap(requires_login().hide()))
                .default_service(web::to(refuse)),
        )
        .service(web::resource("/proof/{id}").get(proof).wrap(guard("/proof/{id}")))
        .service(web::resource("/keyed/{id}").get(proof).wrap(guard("/keyed/{id}")))
        .service(web::resource("/proofless").get(needs_proof));
}

#[tokio::test]
async fn wrapped_routes_are_guarded_as_the_table_says() {
    let (test, objects) = cases::world().await;
    let app = App::new()
        .app_data(Data::new(objects.clone()))
        .configure(wrapped)
        .configure(auth_routes(test.web()))
        .wrap(IamLayer::new(test.web()));
    let app = init_service(app).await;
    cases::check(&test, &objects, async |request| send!(&app, request)).await;
}

#[tokio::test]
async fn routers_nest_merge_and_know_what_they_have() {
    let (test, objects) = cases::world().await;
    let v1 = GuardedRouter::new()
        .get("/", requires_login().background(), ok)
        .put("/x/{id}", requires_role(["admin"]), ok)
        .patch("/x/{id}", requires_role(["admin"]), ok)
        .delete("/x/{id}", requires_role(["admin"]), ok)
        // After the one that would take it, too, and yet found.
        .get("/x/new", public(), ok)
        .unguarded_config("an old library", |config| {
            config.route("/y/old", web::get().to(ok));
        });
    let router = routes()
        .nest("/v1", v1)
        .unguarded_config("kept from before", |config| {
            config.route("/old", web::get().to(ok));
        })
        .auth_routes(test.web());
    assert_eq!(cases::shown(&router.inventory()), INVENTORY);
    let twice = GuardedRouter::new().get("/twice", requires_login(), ok).merge(GuardedRouter::new().get(
        "twice",
        public(),
        ok,
    ));
    assert_eq!(twice.inventory().to_string(), "METHOD  PATH    GUARD\nGET     /twice  signed in");
    let app = App::new()
        .app_data(Data::new(objects))
        .configure(router.merge(twice).into_config())
        .wrap(IamLayer::new(test.web()));
    let app = init_service(app).await;
    for (method, path, status) in [
        ("GET", "/v1", 401),
        ("HEAD", "/v1", 401),
        ("DELETE", "/v1/x/1", 401),
        ("PUT", "/v1/x/1", 401),
        ("GET", "/v1/x/1", 405),
        ("GET", "/v1/x/new", 200),
        ("DELETE", "/v1/x/new", 405),
        ("GET", "/v1/y/old", 200),
        ("GET", "/old", 200),
        ("GET", "/v1/old", 404),
        ("GET", "/auth/login", 200),
        ("GET", "/twice", 401),
    ] {
        let request = Request { method, path: path.to_owned(), headers: Vec::new(), body: String::new() };
        assert_eq!(send!(&app, request).status, status, "{method} {path}");
    }
}
