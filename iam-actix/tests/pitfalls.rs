//! What is easy to get wrong on actix-web, and what happens then.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what goes wrong fails the test")]

use std::io;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::{ErrorBadRequest, ErrorUnauthorized};
use actix_web::guard::{Any, Get, Head};
use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{Next, from_fn};
use actix_web::test::{TestRequest, init_service, read_body, try_call_service};
use actix_web::web::{self, Form, Path};
use actix_web::{App, Error, HttpRequest, HttpResponse};
use iam_actix::{
    CookiePrefix, CsrfToken, CurrentActor, CurrentUser, ForwardHeader, IamLayer, MaybeUser, ParentId,
    RequestId, SessionWatch, TrustedProxies, auth_routes, requires_login, requires_parent, requires_role,
};
use iam_testkit::{PEER, TestIam};

fn all(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

/// An answer, or the error that actix-web would make one of.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    async fn of<B: MessageBody>(result: Result<ServiceResponse<B>, Error>) -> Self {
        match result {
            Ok(response) => Self {
                status: response.status(),
                headers: all(response.headers()),
                body: String::from_utf8(read_body(response).await.to_vec()).unwrap(),
            },
            Err(error) => {
                let response = error.error_response();
                Self { status: response.status(), headers: all(response.headers()), body: String::new() }
            }
        }
    }

    fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    fn header(&self, name: &str) -> &str {
        self.headers(name).first().copied().unwrap_or_default()
    }
}

/// Sends a request from somewhere. A macro, because actix-web does not say what the type of an application's request is.
macro_rules! send {
    ($app:expr, $request:expr) => {
        send_bare!($app, $request.peer_addr(PEER))
    };
}

macro_rules! send_bare {
    ($app:expr, $request:expr) => {
        Answer::of(try_call_service($app, $request.to_request()).await).await
    };
}

fn at(method: Method, path: &str) -> TestRequest {
    TestRequest::with_uri(path).method(method)
}

fn page(path: &str) -> TestRequest {
    TestRequest::with_uri(path).insert_header(("accept", "text/html"))
}

fn with_cookie(path: &str, cookie: &str) -> TestRequest {
    TestRequest::with_uri(path).insert_header(("cookie", cookie))
}

async fn ok() -> &'static str {
    "ok"
}

/// As `docs/BROWSERS.md` says: what is in a scope keeps its guards, and the pages to sign in on are told the prefix.
#[tokio::test]
async fn an_application_below_a_prefix_signs_people_in_beside_it() {
    let test =
        TestIam::builder().web(|web| web.auth_path("/shop/auth").api_path("/shop/api/v1")).build().await;
    let shop = web::resource("/reports").route(web::get().to(ok).wrap(requires_login()));
    let app = App::new().configure(auth_routes(test.web())).service(web::scope("/shop").service(shop));
    let app = init_service(app.wrap(IamLayer::new(test.web()))).await;
    let refused = send!(&app, page("/shop/reports?a=b"));
    assert_eq!(refused.status, StatusCode::SEE_OTHER);
    assert_eq!(refused.header("location"), "/shop/auth/login?next=/shop/reports%3Fa%3Db");
    assert_eq!(send!(&app, page("/shop/auth/login")).status, StatusCode::OK);
    let led = send!(&app, page("/.well-known/change-password"));
    assert_eq!((led.status, led.header("location")), (StatusCode::SEE_OTHER, "/shop/auth/account"));
    assert_eq!(send!(&app, at(Method::GET, "/shop/api/v1/me")).status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_address_that_the_host_has_itself_is_the_hosts() {
    let test = TestIam::builder().web(|web| web.change_password_url(false)).build().await;
    let own = web::resource("/.well-known/change-password").to(ok);
    let app = App::new().configure(auth_routes(test.web())).service(own);
    let app = init_service(app.wrap(IamLayer::new(test.web()))).await;
    assert_eq!(send!(&app, page("/.well-known/change-password")).status, StatusCode::OK);
}

#[tokio::test]
async fn cookies_have_the_names_that_a_host_gives_them() {
    let prefix = CookiePrefix::parse("shop_").unwrap();
    let test = TestIam::builder().web(|web| web.cookie_prefix(prefix).clear_pages(false)).build().await;
    let guarded = web::resource("/guarded").route(web::get().to(ok).wrap(requires_login()));
    let app = App::new().configure(auth_routes(test.web())).service(guarded);
    let app = init_service(app.wrap(IamLayer::new(test.web()))).await;
    let amy = test.signed_in("amy").await;
    let cookie = amy.cookie();
    assert!(cookie.starts_with("shop_session="), "{cookie}");
    assert_eq!(send!(&app, with_cookie("/guarded", &cookie)).status, StatusCode::OK);
    let other = cookie.replace("shop_", "iam_");
    assert_eq!(send!(&app, with_cookie("/guarded", &other)).status, StatusCode::UNAUTHORIZED);
    let out = with_cookie("/api/v1/auth/logout", &cookie).method(Method::POST);
    let out = send!(&app, out.insert_header(("sec-fetch-site", "same-origin")));
    assert_eq!((out.status, out.headers("clear-site-data").len()), (StatusCode::NO_CONTENT, 0));
    assert!(out.header("set-cookie").starts_with("shop_session=;"), "{}", out.header("set-cookie"));
}

#[tokio::test]
async fn a_method_beside_a_guarded_one_is_not_guarded() {
    let test = TestIam::new().await;
    let app = init_service(
        App::new()
            .service(
                web::resource("/method")
                    .route(web::get().to(ok).wrap(requires_login()))
                    .route(web::post().to(ok)),
            )
            .service(
                web::resource("/all")
                    .route(web::get().to(ok))
                    .route(web::post().to(ok))
                    .wrap(requires_login()),
            )
            .wrap(IamLayer::new(test.web())),
    )
    .await;
    assert_eq!(send!(&app, at(Method::GET, "/method")).status, StatusCode::UNAUTHORIZED);
    assert_eq!(send!(&app, at(Method::POST, "/method")).status, StatusCode::OK, "as the documentation warns");
    assert_eq!(send!(&app, at(Method::PUT, "/method")).status, StatusCode::METHOD_NOT_ALLOWED);
    for method in [Method::GET, Method::POST, Method::PUT] {
        assert_eq!(send!(&app, at(method, "/all")).status, StatusCode::UNAUTHORIZED, "before any 405");
    }
}

#[tokio::test]
async fn head_is_answered_where_it_is_asked_for_and_guarded_then() {
    let test = TestIam::new().await;
    let reads = || web::route().guard(Any(Get()).or(Head()));
    let app = init_service(
        App::new()
            .service(web::resource("/get").route(web::get().to(ok).wrap(requires_login())))
            .service(web::resource("/both").route(reads().to(ok).wrap(requires_login())))
            .service(web::resource("/open").route(reads().to(ok)))
            .configure(auth_routes(test.web()))
            .wrap(IamLayer::new(test.web())),
    )
    .await;
    assert_eq!(send!(&app, at(Method::HEAD, "/get")).status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(send!(&app, at(Method::HEAD, "/both")).status, StatusCode::UNAUTHORIZED);
    assert_eq!(send!(&app, at(Method::HEAD, "/open")).status, StatusCode::OK);
    assert_eq!(send!(&app, at(Method::HEAD, "/auth/login")).status, StatusCode::OK);
}

#[tokio::test]
async fn two_resources_at_one_path_open_nothing() {
    let test = TestIam::new().await;
    let app = init_service(
        App::new()
            .service(web::resource("/x").route(web::get().to(ok).wrap(requires_login())))
            .service(web::resource("/x").route(web::post().to(ok)).route(web::get().to(ok)))
            .wrap(IamLayer::new(test.web())),
    )
    .await;
    assert_eq!(send!(&app, at(Method::GET, "/x")).status, StatusCode::UNAUTHORIZED);
    assert_eq!(send!(&app, at(Method::POST, "/x")).status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn without_the_layer_everything_that_asks_answers_500() {
    let test = TestIam::new().await;
    let app = init_service(
        App::new()
            .service(web::scope("/in").configure(auth_routes(test.web())).wrap(IamLayer::new(test.web())))
            .configure(auth_routes(test.web()))
            .route("/guarded", web::get().to(ok).wrap(requires_login()))
            .route("/current", web::get().to(|_: CurrentUser| ok()))
            .route("/maybe", web::get().to(|_: MaybeUser| ok()))
            .route("/token", web::get().to(|_: CsrfToken| ok()))
            .route("/id", web::get().to(|_: RequestId| ok()))
            .route("/open", web::get().to(ok)),
    )
    .await;
    for path in ["/guarded", "/current", "/maybe", "/token", "/id", "/auth/login"] {
        let answer = send!(&app, TestRequest::with_uri(path));
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        );
    }
    assert_eq!(send!(&app, TestRequest::with_uri("/open")).status, StatusCode::OK);
    // Under a prefix the pages are nowhere: where they are is the `WebIam`'s to say.
    assert_eq!(send!(&app, page("/in/auth/login")).status, StatusCode::NOT_FOUND);

    // What is wrapped after the layer is outside of it.
    let outside =
        App::new().route("/x", web::get().to(ok)).wrap(IamLayer::new(test.web())).wrap(requires_login());
    let outside = init_service(outside).await;
    assert_eq!(send!(&outside, TestRequest::with_uri("/x")).status, StatusCode::INTERNAL_SERVER_ERROR);
    let inside =
        App::new().route("/x", web::get().to(ok)).wrap(requires_login()).wrap(IamLayer::new(test.web()));
    let inside = init_service(inside).await;
    assert_eq!(send!(&inside, TestRequest::with_uri("/x")).status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn without_the_peers_address_nobody_is_let_in_by_mistake() {
    let test = TestIam::new().await;
    let app = init_service(
        App::new()
            .route("/guarded", web::get().to(ok).wrap(requires_login()))
            .route("/optional", web::get().to(|_: Option<CurrentUser>| ok()))
            .route("/open", web::get().to(ok))
            .configure(auth_routes(test.web()))
            .wrap(IamLayer::new(test.web())),
    )
    .await;
    for path in ["/guarded", "/auth/login"] {
        let answer = send_bare!(&app, TestRequest::with_uri(path));
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
    assert_eq!(
        send_bare!(&app, TestRequest::with_uri("/optional")).status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(send_bare!(&app, TestRequest::with_uri("/open")).status, StatusCode::OK);
}

#[tokio::test]
async fn scopes_keep_the_whole_address() {
    let test = TestIam::new().await;
    let scope = || web::scope("/v2").route("/reports", web::get().to(ok).wrap(requires_login()));
    let app = init_service(App::new().service(scope()).wrap(IamLayer::new(test.web()))).await;
    let answer = send!(&app, page("/v2/reports?a=b"));
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.header("location"), "/auth/login?next=/v2/reports%3Fa%3Db");
    // Decoded to find the route, sent back as it was written.
    let answer = send!(&app, page("/%762/reports"));
    assert_eq!(answer.header("location"), "/auth/login?next=/%25762/reports");
    // The layer on the scope alone, and a guard on it: the same.
    let scoped = web::scope("/v2")
        .route("/reports", web::get().to(ok))
        .wrap(requires_login())
        .wrap(IamLayer::new(test.web()));
    let app = init_service(App::new().service(scoped)).await;
    assert_eq!(send!(&app, page("/v2/reports")).header("location"), "/auth/login?next=/v2/reports");
}

#[tokio::test]
async fn pages_can_be_mounted_elsewhere_and_are_there_exactly() {
    let test = TestIam::builder().web(|web| web.auth_path("/konto").api_path("/dienst")).build().await;
    let app = init_service(
        App::new()
            .route("/x", web::get().to(ok).wrap(requires_login()))
            .configure(auth_routes(test.web()))
            .wrap(IamLayer::new(test.web())),
    )
    .await;
    assert_eq!(send!(&app, page("/x")).header("location"), "/konto/login?next=/x");
    assert_eq!(send!(&app, page("/konto/login")).status, StatusCode::OK);
    assert_eq!(send!(&app, TestRequest::with_uri("/dienst/me")).status, StatusCode::UNAUTHORIZED);
    for path in ["/auth/login", "/konto/login/", "/konto/%6cogin", "/%6bonto/login", "/konto//login"] {
        assert_eq!(send!(&app, page(path)).status, StatusCode::NOT_FOUND, "{path}");
    }
    let refused = send!(&app, at(Method::PATCH, "/konto/login"));
    assert_eq!(
        (refused.status, refused.header("allow")),
        (StatusCode::METHOD_NOT_ALLOWED, "GET, POST, HEAD")
    );
}

async fn greet(user: Option<CurrentUser>) -> &'static str {
    if user.is_some() { "somebody" } else { "nobody" }
}

async fn denies(user: Option<CurrentUser>) -> Result<&'static str, Error> {
    if user.is_some() { Ok("somebody") } else { Err(ErrorUnauthorized("as if nobody asked")) }
}

/// A middleware of the host's that turns every failure into a page of its own.
async fn smooths(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    if !response.status().is_server_error() {
        return Ok(response);
    }
    let (request, _) = response.into_parts();
    Ok(ServiceResponse::new(request, HttpResponse::Ok().body("nobody")))
}

#[tokio::test]
async fn nobody_is_signed_out_by_a_store_that_is_down() {
    let test = TestIam::new().await;
    let app = init_service(
        App::new()
            .route("/optional", web::get().to(greet))
            .route("/result", web::get().to(|user: Result<CurrentUser, Error>| greet(user.ok())))
            .route("/maybe", web::get().to(|MaybeUser(user): MaybeUser| greet(user)))
            .route(
                "/maybe-result",
                web::get().to(|user: Result<MaybeUser, Error>| greet(user.ok().and_then(|user| user.0))),
            )
            .route("/token", web::get().to(|_: Option<CsrfToken>| greet(None)))
            .route("/watch", web::get().to(|_: Option<SessionWatch>| greet(None)))
            .route("/denies", web::get().to(denies))
            .service(
                web::resource("/smoothed")
                    .route(web::get().to(|_: CurrentUser| greet(None)))
                    .wrap(from_fn(smooths)),
            )
            .route("/current", web::get().to(|user: CurrentUser| greet(Some(user))))
            .route("/guarded", web::get().to(ok).wrap(requires_login()))
            .wrap(IamLayer::new(test.web())),
    )
    .await;
    let unknown = format!("iam_session={}", "A".repeat(43));
    for path in ["/optional", "/result", "/maybe"] {
        let answer = send!(&app, with_cookie(path, &unknown));
        assert_eq!(answer.body, "nobody", "a token that is worth nothing: {path}");
    }
    let alice = test.signed_in("alice").await.cookie();
    test.store_fails(true);
    for cookie in [&unknown, &alice] {
        for path in [
            "/optional",
            "/result",
            "/maybe",
            "/maybe-result",
            "/token",
            "/watch",
            "/denies",
            "/smoothed",
            "/current",
            "/guarded",
        ] {
            let answer = send!(&app, with_cookie(path, cookie));
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(answer.headers("retry-after").len(), 1, "{path}");
            assert!(answer.headers("set-cookie").is_empty() && !answer.body.contains("nobody"), "{path}");
        }
    }
    assert_eq!(send!(&app, TestRequest::with_uri("/optional")).body, "nobody", "nothing to look up");
    test.store_fails(false);
    assert_eq!(send!(&app, with_cookie("/current", &alice)).body, "somebody");
}

/// A middleware of the host's that gives up, after it has asked for a token.
async fn gives_up(
    _: CsrfToken,
    _: ServiceRequest,
    _: Next<impl MessageBody>,
) -> Result<ServiceResponse<String>, Error> {
    Err(ErrorBadRequest("as the test asked"))
}

async fn fails(_: CsrfToken, _: HttpRequest) -> Result<&'static str, Error> {
    Err(ErrorBadRequest("as the test asked"))
}

#[tokio::test]
async fn errors_keep_their_cookies() {
    let test = TestIam::new().await;
    let app = init_service(
        App::new()
            .route("/handler", web::get().to(fails))
            .service(web::resource("/middleware").route(web::get().to(ok)).wrap(from_fn(gives_up)))
            .wrap(IamLayer::new(test.web())),
    )
    .await;
    for path in ["/handler", "/middleware"] {
        let answer = send!(&app, TestRequest::with_uri(path));
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.header("set-cookie").starts_with("iam_pre="), "{path}: {answer:?}");
        assert_eq!(answer.headers("set-cookie").len(), 1, "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
}

async fn never() -> Result<Option<ParentId>, io::Error> {
    panic!("asked on behalf of nobody")
}

async fn broken() -> Result<Option<ParentId>, Error> {
    Err(ErrorBadRequest("the documents can't be reached"))
}

async fn parent_of(id: Path<u64>, ours: web::Data<ParentId>) -> Result<Option<ParentId>, io::Error> {
    Ok((*id == 1).then_some(**ours))
}

#[derive(serde::Deserialize)]
struct Title {
    title: String,
}

/// A guard may be made once, for every worker.
fn for_every_worker<T: Clone + Send + Sync + 'static>(guard: T) -> T {
    guard
}

#[tokio::test]
async fn parents_are_found_by_extractors_and_forms_are_handed_on() {
    let test = TestIam::new().await;
    let acme = test.parent("acme").await;
    let amy = test.signed_in("amy").parent("acme").await;
    let guard = for_every_worker(requires_parent(parent_of));
    for_every_worker(IamLayer::new(test.web()));
    let app = init_service(
        App::new()
            .app_data(web::Data::new(acme))
            .service(web::resource("/documents/{id}").get(ok).wrap(guard.clone()))
            .service(web::scope("/scoped/{id}").wrap(guard.clone()).route("", web::get().to(ok)))
            .service(web::scope("/outer").wrap(guard).route("/{id}", web::get().to(ok)))
            .route("/never", web::post().to(ok).wrap(requires_parent(never)))
            .route("/broken", web::get().to(ok).wrap(requires_parent(broken)))
            .route("/role", web::get().to(ok).wrap(requires_role(["admin"])))
            .route(
                "/form",
                web::post().to(|form: Form<Title>| async move { form.title.clone() }).wrap(requires_login()),
            )
            .configure(auth_routes(test.web()))
            .wrap(IamLayer::new(test.web())),
    )
    .await;
    assert_eq!(send!(&app, at(Method::POST, "/never")).status, StatusCode::UNAUTHORIZED);

    let as_amy = |request: TestRequest| request.insert_header(("cookie", amy.cookie()));
    let answer = send!(&app, as_amy(TestRequest::with_uri("/api/v1/auth/csrf")));
    let (_, token) = answer.body.split_once(r#""csrf_token":""#).unwrap();
    let token = token.split('"').next().unwrap().to_owned();

    for (path, status) in [
        ("/documents/1", StatusCode::OK),
        ("/documents/%31", StatusCode::OK),
        ("/documents/2", StatusCode::FORBIDDEN),
        ("/documents/zz", StatusCode::FORBIDDEN),
        ("/documents/1%2f", StatusCode::FORBIDDEN),
        ("/scoped/1", StatusCode::OK),
        ("/scoped/2", StatusCode::FORBIDDEN),
        // The scope's guard runs before the rest of the path is read.
        ("/outer/1", StatusCode::FORBIDDEN),
        ("/broken", StatusCode::SERVICE_UNAVAILABLE),
        ("/role", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(send!(&app, as_amy(TestRequest::with_uri(path))).status, status, "{path}");
    }

    // A guard on everything hands the request on whole, for the router to go on with.
    let everything = App::new()
        .route("/x/{id}", web::get().to(|_: CurrentUser, id: Path<u64>| async move { id.to_string() }))
        .wrap(requires_login())
        .wrap(IamLayer::new(test.web()));
    let everything = init_service(everything).await;
    assert_eq!(send!(&everything, as_amy(TestRequest::with_uri("/x/7"))).body, "7");

    let form = |fields: String| {
        as_amy(at(Method::POST, "/form"))
            .insert_header(("content-type", "application/x-www-form-urlencoded"))
            .insert_header(("content-length", fields.len().to_string()))
            .set_payload(fields)
    };
    let answer = send!(&app, form(format!("title=Quarter&csrf_token={token}")));
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "Quarter"));
    assert_eq!(send!(&app, form("title=Quarter".into())).status, StatusCode::FORBIDDEN);
}

/// What is done in somebody's name says who, from where as the proxies tell it, and under which request.
#[tokio::test]
async fn handlers_know_who_acts_and_from_where() {
    let behind = |web: iam_actix::WebIamBuilder| {
        web.trusted_proxies(TrustedProxies::parse("192.0.2.0/24").unwrap(), ForwardHeader::XForwardedFor)
    };
    let test = TestIam::builder().web(behind).build().await;
    let acts = async |actor: CurrentActor, id: RequestId| {
        let (account, address) = (actor.account().unwrap(), actor.client().address.unwrap());
        assert_eq!(actor.client().request_id.as_deref(), Some(&*id.0));
        format!("{account} {address}")
    };
    let app = App::new().route("/acts", web::get().to(acts)).wrap(IamLayer::new(test.web()));
    let app = init_service(app).await;
    let alice = test.signed_in("alice").await;
    let by_proxy = TestRequest::with_uri("/acts")
        .insert_header(("cookie", alice.cookie()))
        .insert_header(("x-forwarded-for", "198.51.100.7"));
    let answer = send!(&app, by_proxy);
    let said = format!("{} 198.51.100.7", test.account("alice").await);
    assert_eq!((answer.status, answer.body), (StatusCode::OK, said));
    assert_eq!(send!(&app, TestRequest::with_uri("/acts")).status, StatusCode::UNAUTHORIZED);
}
