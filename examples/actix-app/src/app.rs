//! The routes, each with its guard.

use std::convert::Infallible;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::{InternalError, UrlencodedError};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{Data, Form, FormConfig, Html, Path, ServiceConfig};
use actix_web::{Error, HttpRequest, HttpResponse, Responder, web};
use example_host::{Documents, Ledger, Payment};
use iam_actix::{
    CsrfToken, CurrentUser, GuardedRouter, IamLayer, Inventory, MaybeUser, ParentId, RequestId, WebIam,
    public, requires_login, requires_parent, requires_role, requires_step_up,
};
use serde::Deserialize;
use tracing::Instrument;

/// The routes, each with its guard.
fn pages(web: &WebIam) -> GuardedRouter {
    let readers = requires_role(["admin", "auditor"]);
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
        .auth_routes(web)
}

/// No identity needed to say that we live.
fn probes() -> GuardedRouter {
    GuardedRouter::new().get("/healthz", public(), || async { "ok" }).get("/readyz", public(), readyz)
}

/// Which routes the application has, and who may pass.
pub fn inventory(web: &WebIam) -> Inventory {
    pages(web).merge(probes()).inventory()
}

/// The application, to be served.
pub fn routes(web: &WebIam, documents: &Documents) -> impl FnOnce(&mut ServiceConfig) {
    let (web, documents) = (web.clone(), documents.clone());
    move |config| {
        let forms = FormConfig::default().limit(example_host::MAX_FORM_BYTES).error_handler(form_refused);
        let pages = web::scope("")
            .configure(pages(&web).into_config())
            .wrap(from_fn(log_request))
            .wrap(IamLayer::new(&web));
        config
            .app_data(Data::new(documents))
            .app_data(Data::new(web))
            .app_data(forms)
            .configure(probes().into_config())
            .service(pages);
    }
}

async fn home(MaybeUser(user): MaybeUser, csrf: CsrfToken) -> Html {
    Html::new(example_host::pages::home(user.as_deref(), &csrf.0))
}

async fn reports(user: CurrentUser, csrf: CsrfToken) -> Html {
    Html::new(example_host::pages::reports(&user, &csrf.0, None))
}

#[derive(Deserialize)]
struct NewReport {
    title: String,
}

async fn add_report(user: CurrentUser, csrf: CsrfToken, report: Form<NewReport>) -> impl Responder {
    Html::new(example_host::pages::reports(&user, &csrf.0, Some(&report.title)))
        .customize()
        .with_status(StatusCode::CREATED)
}

async fn document(documents: Data<Documents>, id: Path<u64>, user: CurrentUser) -> Option<Html> {
    documents.get(*id).map(|document| Html::new(example_host::pages::document(&user, &document.title)))
}

/// What `requires_parent` asks: whose document is it? A missing one is nobody's.
async fn document_parent(documents: Data<Documents>, id: Path<u64>) -> Result<Option<ParentId>, Infallible> {
    Ok(documents.get(*id).map(|document| document.parent))
}

async fn payroll(documents: Data<Documents>, user: CurrentUser, csrf: CsrfToken) -> Html {
    Html::new(example_host::pages::payments(&user, &csrf.0, Ledger::Payroll, &documents))
}

async fn transfers(documents: Data<Documents>, user: CurrentUser, csrf: CsrfToken) -> Html {
    Html::new(example_host::pages::payments(&user, &csrf.0, Ledger::Transfers, &documents))
}

#[derive(Deserialize)]
struct NewPayment {
    amount: String,
    payee: String,
}

async fn pay_wages(
    documents: Data<Documents>,
    user: CurrentUser,
    csrf: CsrfToken,
    form: Form<NewPayment>,
) -> Html {
    pay(Ledger::Payroll, &documents, &user, &csrf, form)
}

async fn transfer(
    documents: Data<Documents>,
    user: CurrentUser,
    csrf: CsrfToken,
    form: Form<NewPayment>,
) -> Html {
    pay(Ledger::Transfers, &documents, &user, &csrf, form)
}

fn pay(
    ledger: Ledger,
    documents: &Documents,
    user: &CurrentUser,
    csrf: &CsrfToken,
    Form(NewPayment { amount, payee }): Form<NewPayment>,
) -> Html {
    documents.pay(Payment { ledger, by: user.account(), amount, payee });
    Html::new(example_host::pages::paid(user, &csrf.0, ledger, documents))
}

async fn readyz(web: Data<WebIam>) -> impl Responder {
    let (status, text) = example_host::readiness(web.iam()).await;
    text.customize().with_status(StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE))
}

/// A form that can't be read, with the status that says why: actix-web says 400 to most.
fn form_refused(error: UrlencodedError, _: &HttpRequest) -> Error {
    let status = match error {
        UrlencodedError::Overflow { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        UrlencodedError::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        UrlencodedError::Parse(_) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::BAD_REQUEST,
    };
    let text = example_host::form_refused(status.as_u16());
    let response = HttpResponse::build(status).content_type("text/plain; charset=utf-8").body(text);
    InternalError::from_response(error, response).into()
}

/// Every log line of a request bears its id, which the answer and the audit log have, too.
async fn log_request(
    RequestId(id): RequestId,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let path = iam_actix::loggable_path(request.uri().path());
    let span = tracing::info_span!("request", id, method = %request.method(), path = &*path);
    async move {
        let mut response = next.call(request).await?;
        tracing::info!(status = response.status().as_u16(), "answered");
        if let Ok(id) = HeaderValue::try_from(id) {
            response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
        }
        Ok(response)
    }
    .instrument(span)
    .await
}
