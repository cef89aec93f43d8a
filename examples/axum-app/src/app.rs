//! The routes, each with its guard.

use std::convert::Infallible;

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Form, Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use example_host::{Documents, Ledger, Payment, pages};
use iam_axum::{
    CsrfToken, CurrentUser, GuardedRouter, Iam, IamLayer, Inventory, MaybeUser, ParentId, RequestId, WebIam,
    public, requires_login, requires_parent, requires_role, requires_step_up,
};
use serde::Deserialize;
use tracing::Instrument;

/// The routes, each with its guard.
fn routes(web: WebIam, documents: Documents) -> GuardedRouter {
    let readers = requires_role(["admin", "auditor"]);
    // No identity needed to say that we live.
    let probes = GuardedRouter::new()
        .get("/healthz", public(), || async { "ok" })
        .get("/readyz", public(), readyz)
        .with_state(web.iam().clone());
    GuardedRouter::new()
        .get("/", public(), home)
        .get("/reports", readers.clone(), reports)
        .post("/reports", readers, add_report)
        .get("/documents/{id}", requires_parent(document_parent), document)
        .get("/payroll", requires_step_up("payroll"), payroll)
        // Each proof is good for one payment ...
        .post("/payroll", requires_step_up("payroll").once(), pay_wages)
        .get("/transfers", requires_login(), transfers)
        // ... and here for this amount and this payee alone.
        .post("/transfers", requires_step_up("transfer").once().approving(["amount", "payee"]), transfer)
        .with_state(documents)
        .auth_routes(&web)
        .layer(DefaultBodyLimit::max(example_host::MAX_FORM_BYTES))
        .layer(middleware::from_fn(log_request))
        .layer(IamLayer::new(web))
        .merge(probes)
}

/// The application, to be served.
pub fn router(web: WebIam, documents: Documents) -> Router {
    routes(web, documents).into_router()
}

/// Which routes it has, and who may pass.
pub fn inventory(web: WebIam, documents: Documents) -> Inventory {
    routes(web, documents).inventory()
}

async fn home(MaybeUser(user): MaybeUser, csrf: CsrfToken) -> Html<String> {
    Html(pages::home(user.as_deref(), &csrf.0))
}

async fn reports(user: CurrentUser, csrf: CsrfToken) -> Html<String> {
    Html(pages::reports(&user, &csrf.0, None))
}

#[derive(Deserialize)]
struct NewReport {
    title: String,
}

async fn add_report(
    user: CurrentUser,
    csrf: CsrfToken,
    form: Result<Form<NewReport>, FormRejection>,
) -> Response {
    match form {
        Ok(Form(report)) => {
            (StatusCode::CREATED, Html(pages::reports(&user, &csrf.0, Some(&report.title)))).into_response()
        }
        Err(rejection) => {
            (rejection.status(), example_host::form_refused(rejection.status().as_u16())).into_response()
        }
    }
}

async fn document(State(documents): State<Documents>, Path(id): Path<u64>, user: CurrentUser) -> Response {
    match documents.get(id) {
        Some(document) => Html(pages::document(&user, &document.title)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// What `requires_parent` asks: whose document is it? A missing one is nobody's.
async fn document_parent(
    State(documents): State<Documents>,
    Path(id): Path<u64>,
) -> Result<Option<ParentId>, Infallible> {
    Ok(documents.get(id).map(|document| document.parent))
}

async fn payroll(State(documents): State<Documents>, user: CurrentUser, csrf: CsrfToken) -> Html<String> {
    Html(pages::payments(&user, &csrf.0, Ledger::Payroll, &documents))
}

async fn transfers(State(documents): State<Documents>, user: CurrentUser, csrf: CsrfToken) -> Html<String> {
    Html(pages::payments(&user, &csrf.0, Ledger::Transfers, &documents))
}

#[derive(Deserialize)]
struct NewPayment {
    amount: String,
    payee: String,
}

type PaymentForm = Result<Form<NewPayment>, FormRejection>;

async fn pay_wages(
    State(documents): State<Documents>,
    user: CurrentUser,
    csrf: CsrfToken,
    form: PaymentForm,
) -> Response {
    pay(Ledger::Payroll, &documents, &user, &csrf, form)
}

async fn transfer(
    State(documents): State<Documents>,
    user: CurrentUser,
    csrf: CsrfToken,
    form: PaymentForm,
) -> Response {
    pay(Ledger::Transfers, &documents, &user, &csrf, form)
}

fn pay(
    ledger: Ledger,
    documents: &Documents,
    user: &CurrentUser,
    csrf: &CsrfToken,
    form: PaymentForm,
) -> Response {
    match form {
        Ok(Form(NewPayment { amount, payee })) => {
            documents.pay(Payment { ledger, by: user.account(), amount, payee });
            Html(pages::paid(user, &csrf.0, ledger, documents)).into_response()
        }
        Err(rejection) => {
            (rejection.status(), example_host::form_refused(rejection.status().as_u16())).into_response()
        }
    }
}

async fn readyz(State(iam): State<Iam>) -> Response {
    let (status, text) = example_host::readiness(&iam).await;
    (StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), text).into_response()
}

/// Every log line of a request bears its id, which the answer and the audit log have, too.
async fn log_request(RequestId(id): RequestId, request: Request, next: Next) -> Response {
    let path = iam_axum::loggable_path(request.uri().path());
    let span = tracing::info_span!("request", id, method = %request.method(), path = &*path);
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
