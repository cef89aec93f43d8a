//! What somebody is told who has to prove first who they are for what they ask for: on to the page that asks, the form kept until then;
//! or a problem document that names purpose and methods (RFC 9470).

use bytes::Bytes;
use iam_core::protocol::{Approval, Carrier, InterruptedId, SessionToken, StepUpProof, StepUpProofId, Used};
use iam_core::{
    Assurance, Error, FactorDue, FactorKind, Principal, ProofMethod, Purpose, Requirement,
    SecondFactorRefusal, StepUp,
};
use serde_json::{Map, Value, json};

use crate::accept::wants_page;
use crate::context::{Caller, RequestContext};
use crate::csrf::is_safe;
use crate::fields::BodyError;
use crate::guard::{FormSize, Progress, refuse};
use crate::interrupted::{Stopped, StoppedForm, approved_values, resumed_by};
use crate::message::{RequestView, WebResponse};
use crate::next::LocalTarget;
use crate::problem::{Case, MaxAge};
use crate::respond::percent_encode;

/// Somebody who has to prove first who they are, and for what.
pub(crate) struct Demand<'a> {
    pub(crate) view: &'a dyn RequestView,
    pub(crate) caller: &'a Caller,
    pub(crate) principal: &'a Principal,
    pub(crate) asked: &'a StepUp,
    /// What the proof is bound to, if it is.
    pub(crate) approval: Option<&'a Approval>,
    /// The body, if it was read.
    pub(crate) body: Option<&'a Bytes>,
    /// Whether it is a form that could be read.
    pub(crate) form: FormSize,
}

impl Demand<'_> {
    /// A browser that gets a page of ours in place of the host's.
    fn is_page(&self) -> bool {
        wants_page(self.view) && self.caller.carrier == Carrier::Cookie
    }

    fn is_safe(&self) -> bool {
        is_safe(self.view)
    }
}

/// The request that this one goes on with, if its form says so; or what is needed to know it. Browsers alone go on with requests, and only
/// with small forms.
pub(crate) fn resumes(
    view: &dyn RequestView,
    caller: &Caller,
    requirement: &Requirement,
    body: Option<&Bytes>,
    form: FormSize,
) -> Result<Option<InterruptedId>, Progress> {
    let may_resume =
        !is_safe(view) && caller.carrier == Carrier::Cookie && requirement.step_ups().next().is_some();
    match (form.needed().filter(|_| may_resume), body) {
        (None, _) => Ok(None),
        (Some(needed), None) => Err(needed),
        (Some(_), Some(body)) => Ok(resumed_by(view, body)),
    }
}

impl RequestContext {
    /// What a request is about, of which the step-up binds the proof to some fields; or what is needed to know it.
    pub(crate) fn approve(
        &self,
        view: &dyn RequestView,
        asked: &StepUp,
        body: Option<&Bytes>,
    ) -> Result<Approval, Progress> {
        let Some(body) = body else { return Err(Progress::NeedForm) };
        match approved_values(view, body, asked.approved_fields()) {
            Ok(values) => Ok(self.iam().protocol().approval(view.method(), view.target(), values)),
            Err(errors) if errors.is_empty() => Err(refuse(self.refusal(view, Case::UnsupportedMediaType))),
            Err(errors) => Err(refuse(self.bad_body(view, BodyError::Fields(errors)))),
        }
    }

    /// Uses proofs up, and the request that this one goes on with. The error is what to do instead.
    pub(crate) async fn use_up(
        &self,
        view: &dyn RequestView,
        caller: &Caller,
        principal: &Principal,
        ids: &[StepUpProofId],
        resumed: Option<InterruptedId>,
    ) -> Result<bool, Progress> {
        // Another guard of this request has done it.
        let resumed = resumed.filter(|id| self.used().resumed != Some(*id));
        if ids.is_empty() && resumed.is_none() {
            return Ok(true);
        }
        let Some(token) = &caller.token else { return Err(refuse(self.unauthenticated(view))) };
        let found = principal.step_up_proofs().iter();
        let proofs: Vec<StepUpProof> = found.filter(|proof| ids.contains(&proof.id)).cloned().collect();
        if proofs.len() != ids.len() {
            // A guard that asks for what isn't there is broken: nobody passes by that.
            return Err(refuse(self.refusal(view, Case::Internal)));
        }
        match self
            .iam()
            .protocol()
            .use_step_up_proofs(principal, token, &proofs, resumed, &caller.client)
            .await
        {
            Ok(Used::ForThis) => {
                self.note_used(ids, resumed);
                Ok(true)
            }
            Ok(Used::Spent) => Ok(false),
            Ok(Used::SentBefore) => Err(refuse(self.refusal(view, Case::SentBefore))),
            Ok(_) => Err(refuse(self.unauthenticated(view))),
            Err(error) => Err(refuse(self.failed(view, &error))),
        }
    }

    /// The answer to somebody who has to prove first who they are. What they sent is kept where their browser can send it once more; what
    /// is approved is kept in any case, and named by its id.
    pub(crate) async fn step_up_required(&self, demand: &Demand<'_>) -> Progress {
        let needed = demand.form.needed().filter(|_| demand.is_page() && !demand.is_safe());
        let answer = match needed {
            Some(needed) if demand.body.is_none() => return needed,
            sends_form => self.ask_for_step_up(demand, sends_form.is_some()).await,
        };
        refuse(answer.unwrap_or_else(|error| self.failed(demand.view, &error)))
    }

    async fn ask_for_step_up(&self, demand: &Demand<'_>, sends_form: bool) -> Result<WebResponse, Error> {
        let Demand { view, caller, principal, asked, approval, body, .. } = *demand;
        let purpose = asked.purpose();
        let by_policy = self.iam().factor_policy().step_up_methods();
        let accepted = asked.accepted(&by_policy);
        let methods = self.iam().protocol().step_up_methods(principal, asked).await?;
        self.iam().protocol().note_step_up(principal, purpose, &caller.client).await;
        if methods.is_empty() {
            return Ok(self.enrolment_required(view, accepted));
        }
        let form = body.filter(|_| sends_form).and_then(|body| StoppedForm::of(view, body));
        let goes_on = form.is_some();
        let approve = approval.map(|approval| approval.fields().to_vec()).unwrap_or_default();
        let kept = if goes_on || approval.is_some() {
            let digest = approval.map(Approval::digest);
            let stopped = Stopped::new(asked, accepted, digest, approve.clone(), form);
            let replaced = body.and_then(|body| resumed_by(view, body));
            let Some(token) = &caller.token else { return Ok(self.unauthenticated(view)) };
            match self.keep_stopped(principal, token, &stopped, replaced).await {
                Ok(Some(id)) => Some(id),
                Ok(None) => return Ok(self.refusal(view, Case::SentBefore)),
                Err(Error::SecondFactor(SecondFactorRefusal::Gone)) => return Ok(self.unauthenticated(view)),
                Err(error) => return Err(error),
            }
        } else {
            None
        };
        let page = match kept {
            Some(id) => format!("{}/mfa/verify?resume={id}", self.inner().auth_path),
            None => {
                let next = Some(view.target()).filter(|_| demand.is_safe());
                self.step_up_url(purpose, asked.named_factors(), next)
            }
        };
        if demand.is_page() && (demand.is_safe() || goes_on) {
            return Ok(self.own(view, WebResponse::redirect(303, &page)));
        }
        let acr = methods.iter().map(|kind| kind.assurance()).min().unwrap_or(Assurance::Aal2);
        let case = Case::StepUpRequired(acr, MaxAge(asked.max_age().as_secs()));
        if wants_page(view) {
            return Ok(self.refusal_with_link(view, case, page));
        }
        let api = &self.inner().api_path;
        let mut more = Map::from_iter([
            ("purpose".to_owned(), purpose.to_string().into()),
            ("methods".to_owned(), names(&methods)),
            ("max_age".to_owned(), asked.max_age().as_secs().into()),
            ("once".to_owned(), asked.is_once().into()),
            ("step_up".to_owned(), format!("{api}/auth/step-up").into()),
            ("verify".to_owned(), format!("{api}/auth/mfa/verify").into()),
            ("page".to_owned(), page.into()),
        ]);
        if let (Some(id), Some(_)) = (kept, approval) {
            more.insert("approval".to_owned(), id.to_string().into());
            more.insert("approve".to_owned(), approve_json(&approve));
        }
        Ok(self.problem_with(view, case, &[], more))
    }

    /// The answer to somebody whose second factor is due: on to where they prove the one that they have, or set up one.
    pub(crate) async fn factor_due(&self, view: &dyn RequestView, principal: &Principal) -> WebResponse {
        let kinds = match self.iam().protocol().factor_due(principal).await {
            Ok(FactorDue::Prove(kinds)) => as_methods(&kinds),
            Ok(_) => return self.enrolment_required(view, &as_methods(&self.iam().factor_policy().sign_in)),
            Err(error) => return self.failed(view, &error),
        };
        let page = self.verify_url(Some(view.target()).filter(|_| is_safe(view)));
        if !wants_page(view) {
            let api = &self.inner().api_path;
            let more = Map::from_iter([
                ("methods".to_owned(), names(&kinds)),
                ("challenge".to_owned(), format!("{api}/auth/mfa/challenge").into()),
                ("verify".to_owned(), format!("{api}/auth/mfa/verify").into()),
                ("page".to_owned(), page.into()),
            ]);
            return self.problem_with(view, Case::SecondFactorRequired, &[], more);
        }
        if is_safe(view) {
            return self.own(view, WebResponse::redirect(303, &page));
        }
        self.refusal(view, Case::SecondFactorRequired)
    }

    /// The answer to somebody who has no factor that will do, and must set one up first.
    pub(crate) fn enrolment_required(&self, view: &dyn RequestView, kinds: &[ProofMethod]) -> WebResponse {
        let offered = self.iam().offered_factors();
        if !kinds.iter().any(|method| method.factor().is_some_and(|kind| offered.contains(&kind))) {
            let kinds = kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
            tracing::error!(
                route = view.route(),
                kinds,
                "a factor is asked for that this service does not have, so nobody can set it up: `IamBuilder::factors`, and for codes by \
                 e-mail `IamBuilder::sender`"
            );
        }
        let next = Some(view.target()).filter(|_| is_safe(view));
        let location = self.enrol_url(kinds, next);
        if !wants_page(view) {
            let api = &self.inner().api_path;
            let more = Map::from_iter([
                ("methods".to_owned(), names(kinds)),
                ("enrol".to_owned(), format!("{api}/account/factors").into()),
                ("page".to_owned(), location.into()),
            ]);
            return self.problem_with(view, Case::EnrolmentRequired, &[], more);
        }
        if is_safe(view) {
            return self.own(view, WebResponse::redirect(303, &location));
        }
        self.refusal_with_link(view, Case::EnrolmentRequired, location)
    }

    async fn keep_stopped(
        &self,
        principal: &Principal,
        token: &SessionToken,
        stopped: &Stopped,
        replaces: Option<InterruptedId>,
    ) -> Result<Option<InterruptedId>, Error> {
        let request = serde_json::to_vec(stopped).unwrap_or_default();
        self.iam()
            .protocol()
            .keep_interrupted(principal, token, &zeroize::Zeroizing::new(request), replaces)
            .await
    }

    /// A request of this session's that a guard stopped, and whether it was gone on with.
    pub(crate) async fn stopped(
        &self,
        principal: &Principal,
        id: InterruptedId,
    ) -> Result<Option<(Stopped, bool)>, Error> {
        let found = self.iam().protocol().interrupted(principal, id).await?;
        Ok(found.and_then(|(request, resumed)| Some((serde_json::from_slice(&request).ok()?, resumed))))
    }

    /// The address of the page that asks for a proof.
    pub(crate) fn step_up_url(
        &self,
        purpose: Purpose,
        methods: Option<&[ProofMethod]>,
        next: Option<&str>,
    ) -> String {
        let mut url =
            format!("{}/mfa/verify?purpose={}", self.inner().auth_path, percent_encode(purpose.as_str()));
        if let Some(methods) = methods {
            url.push_str("&methods=");
            url.push_str(&percent_encode(&ProofMethod::list(methods)));
        }
        push_next(&mut url, next);
        url
    }

    /// The address of the page on which a factor is set up.
    pub(crate) fn enrol_url(&self, kinds: &[ProofMethod], next: Option<&str>) -> String {
        let mut url = format!(
            "{}/mfa/enrol?methods={}",
            self.inner().auth_path,
            percent_encode(&ProofMethod::list(kinds))
        );
        push_next(&mut url, next);
        url
    }

    /// What people call a purpose: the host's text for it, or its name.
    pub(crate) fn purpose_name(&self, purpose: Purpose) -> String {
        self.inner().pages.text_or(&format!("purpose.{purpose}"), purpose.as_str())
    }
}

fn push_next(url: &mut String, next: Option<&str>) {
    if let Some(next) = next.and_then(LocalTarget::parse) {
        url.push_str("&next=");
        url.push_str(&percent_encode(next.as_str()));
    }
}

pub(crate) fn names(methods: &[ProofMethod]) -> Value {
    methods.iter().map(|method| Value::from(method.as_str())).collect()
}

/// Kinds of factors, as the methods that they are.
pub(crate) fn as_methods(kinds: &[FactorKind]) -> Vec<ProofMethod> {
    kinds.iter().copied().map(ProofMethod::from).collect()
}

pub(crate) fn approve_json(approve: &[(String, String)]) -> Value {
    approve.iter().map(|(name, value)| json!({ "field": name, "value": value })).collect()
}
