//! What somebody is told who has to prove first who they are for what they ask for: on to the page that asks, the form kept until then;
//! or a problem document that names purpose and methods (RFC 9470).

use iam_core::Error;
use iam_core::flow::Used;
use iam_core::guard::{Facts, Principal, Requirement};
use iam_core::id::{ChallengeId, InterruptedId};
use iam_core::mfa::{Assurance, FactorKind};
use iam_core::step_up::{Grant, Purpose, StepUp};
use iam_core::token::Carrier;
use serde_json::{Map, Value, json};

use crate::accept::wants_page;
use crate::context::{Caller, RequestContext};
use crate::csrf::is_safe;
use crate::fields::BodyError;
use crate::guard::{Evidence, Progress, is_small_form, refuse};
use crate::interrupted::{Stopped, StoppedForm, approved_values, resumed_by};
use crate::message::{RequestView, WebResponse};
use crate::next::LocalTarget;
use crate::problem::{Case, MaxAge};
use crate::respond::percent_encode;

impl RequestContext {
    /// What a request is about, of which the step-up binds the proof to some fields; or what is needed to know it.
    pub(crate) fn approve(
        &self,
        view: &dyn RequestView,
        asked: &StepUp,
        evidence: &Evidence,
    ) -> Result<iam_core::step_up::Approval, Progress> {
        let Some(body) = &evidence.form else { return Err(Progress::NeedForm) };
        match approved_values(view, body, asked.approved_fields()) {
            Ok(values) => Ok(self.iam().approval(view.method(), view.target(), values)),
            Err(errors) if errors.is_empty() => Err(refuse(self.refusal(view, Case::UnsupportedMediaType))),
            Err(errors) => Err(refuse(self.bad_body(view, BodyError::Fields(errors)))),
        }
    }

    /// The request that this one goes on with, if its form says so; or what is needed to know it. Browsers alone go on with requests,
    /// and only with small forms.
    pub(crate) fn resumes(
        &self,
        view: &dyn RequestView,
        caller: &Caller,
        requirement: &Requirement,
        evidence: &Evidence,
    ) -> Result<Option<InterruptedId>, Progress> {
        let may_resume = !is_safe(view.method())
            && caller.carrier == Carrier::Cookie
            && is_small_form(view)
            && requirement.step_ups().next().is_some();
        match &evidence.form {
            _ if !may_resume => Ok(None),
            None => Err(Progress::NeedForm),
            Some(body) => Ok(resumed_by(view, body)),
        }
    }

    /// Uses grants up, and the request that this one goes on with. The error is what to do instead.
    pub(crate) async fn use_up(
        &self,
        view: &dyn RequestView,
        caller: &Caller,
        principal: &Principal,
        ids: &[ChallengeId],
        resumed: Option<InterruptedId>,
    ) -> Result<bool, Progress> {
        // Another guard of this request has done it.
        let resumed = resumed.filter(|id| !self.has_resumed(*id));
        if ids.is_empty() && resumed.is_none() {
            return Ok(true);
        }
        let Some(token) = &caller.token else { return Err(refuse(self.unauthenticated(view))) };
        let grants: Vec<Grant> =
            principal.grants().iter().filter(|grant| ids.contains(&grant.id)).cloned().collect();
        match self.iam().use_grants(principal, token, &grants, resumed, &caller.client).await {
            Ok(Used::ForThis) => {
                if let Some(id) = resumed {
                    self.note_resumed(id);
                }
                Ok(true)
            }
            Ok(Used::Spent) => Ok(false),
            Ok(Used::SentBefore) => Err(refuse(self.refusal(view, Case::SentBefore))),
            Ok(_) => Err(refuse(self.unauthenticated(view))),
            Err(error) => Err(refuse(self.failed(view, &error))),
        }
    }

    /// The answer to somebody who has to prove first who they are.
    #[expect(clippy::too_many_arguments, reason = "all that a guard has found out")]
    pub(crate) async fn step_up_required(
        &self,
        view: &dyn RequestView,
        caller: &Caller,
        principal: &Principal,
        question: usize,
        asked: &StepUp,
        facts: &Facts,
        evidence: &Evidence,
    ) -> Progress {
        let page = wants_page(view) && caller.carrier == Carrier::Cookie;
        let sends_form = page && !is_safe(view.method()) && is_small_form(view);
        if sends_form && evidence.form.is_none() {
            return Progress::NeedForm;
        }
        let methods = match self.iam().step_up_methods(principal, asked).await {
            Ok(methods) => methods,
            Err(error) => return refuse(self.failed(view, &error)),
        };
        self.iam().note_step_up(principal, asked.purpose(), &caller.client).await;
        if methods.is_empty() {
            return refuse(self.enrolment_required(view, asked.accepted(facts.step_up_by_policy())));
        }
        let form = evidence.form.as_ref().filter(|_| sends_form);
        let kept = match form.and_then(|body| StoppedForm::of(view, body)) {
            Some(form) => Some(form),
            None if facts.approval(question).is_none() => None,
            // Nothing to send again, but what is approved must be known to whoever asks.
            None => {
                return self
                    .step_up_for_approval(view, caller, principal, question, asked, facts, methods)
                    .await;
            }
        };
        let accepted = asked.accepted(facts.step_up_by_policy());
        if let Some(form) = kept {
            let replaced = evidence.form.as_ref().and_then(|body| resumed_by(view, body));
            let approval = facts.approval(question);
            let stopped = Stopped::new(
                asked.purpose(),
                accepted,
                approval.map(iam_core::step_up::Approval::digest),
                approval.map(|approval| approval.fields().to_vec()).unwrap_or_default(),
                Some(form),
            );
            return match self.keep_stopped(principal, &stopped, replaced).await {
                Ok(Some(id)) => {
                    let location = format!("{}/mfa/verify?resume={id}", self.inner().auth_path);
                    refuse(self.own(view, WebResponse::redirect(303, &location)))
                }
                Ok(None) => refuse(self.refusal(view, Case::SentBefore)),
                Err(error) => refuse(self.failed(view, &error)),
            };
        }
        let named = asked.named_factors();
        let location =
            self.step_up_url(asked.purpose(), named, Some(view.target()).filter(|_| is_safe(view.method())));
        if page && is_safe(view.method()) {
            return refuse(self.own(view, WebResponse::redirect(303, &location)));
        }
        let case = step_up_case(asked, &methods);
        if wants_page(view) {
            return refuse(self.refusal_with_link(view, case, location));
        }
        refuse(self.step_up_problem(view, case, asked, &methods, &location, None, &[]))
    }

    /// The same where a proof is bound to values and there is no form to send again: what is approved is kept, and named by its id.
    #[expect(clippy::too_many_arguments, reason = "as above")]
    async fn step_up_for_approval(
        &self,
        view: &dyn RequestView,
        caller: &Caller,
        principal: &Principal,
        question: usize,
        asked: &StepUp,
        facts: &Facts,
        methods: Vec<FactorKind>,
    ) -> Progress {
        let Some(approval) = facts.approval(question) else {
            return refuse(self.refusal(view, Case::Internal));
        };
        let accepted = asked.accepted(facts.step_up_by_policy());
        let approve = approval.fields().to_vec();
        let stopped = Stopped::new(asked.purpose(), accepted, Some(approval.digest()), approve, None);
        let id = match self.keep_stopped(principal, &stopped, None).await {
            Ok(Some(id)) => id,
            Ok(None) => return refuse(self.refusal(view, Case::Internal)),
            Err(error) => return refuse(self.failed(view, &error)),
        };
        let location = format!("{}/mfa/verify?resume={id}", self.inner().auth_path);
        let case = step_up_case(asked, &methods);
        refuse(if wants_page(view) && caller.carrier == Carrier::Cookie {
            self.refusal_with_link(view, case, location)
        } else {
            self.step_up_problem(view, case, asked, &methods, &location, Some(id), &stopped.approve)
        })
    }

    #[expect(clippy::too_many_arguments, reason = "one document: what it says")]
    fn step_up_problem(
        &self,
        view: &dyn RequestView,
        case: Case,
        asked: &StepUp,
        methods: &[FactorKind],
        page: &str,
        approval: Option<InterruptedId>,
        approve: &[(String, String)],
    ) -> WebResponse {
        let api = &self.inner().api_path;
        let mut more = Map::new();
        more.insert("purpose".into(), asked.purpose().to_string().into());
        more.insert("methods".into(), names(methods));
        more.insert("max_age".into(), asked.max_age().as_secs().into());
        more.insert("once".into(), asked.is_once().into());
        more.insert("step_up".into(), format!("{api}/auth/step-up").into());
        more.insert("verify".into(), format!("{api}/auth/mfa/verify").into());
        more.insert("page".into(), page.into());
        if let Some(id) = approval {
            more.insert("approval".into(), id.to_string().into());
            more.insert("approve".into(), approve_json(approve));
        }
        self.problem_with(view, case, &[], more)
    }

    /// The answer to somebody who has no factor that will do, and must set one up first.
    pub(crate) fn enrolment_required(&self, view: &dyn RequestView, kinds: &[FactorKind]) -> WebResponse {
        let next = Some(view.target()).filter(|_| is_safe(view.method()));
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
        if is_safe(view.method()) {
            return self.own(view, WebResponse::redirect(303, &location));
        }
        self.refusal_with_link(view, Case::EnrolmentRequired, location)
    }

    async fn keep_stopped(
        &self,
        principal: &Principal,
        stopped: &Stopped,
        replaces: Option<InterruptedId>,
    ) -> Result<Option<InterruptedId>, Error> {
        let request = serde_json::to_vec(stopped).unwrap_or_default();
        self.iam().keep_interrupted(principal, &zeroize::Zeroizing::new(request), replaces).await
    }

    /// A request of this session's that a guard stopped, and whether it was gone on with.
    pub(crate) async fn stopped(
        &self,
        principal: &Principal,
        id: InterruptedId,
    ) -> Result<Option<(Stopped, bool)>, Error> {
        let found = self.iam().interrupted(principal, id).await?;
        Ok(found.and_then(|(request, resumed)| Some((serde_json::from_slice(&request).ok()?, resumed))))
    }

    /// The address of the page that asks for a proof.
    pub(crate) fn step_up_url(
        &self,
        purpose: Purpose,
        methods: Option<&[FactorKind]>,
        next: Option<&str>,
    ) -> String {
        let mut url =
            format!("{}/mfa/verify?purpose={}", self.inner().auth_path, percent_encode(purpose.as_str()));
        if let Some(methods) = methods {
            url.push_str(&format!("&methods={}", percent_encode(&FactorKind::list(methods))));
        }
        push_next(&mut url, next);
        url
    }

    /// The address of the page on which a factor is set up.
    pub(crate) fn enrol_url(&self, kinds: &[FactorKind], next: Option<&str>) -> String {
        let mut url = format!(
            "{}/mfa/enrol?methods={}",
            self.inner().auth_path,
            percent_encode(&FactorKind::list(kinds))
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

fn step_up_case(asked: &StepUp, methods: &[FactorKind]) -> Case {
    let acr = methods.iter().map(|kind| kind.assurance()).min().unwrap_or(Assurance::Aal2);
    Case::StepUpRequired(acr, MaxAge(asked.max_age().as_secs()))
}

pub(crate) fn names(kinds: &[FactorKind]) -> Value {
    kinds.iter().map(|kind| Value::from(kind.as_str())).collect()
}

pub(crate) fn approve_json(approve: &[(String, String)]) -> Value {
    approve.iter().map(|(name, value)| json!({ "field": name, "value": value })).collect()
}
