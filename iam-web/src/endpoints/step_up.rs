//! Step-up, as JSON and as pages: what is proved for a purpose, a form that goes on after it, and where to set up a factor that is
//! missing. The code itself is asked for as every second factor is.

use std::borrow::Cow;

use iam_core::protocol::{Claimant, InterruptedId};
use iam_core::{Error, FactorDue, Principal, ProofMethod, Purpose};
use minijinja::{Value, context};

use super::account::{Said, minute};
use super::second_factor::asked_json;
use crate::context::{Caller, RequestContext};
use crate::fields::FieldError;
use crate::form::Form;
use crate::interrupted::{Stopped, resuming, shown};
use crate::message::{WebRequest, WebResponse};
use crate::next::LocalTarget;
use crate::problem::Case;
use crate::step_up::{approve_json, names};

/// What somebody proves who they are for, as a page or a form says it.
pub(super) struct For {
    pub(super) claimant: Claimant,
    /// The purpose and the kinds that will do, as they go back into the form.
    pub(super) purpose: Option<(Purpose, Option<Vec<ProofMethod>>)>,
    /// The request that waits for it.
    pub(super) stopped: Option<(InterruptedId, Stopped)>,
}

/// Why it can't be known what somebody proves who they are for.
pub(super) enum Unknown {
    /// Nobody is there.
    Nobody,
    /// What waits for it was sent, or is not kept any more.
    Late,
    /// What is said of it can't be read.
    BadRequest,
    Failed(Error),
}

impl RequestContext {
    /// What a page or a form of second factors is for. Who is signing in, or proves again who they are, says nothing.
    pub(super) async fn asked_for(&self, caller: &Caller, said: &Form) -> Result<For, Unknown> {
        let claimant = caller.claimant().ok_or(Unknown::Nobody)?;
        let Some(principal) = caller.enroller() else {
            return Ok(For { claimant, purpose: None, stopped: None });
        };
        if let Some(id) = said.get("resume") {
            let id = id.parse().map_err(|_| Unknown::BadRequest)?;
            let found = self.stopped(principal, id).await.map_err(Unknown::Failed)?;
            // Nobody is asked for a code for what was sent already.
            let (stopped, _) = found.filter(|(_, resumed)| !resumed).ok_or(Unknown::Late)?;
            let purpose = stopped.purpose().ok_or(Unknown::Late)?;
            let methods = stopped.methods();
            let claimant = Claimant::step_up(principal, purpose);
            let claimant = claimant.accepting(&methods).approving(stopped.approval());
            return Ok(For {
                claimant,
                purpose: Some((purpose, Some(methods))),
                stopped: Some((id, stopped)),
            });
        }
        let Some(name) = said.get("purpose") else {
            return Ok(For { claimant, purpose: None, stopped: None });
        };
        let purpose = asked_purpose(name).ok_or(Unknown::BadRequest)?;
        // Whatever will do by what stands there, the guard looks at what was proved.
        let named = said.get("methods").filter(|list| !list.is_empty()).map(ProofMethod::parse_list);
        let by_policy = self.iam().factor_policy().step_up_methods();
        let claimant = Claimant::step_up(principal, purpose);
        let claimant = match (&named, purpose) {
            (_, Purpose::ENROL) => claimant,
            (Some(named), _) => claimant.accepting(named),
            (None, _) => claimant.accepting(&by_policy),
        };
        Ok(For { claimant, purpose: Some((purpose, named)), stopped: None })
    }

    pub(super) async fn not_known(
        &self,
        request: &WebRequest,
        caller: &Caller,
        why: &Unknown,
    ) -> WebResponse {
        match why {
            Unknown::Nobody => self.not_signed_in(request, caller).await,
            Unknown::BadRequest => self.refusal(request, Case::BadRequest),
            Unknown::Late => self.refusal(request, Case::SentBefore),
            Unknown::Failed(error) => self.failed(request, error),
        }
    }

    // -- pages --

    /// What somebody wanted to send before they had to prove who they are: shown, and sent by the browser itself, once.
    pub(super) async fn show_resume(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let Some(principal) = caller.principal() else { return self.not_signed_in(request, caller).await };
        let path = request.target.split('?').next().unwrap_or_default();
        let Some(id) = path.rsplit('/').next().and_then(|id| id.parse::<InterruptedId>().ok()) else {
            return self.refusal(request, Case::NotFound);
        };
        let (stopped, resumed) = match self.stopped(principal, id).await {
            Ok(Some(found)) => found,
            Ok(None) => return self.refusal(request, Case::SentBefore),
            Err(error) => return self.failed(request, &error),
        };
        let purpose = stopped.purpose();
        let (Some(form), Some(purpose)) = (&stopped.form, purpose) else {
            return self.refusal(request, Case::NotFound);
        };
        if resumed {
            return self.refusal(request, Case::SentBefore);
        }
        let proving = match self.proving(principal).await {
            Ok(proving) => proving,
            Err(error) => return self.failed(request, &error),
        };
        if !stopped.is_proved_by(proving) {
            let location = format!("{}/mfa/verify?resume={id}", self.inner().auth_path);
            return self.own(request, WebResponse::redirect(303, &location));
        }
        let token = match self.csrf_token(request, caller) {
            Ok(token) => resuming(&token, id),
            Err(error) => return self.failed(request, &error),
        };
        let hidden = self.inner().pages.text("resume.hidden");
        let fields: Vec<Value> = form
            .fields
            .iter()
            .map(|(name, value)| {
                let shown = if is_secret(name) { Cow::Borrowed(hidden.as_str()) } else { shown(value) };
                context! { name => name, value => value, shown => shown }
            })
            .collect();
        let values = context! {
            username => principal.username(),
            purpose_name => self.purpose_name(purpose),
            action => form.target.as_str(),
            resume_fields => fields,
            csrf_token => token,
            cancel => "/",
        };
        self.page(request, 200, "resume.html", &values)
    }

    /// Which factors may be set up, for somebody who must, or who needs one for what they asked for.
    pub(super) async fn show_enrol(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let Some(principal) = caller.enroller() else { return self.not_signed_in(request, caller).await };
        let query = match self.query(request, &["next", "methods"]) {
            Ok(query) => query,
            Err(response) => return *response,
        };
        let next = self.place(query.get("next"));
        let next = next.as_ref().map(LocalTarget::as_str);
        let due = match self.iam().protocol().factor_due(principal).await {
            Ok(due) => due,
            Err(error) => return self.failed(request, &error),
        };
        let kinds = match due {
            // They have one, and have not shown it in this session.
            FactorDue::Prove(_) if caller.is_factor_due() => {
                return self.own(request, WebResponse::redirect(303, &self.verify_url(next)));
            }
            FactorDue::SetUp { kinds, .. } if caller.is_factor_due() => kinds,
            _ => {
                let named = ProofMethod::parse_list(query.get("methods").unwrap_or_default());
                let offered = self.iam().offered_factors();
                offered
                    .into_iter()
                    .filter(|kind| kind.is_set_up() && named.contains(&(*kind).into()))
                    .collect()
            }
        };
        let pages = &self.inner().pages;
        let next_query = next.map(|next| format!("&next={}", crate::respond::percent_encode(next)));
        let next_query = next_query.unwrap_or_default();
        let kinds: Vec<Value> = kinds
            .iter()
            .map(|kind| {
                context! {
                    href => format!("{}/factors/new?kind={kind}{next_query}", self.account_path()),
                    label => pages.text(&format!("factors.add.{kind}")),
                    about => pages.text(&format!("factors.about.{kind}")),
                }
            })
            .collect();
        let due_at = principal.factor_due_at().filter(|_| !caller.is_factor_due()).map(minute);
        let values = context! {
            username => principal.username(),
            required => principal.factor_due_at().is_some(),
            due_at => due_at,
            kinds => kinds,
            cancel => "/",
            logout_action => format!("{}/logout", self.inner().auth_path),
        };
        self.personal_page(request, caller, 200, "enrol.html", "factors", values, &Said::default())
    }

    // -- JSON --

    /// Asks for a proof for a purpose; `auth/mfa/verify` takes the answer.
    pub(super) async fn api_step_up(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, object) = match self.object_of_enroller(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let mut fields = object.fields();
        let (purpose, method) = (fields.required_string("purpose"), fields.optional_string("method"));
        let approval = fields.optional_string("approval");
        if let Err(error) = fields.finish() {
            return self.bad_api_body(request, error);
        }
        let Some(purpose) = purpose.and_then(|name| asked_purpose(&name)) else {
            return self.bad_field(request, "purpose", "is no name of a purpose");
        };
        let method = match method.map(|method| ProofMethod::parse_asked(&method)) {
            Some(None) => return self.unknown_method(request),
            Some(kind) => kind,
            None => None,
        };
        let stopped = match &approval {
            None => None,
            Some(id) => match self.approval_of(principal, purpose, id).await {
                Ok(Some(stopped)) => Some(stopped),
                Ok(None) => {
                    let detail = "is not one that waits for this purpose: send the request again";
                    return self.bad_field(request, "approval", detail);
                }
                Err(error) => return self.api_failed(request, &error),
            },
        };
        let accepted = self.accepted_of_api(stopped.as_ref(), method);
        let claimant = Claimant::step_up(principal, purpose);
        let claimant = claimant.approving(stopped.as_ref().and_then(Stopped::approval));
        let claimant = if purpose == Purpose::ENROL { claimant } else { claimant.accepting(&accepted) };
        let (Some(token), offers) = (&caller.token, self.iam().protocol().offers(&claimant).await) else {
            return self.problem(request, Case::Unauthenticated, &[]);
        };
        let offers = match offers {
            Ok(offers) => offers,
            Err(error) => return self.api_failed(request, &error),
        };
        let Some(kind) = method.or(offers.first().map(|offer| offer.kind)) else {
            return self.enrolment_required(request, &accepted);
        };
        match self.iam().protocol().challenge(&claimant, token, kind, &caller.client).await {
            Ok(asked) => {
                let mut answer = asked_json(&asked);
                if let Some(answer) = answer.as_object_mut() {
                    let kinds: Vec<ProofMethod> = offers.iter().map(|offer| offer.kind).collect();
                    answer.insert("purpose".into(), purpose.to_string().into());
                    answer.insert("methods".into(), names(&kinds));
                    if let Some(stopped) = stopped.filter(|stopped| !stopped.approve.is_empty()) {
                        answer.insert("approve".into(), approve_json(&stopped.approve));
                    }
                }
                self.json(request, 200, &answer)
            }
            Err(error) => self.api_failed(request, &error),
        }
    }

    /// What will do: of a request that waits, what its route said; otherwise what counts by policy. What a route names beyond that is for
    /// its caller to ask for by name.
    fn accepted_of_api(&self, stopped: Option<&Stopped>, chosen: Option<ProofMethod>) -> Vec<ProofMethod> {
        match (stopped, chosen) {
            (Some(stopped), Some(chosen)) => {
                stopped.methods().into_iter().filter(|kind| *kind == chosen).collect()
            }
            (Some(stopped), None) => stopped.methods(),
            (None, Some(chosen)) => vec![chosen],
            (None, None) => self.iam().factor_policy().step_up_methods(),
        }
    }

    /// What an API call was told to name when it proves who it is for a bound request.
    pub(super) async fn approval_of(
        &self,
        principal: &Principal,
        purpose: Purpose,
        id: &str,
    ) -> Result<Option<Stopped>, Error> {
        let Ok(id) = id.parse() else { return Ok(None) };
        let found = self.stopped(principal, id).await?;
        Ok(found.map(|(stopped, _)| stopped).filter(|stopped| stopped.purpose() == Some(purpose)))
    }

    pub(super) fn bad_field(&self, request: &WebRequest, field: &str, detail: &str) -> WebResponse {
        let error = FieldError { field: field.to_owned(), code: "invalid", detail: detail.to_owned() };
        self.problem(request, Case::Invalid, &[error])
    }
}

/// A purpose that somebody may be asked for: a host's, or the one of ours that there is.
fn asked_purpose(name: &str) -> Option<Purpose> {
    Purpose::parse(name).filter(|purpose| !purpose.is_reserved() || *purpose == Purpose::ENROL)
}

/// Whether the value of a field should not stand on a screen, as far as its name tells.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "passwd", "secret", "token", "pin", "cvv", "cvc"].iter().any(|mark| {
        name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == *mark)
            || (mark.len() > 4 && name.contains(mark))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_by_their_names() {
        for name in ["password", "newPassword", "client_secret", "api-token", "pin", "card[cvv]"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["amount", "payee", "shipping", "spinning", "pinned"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
