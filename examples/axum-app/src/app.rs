//! The routes, each with its guard.

use axum::Router;
use axum::extract::{Form, Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use iam_axum::{
    CsrfToken, CurrentUser, Iam, IamLayer, MaybeUser, Readiness, RequestId, WebIam, auth_routes,
    requires_parent, requires_role,
};
use serde::Deserialize;
use tracing::Instrument;

use crate::documents::{Documents, document_parent};
use crate::pages;

/// The routes, each with its guard.
pub fn router(web: WebIam, documents: Documents) -> Router {
    let iam = web.iam().clone();
    let guard_documents = requires_parent(document_parent).with_state(documents.clone());
    Router::new()
        .route("/", get(home))
        .route("/reports", get(reports).post(add_report).route_layer(requires_role(["admin", "auditor"])))
        .route("/documents/{id}", get(document).route_layer(guard_documents))
        .route("/payroll", get(payroll).post(payroll))
        .with_state(documents)
        .merge(auth_routes(&web))
        .route_layer(middleware::from_fn(log_request))
        .layer(IamLayer::new(web))
        // No identity needed to say that we live.
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz).with_state(iam))
}

async fn home(MaybeUser(user): MaybeUser, csrf: CsrfToken) -> Html<String> {
    pages::home(user.as_deref(), &csrf)
}

async fn reports(user: CurrentUser, csrf: CsrfToken) -> Html<String> {
    pages::reports(&user, &csrf, None)
}

#[derive(Deserialize)]
struct NewReport {
    title: String,
}

async fn add_report(user: CurrentUser, csrf: CsrfToken, Form(report): Form<NewReport>) -> Response {
    (StatusCode::CREATED, pages::reports(&user, &csrf, Some(&report.title))).into_response()
}

async fn document(State(documents): State<Documents>, Path(id): Path<u64>, user: CurrentUser) -> Response {
    match documents.get(id) {
        Some(document) => pages::document(&user, &document.title).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Waits for the step-up guard.
async fn payroll() -> StatusCode {
    StatusCode::NOT_IMPLEMENTED
}

async fn readyz(State(iam): State<Iam>) -> (StatusCode, &'static str) {
    match iam.readiness().await {
        Ok(Readiness::Ready) => (StatusCode::OK, "ready"),
        Ok(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database was not migrated"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database can't be reached"),
    }
}

/// Every log line of a request bears its id, which the answer and the audit log have, too.
async fn log_request(RequestId(id): RequestId, request: Request, next: Next) -> Response {
    let span = tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
    async move {
        let mut response = next.run(request).await;
        tracing::info!(status = response.status().as_u16(), "answered");
        if let Ok(id) = id.parse() {
            response.headers_mut().insert("x-request-id", id);
        }
        response
    }
    .instrument(span)
    .await
}
