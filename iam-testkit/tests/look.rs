//! A service with a look of its own, on both frameworks: its pages show it, their forms work, and nothing gets less strict by it.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use actix_web::App;
use actix_web::http::Method;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::{Extension, Router, http};
use iam_axum::Theme;
use iam_testkit::{PASSWORD, PEER, TestIam};
use tower::ServiceExt;

struct Request {
    method: &'static str,
    path: &'static str,
    cookie: Option<String>,
    form: String,
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The first cookie that is set.
    fn cookie(&self) -> Option<String> {
        self.header("set-cookie").split(';').next().filter(|pair| !pair.is_empty()).map(str::to_owned)
    }

    fn nonce(&self) -> &str {
        between(self.header("content-security-policy"), "'nonce-", "'")
    }

    /// Without what differs in each answer.
    fn policy(&self) -> String {
        self.header("content-security-policy").replace(self.nonce(), "NONCE")
    }

    /// The token of the page's first form.
    fn csrf_token(&self) -> &str {
        between(&self.body, "name=\"csrf_token\" value=\"", "\"")
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

fn read(path: &'static str, cookie: Option<String>) -> Request {
    Request { method: "GET", path, cookie, form: String::new() }
}

fn post(path: &'static str, cookie: Option<String>, form: String) -> Request {
    Request { method: "POST", path, cookie, form }
}

const LAYOUT: &str = r#"<!doctype html>
<html lang="{{ t("page.lang") }}"><head><title>{% block title %}{% endblock %}</title>
<style nonce="{{ nonce }}">{% include "style.css" %}</style></head>
<body><header>{% include "brand.html" %}</header><main>{% block content %}{% endblock %}</main></body></html>"#;

/// What every page shows.
const EVERYWHERE: [&str; 2] = ["<p class=\"acme\">Acme &amp; Sons</p>", ".acme { color: rebeccapurple }"];

async fn themed() -> TestIam {
    let theme = Theme::builder()
        .template("layout.html", LAYOUT)
        .partial("brand.html", "<p class=\"acme\">{{ service }}</p>")
        .more_style(".acme { color: rebeccapurple }")
        .text("login.title", "Welcome back")
        .text("message.forbidden.text", "Call the desk on extension 7.")
        .text("account.title", "You and Acme")
        .build()
        .unwrap();
    TestIam::builder().with(|iam| iam.service("Acme & Sons")).web(|web| web.theme(theme)).build().await
}

/// `send` sends to the service with the theme, `plain` to one without.
async fn check(
    test: &TestIam,
    send: impl AsyncFn(Request) -> Answer,
    plain: impl AsyncFn(Request) -> Answer,
) {
    test.account("alice").await;
    let login = send(read("/auth/login", None)).await;
    assert_eq!(login.status, 200);
    assert!(login.body.contains("<h1>Welcome back</h1>"), "{}", login.body);

    // The token of the form is all that this request shows: no `Origin`, no `Sec-Fetch-Site`.
    let pre = login.cookie();
    let fields = format!("username=alice&password={}", PASSWORD.replace(' ', "+"));
    let forged = send(post("/auth/login", pre.clone(), fields.clone())).await;
    assert_ne!(forged.status, 303, "without its token");
    assert!(forged.body.contains("<h1>Welcome back</h1>"), "{}", forged.body);
    let fields = format!("{fields}&csrf_token={}", login.csrf_token());
    let signed_in = send(post("/auth/login", pre, fields)).await;
    assert_eq!(signed_in.status, 303, "{}", signed_in.body);
    let cookies = signed_in.headers.iter().filter(|(name, _)| name == "set-cookie");
    let mut cookies = cookies.map(|(_, value)| value.split(';').next().unwrap());
    let session = cookies.find(|pair| pair.starts_with("iam_session=")).map(str::to_owned);
    assert!(session.is_some(), "{:?}", signed_in.headers);

    let refused = send(read("/reports", session.clone())).await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("Call the desk on extension 7."), "{}", refused.body);
    let account = send(read("/auth/account", session.clone())).await;
    assert_eq!(account.status, 200);
    assert!(account.body.contains("<h1>You and Acme</h1>"), "{}", account.body);

    let policy = plain(read("/auth/login", None)).await.policy();
    assert!(policy.contains("style-src 'nonce-NONCE'"), "{policy}");
    for page in [&login, &forged, &refused, &account] {
        for part in EVERYWHERE {
            assert!(page.body.contains(part), "{part}: {}", page.body);
        }
        assert_eq!(page.policy(), policy);
        assert!(page.body.contains(&format!("<style nonce=\"{}\">", page.nonce())), "{}", page.body);
    }

    let left =
        send(post("/auth/logout", session.clone(), format!("csrf_token={}", account.csrf_token()))).await;
    assert_eq!(left.status, 303, "{}", left.body);
    assert_eq!(send(read("/auth/account", session)).await.status, 303, "asked to sign in");
}

fn on_axum(test: &TestIam) -> impl AsyncFn(Request) -> Answer {
    let guarded = get(async || "reports").route_layer(iam_axum::requires_role(["auditor"]));
    let app: Router = Router::new()
        .route("/reports", guarded)
        .merge(iam_axum::auth_routes(test.web()))
        .layer(iam_axum::IamLayer::new(test.web()))
        .layer(Extension(ConnectInfo(PEER)));
    async move |request: Request| {
        let mut builder = http::Request::builder()
            .method(request.method)
            .uri(request.path)
            .header("accept", "text/html")
            .header("content-type", "application/x-www-form-urlencoded");
        if let Some(cookie) = request.cookie {
            builder = builder.header("cookie", cookie);
        }
        let response = app.clone().oneshot(builder.body(Body::from(request.form)).unwrap()).await.unwrap();
        let headers = response.headers().iter();
        Answer {
            status: response.status().as_u16(),
            headers: headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect(),
            body: String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap(),
        }
    }
}

/// A macro, because actix-web does not say what the type of an application is.
macro_rules! on_actix {
    ($test:expr) => {{
        let guarded =
            actix_web::web::get().to(async || "reports").wrap(iam_actix::requires_role(["auditor"]));
        let app = App::new()
            .route("/reports", guarded)
            .configure(iam_actix::auth_routes($test.web()))
            .wrap(iam_actix::IamLayer::new($test.web()));
        let app = init_service(app).await;
        async move |request: Request| {
            let mut test = TestRequest::with_uri(request.path)
                .method(Method::from_bytes(request.method.as_bytes()).unwrap())
                .peer_addr(PEER)
                .insert_header(("accept", "text/html"))
                .insert_header(("content-type", "application/x-www-form-urlencoded"))
                .set_payload(request.form);
            if let Some(cookie) = request.cookie {
                test = test.insert_header(("cookie", cookie));
            }
            let response = call_service(&app, test.to_request()).await;
            let headers = response.headers().iter();
            Answer {
                status: response.status().as_u16(),
                headers: headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect(),
                body: String::from_utf8(read_body(response).await.to_vec()).unwrap(),
            }
        }
    }};
}

#[tokio::test]
async fn pages_on_axum() {
    let (test, plain) = tokio::join!(themed(), TestIam::new());
    check(&test, on_axum(&test), on_axum(&plain)).await;
}

#[tokio::test]
async fn pages_on_actix() {
    let (test, plain) = tokio::join!(themed(), TestIam::new());
    check(&test, on_actix!(test), on_actix!(plain)).await;
}
