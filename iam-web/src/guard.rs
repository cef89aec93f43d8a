//! Guards: a decision of the core turned into "go on" or an answer.
//!
//! Sans-IO where a framework is needed: [`RequestContext::check`] says what it needs next - the parent of the object, the
//! form's body - the adapter fetches that and asks again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use iam_core::protocol::{Activity, Decision, Facts, Step};
use iam_core::{Actor, ObjectParent, ParentId, Principal, Requirement};
use url::{Position, Url};

use crate::context::{Caller, RequestContext};
use crate::csrf;
use crate::fields::is_encoded;
use crate::form::{Form, is_form};
use crate::interrupted::split_token;
use crate::message::{RequestView, WebResponse};
use crate::next::LocalTarget;
use crate::problem::Case;
use crate::respond::percent_encode;
use crate::rule::Policy;
use crate::step_up::{Demand, resumes};

/// The largest form in which a guard looks for a token.
pub const MAX_FORM_BYTES: usize = 16 * 1024;

/// What an adapter has found out for a guard so far.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The parents of the request's objects, as far as they were asked for.
    pub facts: Facts,
    /// The body, once asked for.
    pub form: Option<Bytes>,
    /// That the body was looked for, and is larger than [`MAX_FORM_BYTES`].
    pub larger: bool,
}

/// How far a guard has come.
#[derive(Debug)]
pub enum Progress {
    /// The request may go on, with this for its handler.
    Allow(Box<Granted>),
    /// It needs the answer to this question in [`Evidence::facts`]: who answers it is [`Rule::resolver`](crate::Rule::resolver).
    NeedObjectParent(usize),
    /// It needs [`Evidence::form`]. The body must be given to the handler all the same. One that is too large is refused.
    NeedForm,
    /// It needs [`Evidence::form`], or [`Evidence::larger`]: nobody has said how long the body is ([`read_start`](crate::read_start)). All of
    /// it must be given to the handler all the same.
    LookForForm,
    /// This is the answer.
    Refuse(Box<WebResponse>),
}

/// What a guard has found out about the request that it let pass. There is none without a guard: nobody else can make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    principal: Principal,
    requirement: Arc<Requirement>,
    facts: Facts,
}

impl Granted {
    /// Who sends the request.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What was asked for, and is met.
    pub fn requirement(&self) -> &Requirement {
        &self.requirement
    }

    /// The parent of the request's object: the first that the guard came to know. Nothing if it did not have to ask, as for
    /// somebody whom a role lets pass anyway; and where the host knows it by its key, nothing but for whoever is of that parent.
    pub fn object_parent(&self) -> Option<ParentId> {
        let own_key = self.principal.parent_key();
        self.facts.object_parents().find_map(|(_, parent)| match parent? {
            ObjectParent::Id(id) => Some(*id),
            ObjectParent::Key(key) => self.principal.parent().filter(|_| own_key == Some(key.as_str())),
            _ => None,
        })
    }

    /// Everything that the guard asked, where there is more than one object.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl RequestContext {
    /// Checks a guard's policy against this request.
    ///
    /// What is looked at here and what the handler reads must be one thing: a body that would have to be unpacked first is not asked for, and
    /// what comes after a change of protocol is no form.
    pub async fn check(&self, view: &dyn RequestView, policy: &Policy, evidence: &Evidence) -> Progress {
        self.mark_guarded();
        if evidence.form.is_some() && is_encoded(view) {
            return refuse(self.encoded_body(view));
        }
        match self.checked(view, policy, evidence).await {
            Progress::NeedForm | Progress::LookForForm if csrf::is_upgrade(view) => {
                refuse(self.refusal(view, Case::UnsupportedMediaType))
            }
            Progress::NeedForm | Progress::LookForForm if is_encoded(view) => refuse(self.encoded_body(view)),
            progress => progress,
        }
    }

    async fn checked(&self, view: &dyn RequestView, policy: &Policy, evidence: &Evidence) -> Progress {
        let caller = match self.caller(view, policy.activity).await {
            Ok(caller) => caller,
            Err(answer) => return Progress::Refuse(answer),
        };
        let mut facts = evidence.facts.clone().step_up_by(self.iam().factor_policy().step_up_methods());
        facts.note_use(&self.used().proofs, true);
        let Some(principal) = caller.principal() else {
            return refuse(self.not_signed_in(view, caller).await);
        };
        match self.same_site(view, caller, evidence) {
            SameSite::Yes => {}
            SameSite::AskForm => return Progress::NeedForm,
            SameSite::No => {
                self.iam().protocol().note_csrf(Some(principal), view.route(), &caller.client).await;
                return refuse(self.refusal(view, Case::Csrf));
            }
        }
        let principal = if policy.requirement.step_ups().next().is_some() {
            match self.proving(principal).await {
                Ok(proving) => proving,
                Err(error) => return refuse(self.failed(view, &error)),
            }
        } else {
            principal
        };
        self.decide(view, policy, evidence, caller, principal, facts).await
    }

    /// Asks the requirement until it is met, or until it is known what else to do.
    async fn decide(
        &self,
        view: &dyn RequestView,
        policy: &Policy,
        evidence: &Evidence,
        caller: &Caller,
        principal: &Principal,
        mut facts: Facts,
    ) -> Progress {
        let (requirement, body) = (&policy.requirement, evidence.form.as_ref());
        let form = FormSize::of(view, evidence);
        // What is wrong with a request that a proof is bound to; another way may be open all the same.
        let mut unapproved = None;
        loop {
            let step = requirement.decide(Some(principal), &facts);
            // What is used up comes last, when the request can't be refused for anything else any more.
            let proofs = match step {
                Step::Done(Decision::Allow) => Vec::new(),
                Step::NeedUse(proofs) => proofs,
                Step::NeedObjectParent(question) => return Progress::NeedObjectParent(question),
                Step::NeedApproval(question) => {
                    let Some(asked) = requirement.step_up(question) else {
                        return refuse(self.refusal(view, Case::Internal));
                    };
                    match self.approve(view, asked, body) {
                        Ok(approval) => facts.approve(question, approval),
                        Err(Progress::Refuse(response)) => {
                            unapproved.get_or_insert(response);
                            facts.can_not_approve(question);
                        }
                        Err(instead) => return instead,
                    }
                    continue;
                }
                Step::Done(Decision::StepUp(question)) => {
                    let Some(asked) = requirement.step_up(question) else {
                        return refuse(self.refusal(view, Case::Internal));
                    };
                    let approval = facts.approval(question);
                    let demand = Demand { view, caller, principal, asked, approval, body, form };
                    return self.step_up_required(&demand).await;
                }
                Step::Done(Decision::Unauthenticated) => {
                    return refuse(self.not_signed_in(view, caller).await);
                }
                // The same page as for what is missing: nothing on it tells the two apart.
                Step::Done(Decision::Hidden) if unapproved.is_none() => {
                    self.iam().protocol().note_denial(principal, requirement, &caller.client).await;
                    return refuse(self.refusal(view, Case::NotFound));
                }
                // Whatever else a requirement may come to say is no allowance.
                _ => {
                    if let Some(response) = unapproved {
                        return Progress::Refuse(response);
                    }
                    self.iam().protocol().note_denial(principal, requirement, &caller.client).await;
                    let missing = requirement.missing(principal, &facts);
                    return refuse(self.forbidden(view, caller, missing));
                }
            };
            let resumed = match resumes(view, caller, requirement, body, form) {
                Ok(resumed) => resumed,
                Err(instead) => return instead,
            };
            match self.use_up(view, caller, principal, &proofs, resumed).await {
                Ok(true) => {
                    facts.note_use(&proofs, true);
                    self.note_passed(requirement, &facts);
                    let (principal, requirement) = (principal.clone(), Arc::clone(requirement));
                    return Progress::Allow(Box::new(Granted { principal, requirement, facts }));
                }
                // Somebody else was first: perhaps there is another one.
                Ok(false) => facts.note_use(&proofs, false),
                Err(instead) => return instead,
            }
        }
    }

    /// Who is signed in, for a handler that asks itself. An unsafe request must come from our own site here, too.
    pub async fn principal(&self, view: &dyn RequestView) -> Result<Option<Principal>, Box<WebResponse>> {
        self.mark_guarded();
        let caller = self.caller(view, Activity::Active).await?;
        let Some(principal) = caller.principal() else { return Ok(None) };
        match self.same_site(view, caller, &Evidence { form: Some(Bytes::new()), ..Evidence::default() }) {
            SameSite::Yes => Ok(Some(principal.clone())),
            _ => {
                self.iam().protocol().note_csrf(Some(principal), view.route(), &caller.client).await;
                Err(Box::new(self.refusal(view, Case::Csrf)))
            }
        }
    }

    /// Who is signed in, or the answer to somebody who is not.
    pub async fn required_principal(&self, view: &dyn RequestView) -> Result<Principal, Box<WebResponse>> {
        if let Some(principal) = self.principal(view).await? {
            return Ok(principal);
        }
        let caller = self.caller(view, Activity::Active).await?;
        Err(Box::new(self.not_signed_in(view, caller).await))
    }

    /// Who is signed in, from where, and under which request id, as the audit log names it; or the answer to somebody who is not.
    pub async fn actor(&self, view: &dyn RequestView) -> Result<Actor, Box<WebResponse>> {
        let principal = self.required_principal(view).await?;
        let caller = self.caller(view, Activity::Active).await?;
        Ok(Actor::of(&principal, &caller.client))
    }

    /// A CSRF token for the host's own forms: field `csrf_token`, or header `X-CSRF-Token`.
    pub async fn form_token(&self, view: &dyn RequestView) -> Result<String, Box<WebResponse>> {
        self.mark_guarded();
        let caller = self.caller(view, Activity::Active).await?;
        self.csrf_token(view, caller).map_err(|error| Box::new(self.failed(view, &error)))
    }

    /// The answer when the host could not say what a guard needed to know.
    pub fn unanswered(
        &self,
        view: &dyn RequestView,
        error: &(dyn std::error::Error + 'static),
    ) -> Box<WebResponse> {
        tracing::error!(
            error,
            method = view.method(),
            route = view.route(),
            request_id = self.request_id(view),
            "a guard could not find the object's parent"
        );
        Box::new(self.refusal(view, Case::Unavailable))
    }

    fn same_site(&self, view: &dyn RequestView, caller: &Caller, evidence: &Evidence) -> SameSite {
        if csrf::is_safe(view) || self.csrf_passed().load(Ordering::Relaxed) {
            return SameSite::Yes;
        }
        let passed = match (self.csrf_by_headers(view, caller), &evidence.form) {
            (Some(passed), _) => passed,
            (None, None) if FormSize::of(view, evidence) != FormSize::NoForm => return SameSite::AskForm,
            (None, None) => false,
            (None, Some(form)) => {
                let form = Form::parse(&view.header("content-type"), form).ok();
                let token = form.as_ref().and_then(|form| form.get("csrf_token"));
                token.is_some_and(|token| self.is_csrf_token(view, caller, split_token(token).0))
            }
        };
        self.csrf_passed().store(passed, Ordering::Relaxed);
        if passed { SameSite::Yes } else { SameSite::No }
    }

    /// Who is on the way goes on from where they are; everybody else signs in.
    pub(crate) async fn not_signed_in(&self, view: &dyn RequestView, caller: &Caller) -> WebResponse {
        if let Some(principal) = caller.whose_factor_is_due() {
            let answer = self.factor_due(view, principal).await;
            if answer.status >= 500 {
                self.remember_unknown(&answer);
            }
            return answer;
        }
        if !caller.is_pending() {
            return self.unauthenticated(view);
        }
        if csrf::is_safe(view) && crate::accept::wants_page(view) {
            return self.own(view, WebResponse::redirect(303, &self.verify_url(Some(view.target()))));
        }
        let answer = self.refusal(view, Case::SecondFactorRequired);
        self.led_by_htmx(view, answer, |next| self.verify_url(next))
    }

    pub(crate) fn unauthenticated(&self, view: &dyn RequestView) -> WebResponse {
        let safe = csrf::is_safe(view);
        if safe && crate::accept::wants_page(view) {
            return self.own(view, WebResponse::redirect(303, &self.login_url(Some(view.target()))));
        }
        let case = if safe { Case::Unauthenticated } else { Case::UnauthenticatedUnsafe };
        self.led_by_htmx(view, self.refusal(view, case), |next| self.login_url(next))
    }

    /// HTMX leaves a page alone when it is refused a part of it, and goes where this header says (with any status but 3xx): to the page that
    /// asks for what is missing, and from there back to the page that the person was on, not to the part of it.
    fn led_by_htmx(
        &self,
        view: &dyn RequestView,
        answer: WebResponse,
        page: impl FnOnce(Option<&str>) -> String,
    ) -> WebResponse {
        if !crate::accept::is_of_htmx(view) {
            return answer;
        }
        let current = match view.header("hx-current-url")[..] {
            [url] => std::str::from_utf8(url).ok().and_then(|url| Url::parse(url).ok()),
            _ => None,
        };
        let origin = |url: &Url| url.origin().ascii_serialization();
        let current = current.filter(|url| self.inner().allowed_origins.contains(&origin(url)));
        let next = current.map(|url| url[Position::BeforePath..].to_owned());
        answer.header("hx-redirect", page(next.as_deref()))
    }

    /// The login page's address, with the place to come back to.
    pub(crate) fn login_url(&self, next: Option<&str>) -> String {
        self.url_with_next("login", next)
    }

    /// The address of the page that asks for a second factor, likewise.
    pub(crate) fn verify_url(&self, next: Option<&str>) -> String {
        self.url_with_next("mfa/verify", next)
    }

    pub(crate) fn url_with_next(&self, page: &str, next: Option<&str>) -> String {
        let login = format!("{}/{page}", self.inner().auth_path);
        match next.and_then(LocalTarget::parse).filter(|next| next.as_str() != "/") {
            Some(next) => format!("{login}?next={}", percent_encode(next.as_str())),
            None => login,
        }
    }
}

enum SameSite {
    Yes,
    No,
    AskForm,
}

pub(crate) fn refuse(response: WebResponse) -> Progress {
    Progress::Refuse(Box::new(response))
}

/// What is known of a request's form before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormSize {
    /// As long as was announced, and small enough to be looked at.
    Small,
    /// Nobody has said how long: HTTP/1.1 with `Transfer-Encoding`, HTTP/2 without `Content-Length`.
    Unsaid,
    /// It is too large, or no form.
    NoForm,
}

impl FormSize {
    pub(crate) fn of(view: &dyn RequestView, evidence: &Evidence) -> Self {
        if evidence.larger || csrf::is_upgrade(view) || !is_form(&view.header("content-type")) {
            return Self::NoForm;
        }
        let lengths = view.header("content-length");
        if lengths.is_empty() || !view.header("transfer-encoding").is_empty() {
            return Self::Unsaid;
        }
        let length = match lengths[..] {
            [value] => std::str::from_utf8(value).ok().and_then(|text| text.parse::<usize>().ok()),
            _ => None,
        };
        if length.is_some_and(|length| length <= MAX_FORM_BYTES) { Self::Small } else { Self::NoForm }
    }

    /// What is needed to see the form, if it is one to be looked at.
    pub(crate) fn needed(self) -> Option<Progress> {
        match self {
            Self::Small => Some(Progress::NeedForm),
            Self::Unsaid => Some(Progress::LookForForm),
            Self::NoForm => None,
        }
    }
}
