//! The application under test.

use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::http::header::COOKIE;
use axum::routing::get;
use iam_axum::{CurrentUser, IamLayer, auth_routes, requires_login, requires_role, requires_step_up};
use iam_core::ports::{LoginIdentifier, Store};
use iam_core::protocol::{Activity, Authentication, Carrier, Claimant, Login, SessionToken};
use iam_core::{
    AccountId, Actor, Client, Iam, IamBuilder, KeyRing, Keys, NewAccount, PlainPassword, ProofMethod,
    Purpose, RoleName, SecretKey, Username,
};
use iam_store_sqlite::SqliteStore;

/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery staple";

/// From where requests come.
pub const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 50_000);

/// The store in a folder, made when it is not there.
pub async fn store(folder: &Path) -> SqliteStore {
    let store = SqliteStore::open(folder.join("iam.db")).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// An identity layer with the defaults of production.
pub fn builder(store: impl Store, base_url: &str) -> IamBuilder {
    let keys = Keys {
        secret: SecretKey::from_base64("3Kf0mZ0q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM=").unwrap(),
        ring: KeyRing::parse("Zk8s0Qh3vXn6Wb1yTg5LrJ2mPd7cFu9aEo4iKxVtBqY=").unwrap(),
    };
    Iam::builder(store, keys).base_url(base_url.parse().unwrap())
}

/// Adds somebody.
pub async fn add(iam: &Iam, name: &str, role: Option<&str>) -> AccountId {
    let service = Actor::service();
    let new = NewAccount::new(Username::parse(name).unwrap()).password(PlainPassword::new(PASSWORD).unwrap());
    let account = iam.accounts(&service).create(new).await.unwrap();
    if let Some(role) = role {
        iam.roles(&service).grant(account, &RoleName::parse(role).unwrap()).await.unwrap();
    }
    account
}

/// Signs somebody in; gives the cookie as browsers send it.
pub async fn session_cookie(iam: &Iam, name: &str) -> String {
    let identifier = LoginIdentifier::parse(name).unwrap();
    let login = Login {
        identifier: &identifier,
        password: PlainPassword::new(PASSWORD).unwrap(),
        device: None,
        trusted: None,
        carrier: Carrier::Cookie,
        stay_signed_in: false,
        replaces: None,
        client: &Client::at(PEER.ip()),
    };
    let signed_in = iam.protocol().login(login).await.unwrap();
    format!("iam_session={}", signed_in.token.expose().as_str())
}

/// Proves by the password, for `payroll`, who somebody is.
pub async fn prove(iam: &Iam, cookie: &str) {
    let text = cookie.trim_start_matches("iam_session=");
    let token = SessionToken::parse(text, Carrier::Cookie).unwrap();
    let client = Client::at(PEER.ip());
    let principal = match iam.protocol().authenticate(&token, Activity::Active, &client).await.unwrap() {
        Authentication::SignedIn(principal) => Some(principal),
        _ => None,
    };
    let principal = principal.unwrap();
    let claimant = Claimant::step_up(&principal, Purpose::parse("payroll").unwrap());
    let by = ProofMethod::Password;
    iam.protocol().verify(&claimant, &token, by, PASSWORD, &client).await.unwrap();
}

/// `/open` for everybody, `/me` for who is signed in, `/admin` for administrators, `/payroll` for who has proved it, and the family's own pages.
pub fn router(iam: &Iam) -> Router {
    Router::new()
        .route("/open", get(open))
        .route("/me", get(open).route_layer(requires_login()))
        .route("/admin", get(greet).route_layer(requires_role(["admin"])))
        .route(
            "/payroll",
            get(open).route_layer(requires_step_up("payroll").factors([ProofMethod::Password])),
        )
        .merge(auth_routes(iam))
        .layer(IamLayer::new(iam))
}

/// The same `/open` without any identity layer.
pub fn bare_router() -> Router {
    Router::new().route("/open", get(open))
}

/// A request as a server would hand it to the router.
pub fn request(path: &str, cookie: &str) -> Request<Body> {
    Request::get(path).header(COOKIE, cookie).extension(ConnectInfo(PEER)).body(Body::empty()).unwrap()
}

async fn open() -> &'static str {
    "hello"
}

async fn greet(user: CurrentUser) -> String {
    format!("hello {}", user.account())
}
