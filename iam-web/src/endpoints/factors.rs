//! The own factors: set one up, name it, take it away, draw recovery codes. As pages and as JSON.

use iam_core::protocol::{Code, Enrolled, MethodId, Renewed};
use iam_core::{
    Actor, Channel, EmailAddress, Error, FactorKind, FactorSummary, Invalid, MethodName, Principal, Problem,
    SecondFactorRefusal, Username, typed,
};
use minijinja::{Value, context};
use serde_json::{Map, json};

use super::account::{Said, minute};
use super::second_factor::{asked_json, malformed, rejected};
use crate::context::{Caller, RequestContext};
use crate::fields::FieldError;
use crate::message::{WebRequest, WebResponse};
use crate::next::LocalTarget;
use crate::problem::{Case, retry_after, whole_seconds};
use crate::qr;

/// The page that asks what is needed to set up a factor.
struct NewFactorPage<'a> {
    kind: FactorKind,
    name: &'a str,
    email: &'a str,
    own: OwnAddress,
    /// Where to go once it is there.
    next: Option<LocalTarget>,
}

/// The account's address, as far as codes go to it.
#[derive(Default)]
struct OwnAddress {
    /// The only one that codes can go to.
    verified: Option<EmailAddress>,
    /// One to begin with.
    other: Option<EmailAddress>,
}

/// What a person types to set up a factor.
struct NewFactor {
    kind: FactorKind,
    name: MethodName,
    email: Option<EmailAddress>,
}

impl RequestContext {
    // -- pages --

    /// Asks for a name, or an address. Whoever has to prove first who they are does so before they type anything.
    pub(super) async fn show_new_factor(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let Some(principal) = caller.enroller() else { return self.not_signed_in(request, caller).await };
        let query = match self.query(request, &["kind", "next"]) {
            Ok(query) => query,
            Err(response) => return *response,
        };
        let Some(kind) = query.get("kind").and_then(FactorKind::parse) else {
            return self.refusal(request, Case::NotFound);
        };
        if let Err(error) = self.iam().own_account(principal, &caller.client).may_change_factors().await {
            return self.prove_first(request, &error, &request.target);
        }
        let own = match self.own_address(principal, kind).await {
            Ok(own) => own,
            Err(error) => return self.failed(request, &error),
        };
        let email = own.other.clone();
        let email = email.as_ref().map_or("", EmailAddress::as_str);
        let next = self.place(query.get("next"));
        let page = NewFactorPage { kind, name: "", email, own, next };
        self.new_factor_page(request, caller, principal, &page, 200, &Said::default())
    }

    pub(super) async fn submit_new_factor(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, form) = match self.form_of_enroller(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let kind = form.get("kind").and_then(FactorKind::parse);
        let Some(kind) = kind.filter(|kind| kind.is_set_up()) else {
            return self.refusal(request, Case::BadRequest);
        };
        let (name, email) = (form.get("name").unwrap_or_default(), form.get("email").unwrap_or_default());
        let own = match self.own_address(principal, kind).await {
            Ok(own) => own,
            Err(error) => return self.failed(request, &error),
        };
        let next = self.place(form.get("next"));
        let page = NewFactorPage { kind, name, email, own, next };
        let again =
            |status, said: &Said<'_>| self.new_factor_page(request, caller, principal, &page, status, said);
        let new = match NewFactor::parse(kind, name, &self.unnamed(kind), email) {
            Ok(new) => new,
            Err(invalid) => return again(422, &Said { invalid: &invalid, ..Said::default() }),
        };
        match self.enrol(caller, principal, &new).await {
            Ok(enrolled) => {
                let confirming = Confirming::of(&enrolled, kind, page.next.clone());
                self.confirm_page(request, caller, principal, &confirming, 200, None)
            }
            Err(Error::Invalid(invalid)) => again(422, &Said { invalid: &[invalid], ..Said::default() }),
            Err(error @ (Error::Stale { .. } | Error::SecondFactor(SecondFactorRefusal::Gone))) => {
                let mut back = format!("{}/factors/new?kind={kind}", self.account_path());
                if let Some(next) = &page.next {
                    back.push_str("&next=");
                    back.push_str(&crate::respond::percent_encode(next.as_str()));
                }
                self.prove_first(request, &error, &back)
            }
            Err(error @ (Error::Throttled { .. } | Error::Conflict(_))) => {
                let text = self.why_no_factor(&error);
                again(Case::of(&error).status(), &Said { error: Some(text), ..Said::default() })
            }
            Err(error) => self.failed(request, &error),
        }
    }

    pub(super) async fn submit_confirm_factor(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, form) = match self.form_of_enroller(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let id = form.get("factor").and_then(|id| id.parse::<MethodId>().ok());
        let kind = form.get("kind").and_then(FactorKind::parse);
        let (Some(id), Some(kind)) = (id, kind) else { return self.refusal(request, Case::BadRequest) };
        let code = form.get("code").unwrap_or_default();
        let next = self.place(form.get("next"));
        match self.confirm(request, caller, principal, id, code).await {
            Ok(renewed) => {
                if let Err(error) = self.keep_renewed(&renewed, principal) {
                    return self.failed(request, &error);
                }
                match next {
                    Some(next) => self.own(request, WebResponse::redirect(303, next.as_str())),
                    None => self.to_account(request, "factor_added"),
                }
            }
            Err(error) if is_about_code(&error) => {
                // The secret is shown once: who has not scanned it begins again.
                let confirming = Confirming { id, kind, secret: None, destination: None, next };
                let key = match &error {
                    Error::Invalid(invalid) => malformed(Some(kind.into()), invalid),
                    _ => rejected(Some(kind.into())),
                };
                let (status, text) = (Case::of(&error).status(), self.inner().pages.text(key));
                self.confirm_page(request, caller, principal, &confirming, status, Some(text))
            }
            Err(Error::SecondFactor(_) | Error::NotFound(_) | Error::Conflict(_)) => {
                self.to_account(request, "factor_late")
            }
            Err(Error::Invalid(_)) => self.to_account(request, "factor_taken"),
            Err(error) => self.prove_first(request, &error, &self.account_path()),
        }
    }

    pub(super) async fn submit_rename_factor(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, form) = match self.form_of_somebody(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let Some(id) = form.get("factor").and_then(|id| id.parse::<MethodId>().ok()) else {
            return self.refusal(request, Case::BadRequest);
        };
        let Ok(name) = MethodName::parse(form.get("name").unwrap_or_default()) else {
            return self.to_account(request, "factor_name");
        };
        match self.iam().own_account(principal, &caller.client).rename(id, &name).await {
            Ok(renamed) => self.to_account(request, if renamed { "factor_renamed" } else { "factor_late" }),
            Err(error) => self.prove_first(request, &error, &self.account_path()),
        }
    }

    pub(super) async fn submit_remove_factor(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, form) = match self.form_of_somebody(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let Some(id) = form.get("factor").and_then(|id| id.parse::<MethodId>().ok()) else {
            return self.refusal(request, Case::BadRequest);
        };
        match self.remove(request, caller, principal, id).await {
            Ok(renewed) => {
                if let Err(error) = self.keep_renewed(&renewed, principal) {
                    return self.failed(request, &error);
                }
                self.to_account(request, "factor_removed")
            }
            Err(Error::NotFound(_)) => self.to_account(request, "factor_late"),
            Err(error) => self.prove_first(request, &error, &self.account_path()),
        }
    }

    pub(super) async fn submit_recovery_codes(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let principal = match self.form_of_somebody(request, caller).await {
            Ok((principal, _)) => principal,
            Err(response) => return *response,
        };
        match self.recovery_codes(caller, principal).await {
            Ok(codes) => {
                let codes: Vec<String> = codes.iter().map(grouped).collect();
                // Found again in a year, among others: whose they are, and where.
                let names = [("username", principal.username()), ("service", self.iam().service())];
                let heading = self.inner().pages.text_with("factors.codes.file", &names);
                let text = format!("{heading}\r\n\r\n{}\r\n", codes.join("\r\n"));
                let values = context! {
                    codes => codes,
                    download => format!("data:text/plain;charset=utf-8,{}", crate::respond::percent_encode(&text)),
                    username => principal.username(),
                    account_href => self.account_path(),
                };
                self.personal_page(request, caller, 200, "codes.html", "factors", values, &Said::default())
            }
            Err(error) => self.prove_first(request, &error, &self.account_path()),
        }
    }

    fn new_factor_page(
        &self,
        request: &WebRequest,
        caller: &Caller,
        principal: &Principal,
        page: &NewFactorPage<'_>,
        status: u16,
        said: &Said<'_>,
    ) -> WebResponse {
        let NewFactorPage { kind, name, email, own, next } = page;
        if !self.iam().offered_factors().contains(kind) || !kind.is_set_up() {
            return self.refusal(request, Case::NotFound);
        }
        let values = context! {
            kind => kind.as_str(),
            name => *name,
            email => *email,
            own_email => own.verified.as_ref().map(EmailAddress::as_str),
            username => principal.username(),
            action => format!("{}/factors/new", self.account_path()),
            next => next.as_ref().map(LocalTarget::as_str),
            cancel => self.account_path(),
        };
        self.personal_page(request, caller, status, "factor.html", "factors", values, said)
    }

    fn confirm_page(
        &self,
        request: &WebRequest,
        caller: &Caller,
        principal: &Principal,
        confirming: &Confirming,
        status: u16,
        code_error: Option<String>,
    ) -> WebResponse {
        let (typed, svg) = match &confirming.secret {
            Some((typed, uri)) => (Some(grouped_secret(typed)), qr::svg(uri).map(Value::from_safe_string)),
            None => (None, None),
        };
        let values = context! {
            factor => confirming.id.to_string(),
            kind => confirming.kind.as_str(),
            typed => typed,
            qr => svg,
            destination => confirming.destination.as_deref(),
            code_error => code_error,
            username => principal.username(),
            action => format!("{}/factors/confirm", self.account_path()),
            next => confirming.next.as_ref().map(LocalTarget::as_str),
            cancel => self.account_path(),
        };
        self.personal_page(request, caller, status, "confirm.html", "factors", values, &Said::default())
    }

    /// The factors' part of the account page.
    pub(super) async fn factors_values(
        &self,
        principal: &Principal,
        caller: &Caller,
    ) -> Result<Value, Error> {
        let (factors, codes_left) = self.iam().own_account(principal, &caller.client).factors().await?;
        let pages = &self.inner().pages;
        let account = self.account_path();
        let offered = self.iam().offered_factors();
        let has = |kind| factors.iter().any(|factor| factor.kind == kind);
        let listed: Vec<Value> = factors
            .iter()
            .map(|factor| {
                context! {
                    id => factor.id.to_string(),
                    kind => pages.text_or(&format!("factors.kind.{}", factor.kind), factor.kind.as_str()),
                    name => factor.name.as_str(),
                    confirmed => minute(factor.confirmed_at),
                    last_used => factor.last_used_at.map(minute),
                }
            })
            .collect();
        let addable: Vec<Value> = offered
            .iter()
            .filter(|kind| kind.is_set_up() && kind.is_typed() && !(kind.is_single() && has(**kind)))
            .map(|kind| {
                context! {
                    href => format!("{account}/factors/new?kind={kind}"),
                    label => pages.text(&format!("factors.add.{kind}")),
                }
            })
            .collect();
        Ok(context! {
            offered => !offered.is_empty(),
            listed => listed,
            addable => addable,
            codes => offered.iter().any(|kind| kind.is_list()) && !factors.is_empty(),
            codes_left => codes_left,
            codes_action => format!("{account}/recovery-codes"),
            remove_action => format!("{account}/factors/remove"),
            rename_action => format!("{account}/factors/rename"),
            trusted_for => self.trust_time().filter(|_| !factors.is_empty()),
            forget_action => format!("{account}/trusted-devices/forget"),
        })
    }

    fn why_no_factor(&self, error: &Error) -> String {
        let pages = &self.inner().pages;
        match error {
            Error::Throttled { .. } => {
                let wait = pages.wait_text(retry_after(error).map_or(1, whole_seconds).max(1));
                pages.text_with("factors.throttled", &[("wait", &wait)])
            }
            _ => pages.text("factors.too_many"),
        }
    }

    // -- JSON --

    pub(super) async fn api_factors(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let Some(principal) = caller.enroller() else { return self.api_not_signed_in(request, caller).await };
        match self.iam().own_account(principal, &caller.client).factors().await {
            Ok((factors, codes_left)) => {
                let factors: Vec<_> = factors.iter().map(factor_json).collect();
                self.json(request, 200, &json!({ "factors": factors, "recovery_codes_left": codes_left }))
            }
            Err(error) => self.api_failed(request, &error),
        }
    }

    pub(super) async fn api_new_factor(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, object) = match self.object_of_enroller(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let mut fields = object.fields();
        let kind = fields.required_string("kind");
        let (name, email) = (fields.optional_string("name"), fields.optional_string("email"));
        if let Err(error) = fields.finish() {
            return self.bad_api_body(request, error);
        }
        let kind = kind.and_then(|kind| FactorKind::parse(&kind));
        let Some(kind) = kind.filter(|kind| kind.is_set_up()) else {
            let invalid = Invalid { field: "kind", problem: Problem::Malformed };
            return self.problem(request, Case::Invalid, &[FieldError::from(&invalid)]);
        };
        let text = |value: &Option<zeroize::Zeroizing<String>>| {
            value.as_ref().map_or("", |text| text.as_str()).to_owned()
        };
        let new = match NewFactor::parse(kind, &text(&name), &self.unnamed(kind), &text(&email)) {
            Ok(new) => new,
            Err(invalid) => {
                let errors: Vec<FieldError> = invalid.iter().map(FieldError::from).collect();
                return self.problem(request, Case::Invalid, &errors);
            }
        };
        match self.enrol(caller, principal, &new).await {
            Ok(enrolled) => {
                let mut answer = Map::new();
                answer.insert("id".to_owned(), enrolled.id.to_string().into());
                answer.insert("kind".to_owned(), kind.as_str().into());
                if let Some(secret) = &enrolled.secret {
                    answer.insert("secret".to_owned(), secret.typed.as_str().into());
                    answer.insert("otpauth_uri".to_owned(), secret.uri.as_str().into());
                }
                if let Some(asked) = &enrolled.asked {
                    answer.insert("challenge".to_owned(), asked_json(asked));
                }
                self.json(request, 201, &answer.into())
            }
            Err(error) => self.api_failed(request, &error),
        }
    }

    pub(super) async fn api_confirm_factor(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, object) = match self.object_of_enroller(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let mut fields = object.fields();
        let code = fields.required_string("code");
        if let Err(error) = fields.finish() {
            return self.bad_api_body(request, error);
        }
        let Some(id) = method_in_path(request, 1) else { return self.problem(request, Case::NotFound, &[]) };
        match self.confirm(request, caller, principal, id, &code.unwrap_or_default()).await {
            Ok(renewed) => self.renewed(request, caller, &renewed.token, renewed.device.as_ref()),
            Err(error) => self.api_failed(request, &error),
        }
    }

    pub(super) async fn api_rename_factor(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, object) = match self.object_of_somebody(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let mut fields = object.fields();
        let name = fields.required_string("name");
        if let Err(error) = fields.finish() {
            return self.bad_api_body(request, error);
        }
        let name = match MethodName::parse(&name.unwrap_or_default()) {
            Ok(name) => name,
            Err(invalid) => return self.problem(request, Case::Invalid, &[FieldError::from(&invalid)]),
        };
        let Some(id) = method_in_path(request, 0) else { return self.problem(request, Case::NotFound, &[]) };
        match self.iam().own_account(principal, &caller.client).rename(id, &name).await {
            Ok(true) => self.own(request, WebResponse::new(204)),
            Ok(false) => self.problem(request, Case::NotFound, &[]),
            Err(error) => self.api_failed(request, &error),
        }
    }

    pub(super) async fn api_remove_factor(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let principal = match self.api_caller(request, caller).await {
            Ok(principal) => principal,
            Err(response) => return *response,
        };
        let Some(id) = method_in_path(request, 0) else { return self.problem(request, Case::NotFound, &[]) };
        match self.remove(request, caller, principal, id).await {
            Ok(renewed) => self.renewed(request, caller, &renewed.token, renewed.device.as_ref()),
            Err(error) => self.api_failed(request, &error),
        }
    }

    pub(super) async fn api_recovery_codes(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        // Nothing need be said; what is said is said in JSON.
        let principal = if request.body.is_empty() {
            self.api_caller(request, caller).await
        } else {
            match self.object_of_somebody(request, caller).await {
                Ok((principal, object)) => match object.fields().finish() {
                    Ok(()) => Ok(principal),
                    Err(error) => Err(Box::new(self.bad_api_body(request, error))),
                },
                Err(response) => Err(response),
            }
        };
        let principal = match principal {
            Ok(principal) => principal,
            Err(response) => return *response,
        };
        match self.recovery_codes(caller, principal).await {
            Ok(codes) => {
                let codes: Vec<String> = codes.iter().map(grouped).collect();
                self.json(request, 201, &json!({ "recovery_codes": codes }))
            }
            Err(error) => self.api_failed(request, &error),
        }
    }

    // -- both --

    /// For codes by e-mail, the account's address; for others it is not looked up.
    async fn own_address(&self, principal: &Principal, kind: FactorKind) -> Result<OwnAddress, Error> {
        if kind.channel() != Some(Channel::Email) {
            return Ok(OwnAddress::default());
        }
        let username = Username::parse(principal.username())?;
        let account = self.iam().accounts(&Actor::service()).by_username(&username).await?;
        let is_verified = account.as_ref().is_some_and(|account| account.email_verified_at.is_some());
        let address = account.and_then(|account| account.email);
        Ok(if is_verified {
            OwnAddress { verified: address, other: None }
        } else {
            OwnAddress { verified: None, other: address }
        })
    }

    /// What a factor is called that was given no name: as people know its kind.
    fn unnamed(&self, kind: FactorKind) -> String {
        self.inner().pages.text(&format!("factors.kind.{kind}"))
    }

    async fn enrol(
        &self,
        caller: &Caller,
        principal: &Principal,
        new: &NewFactor,
    ) -> Result<Enrolled, Error> {
        let token = caller.token.as_ref().ok_or(Error::Credentials)?;
        let NewFactor { kind, name, email } = new;
        self.iam().own_account(principal, &caller.client).enrol(token, *kind, name, email.as_ref()).await
    }

    async fn confirm(
        &self,
        request: &WebRequest,
        caller: &Caller,
        principal: &Principal,
        id: MethodId,
        code: &str,
    ) -> Result<Renewed, Error> {
        let token = caller.token.as_ref().ok_or(Error::Credentials)?;
        let device = self.note_of(request, caller);
        self.iam().own_account(principal, &caller.client).confirm(token, id, code, device.as_ref()).await
    }

    async fn remove(
        &self,
        request: &WebRequest,
        caller: &Caller,
        principal: &Principal,
        id: MethodId,
    ) -> Result<Renewed, Error> {
        let token = caller.token.as_ref().ok_or(Error::Credentials)?;
        let device = self.note_of(request, caller);
        self.iam().own_account(principal, &caller.client).remove(token, id, device.as_ref()).await
    }

    async fn recovery_codes(&self, caller: &Caller, principal: &Principal) -> Result<Vec<Code>, Error> {
        let token = caller.token.as_ref().ok_or(Error::Credentials)?;
        self.iam().own_account(principal, &caller.client).new_recovery_codes(token).await
    }
}

impl NewFactor {
    /// All that is wrong, at once. What was given no name is called `unnamed`.
    fn parse(kind: FactorKind, name: &str, unnamed: &str, email: &str) -> Result<Self, Vec<Invalid>> {
        let name = if name.trim().is_empty() {
            // A host's text may be anything.
            MethodName::parse(unnamed).or_else(|_| MethodName::parse(kind.as_str()))
        } else {
            MethodName::parse(name)
        };
        let email =
            (!email.trim().is_empty()).then(|| EmailAddress::parse(typed::name(email.trim()))).transpose();
        match (name, email) {
            (Ok(name), Ok(email)) => Ok(Self { kind, name, email }),
            (name, email) => Err([name.err(), email.err()].into_iter().flatten().collect()),
        }
    }
}

/// Whether another code may do.
fn is_about_code(error: &Error) -> bool {
    match error {
        Error::Invalid(invalid) => invalid.field == "code",
        error => matches!(error, Error::SecondFactor(SecondFactorRefusal::Rejected { .. })),
    }
}

/// A factor that waits to be confirmed.
struct Confirming {
    id: MethodId,
    kind: FactorKind,
    secret: Option<(String, String)>,
    destination: Option<String>,
    next: Option<LocalTarget>,
}

impl Confirming {
    fn of(enrolled: &Enrolled, kind: FactorKind, next: Option<LocalTarget>) -> Self {
        let secret =
            enrolled.secret.as_ref().map(|secret| (secret.typed.to_string(), secret.uri.to_string()));
        let destination = enrolled.asked.as_ref().and_then(|asked| asked.destination.clone());
        Self { id: enrolled.id, kind, secret, destination, next }
    }
}

fn factor_json(factor: &FactorSummary) -> serde_json::Value {
    json!({
        "id": factor.id.to_string(),
        "kind": factor.kind.as_str(),
        "name": factor.name.as_str(),
        "confirmed_at": factor.confirmed_at.to_string(),
        "last_used_at": factor.last_used_at.map(|at| at.to_string()),
    })
}

/// The id in `.../factors/{id}`, or so many parts before the end.
fn method_in_path(request: &WebRequest, from_end: usize) -> Option<MethodId> {
    let path = request.target.split('?').next().unwrap_or_default();
    path.rsplit('/').nth(from_end).and_then(|id| id.parse().ok())
}

/// In groups of six, for copying by hand.
fn grouped(code: &Code) -> String {
    in_groups(code.expose(), 6, "-")
}

fn grouped_secret(secret: &str) -> String {
    in_groups(secret, 4, " ")
}

fn in_groups(text: &str, size: usize, between: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let groups: Vec<String> = characters.chunks(size).map(|group| group.iter().collect()).collect();
    groups.join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_shown_in_groups() {
        assert_eq!(grouped(&Code::new("ABCDEFGHJKMN")), "ABCDEF-GHJKMN");
        assert_eq!(grouped_secret("ABCDEFG"), "ABCD EFG");
    }
}
