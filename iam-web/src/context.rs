//! What belongs to one request: who sends it, found out at most once and only when somebody asks.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_lock::OnceCell;
use base64ct::{Base64UrlUnpadded, Encoding};
use iam_core::protocol::{
    Activity, Authentication, Carrier, Claimant, Facts, InterruptedId, SessionToken, StepUpProofId, TokenHash,
};
use iam_core::{Client, Error, Iam, Principal, Requirement, Timestamp};

use crate::address::client_address;
use crate::cookies::CookieKind;
use crate::csrf::{self, Binding, Site};
use crate::endpoints::path_matches;
use crate::message::{RequestView, WebResponse};
use crate::problem::Case;
use crate::web::{Inner, WebIam};

/// A request's header by which a page that asks for news by itself says so: `IAM-Activity: none` keeps nobody signed in.
const ACTIVITY_HEADER: &str = "iam-activity";

/// One request's view of the identity layer. An adapter makes one for each request, and lets it [`close`](Self::close) the answer.
pub struct RequestContext {
    web: WebIam,
    peer: Result<IpAddr, &'static str>,
    caller: OnceCell<Caller>,
    /// The caller with their step-up proofs, once a guard has asked for one.
    proving: OnceCell<Principal>,
    request_id: OnceLock<String>,
    visitor: OnceLock<String>,
    csrf_passed: AtomicBool,
    guarded: AtomicBool,
    used: Mutex<UsedUp>,
    /// What the guards wanted that let it pass, with what they were told.
    passed: Mutex<Vec<(Arc<Requirement>, Facts)>>,
    cookies: Mutex<Vec<String>>,
    /// The token that the caller's session goes on with, if this request renewed it.
    renewed: Mutex<Option<TokenHash>>,
    /// The session's next token, for who came with a bearer token.
    next_token: Mutex<Option<String>>,
    /// The answer has the session's next token in it, whichever way.
    has_next_token: AtomicBool,
    /// The answer, if it can't be told who asks: whatever a handler makes of that, nothing else is sent.
    unknown: Mutex<Option<WebResponse>>,
}

/// What was used up for a request: another guard of its, if there is one, need not do so again.
#[derive(Clone, Default)]
pub(crate) struct UsedUp {
    pub(crate) proofs: Vec<StepUpProofId>,
    /// The request that was stopped before, and that this one goes on with.
    pub(crate) resumed: Option<InterruptedId>,
}

/// Who sends a request.
pub(crate) struct Caller {
    /// The token of the cookie or of the header, whatever it is worth.
    pub(crate) token: Option<SessionToken>,
    /// How it came: with a header `Authorization` the cookie does not count, whatever the header is worth.
    pub(crate) carrier: Carrier,
    pub(crate) authentication: Authentication,
    pub(crate) client: Client,
}

impl Caller {
    pub(crate) fn principal(&self) -> Option<&Principal> {
        match &self.authentication {
            Authentication::SignedIn(principal) => Some(principal),
            _ => None,
        }
    }

    /// Who may set up a factor, and what leads there: whoever is signed in, also if a factor is due that they don't have.
    pub(crate) fn enroller(&self) -> Option<&Principal> {
        match &self.authentication {
            Authentication::SignedIn(principal) | Authentication::FactorDue(principal) => Some(principal),
            _ => None,
        }
    }

    /// Whoever is signed in with a second factor required of them that they have not proved.
    pub(crate) fn whose_factor_is_due(&self) -> Option<&Principal> {
        match &self.authentication {
            Authentication::FactorDue(principal) => Some(principal),
            _ => None,
        }
    }

    pub(crate) fn is_factor_due(&self) -> bool {
        self.whose_factor_is_due().is_some()
    }

    /// Whose second factor may be asked for: to sign in, or to prove again who they are.
    pub(crate) fn claimant(&self) -> Option<Claimant> {
        match &self.authentication {
            Authentication::SignedIn(principal) | Authentication::FactorDue(principal) => {
                Some(principal.into())
            }
            Authentication::PendingSecondFactor(pending) => Some(pending.into()),
            _ => None,
        }
    }

    /// Whether the token belongs to a session that lives, however far its sign-in has come.
    pub(crate) fn has_session(&self) -> bool {
        self.claimant().is_some()
    }

    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.authentication, Authentication::PendingSecondFactor(_))
    }
}

/// The request can't be attributed.
#[derive(Debug)]
enum CallerError {
    /// The adapter was given no peer address; what to do about it.
    NoPeer(&'static str),
    /// The store failed.
    Iam(Error),
}

impl RequestContext {
    pub(crate) fn new(web: WebIam, peer: Result<IpAddr, &'static str>) -> Self {
        Self {
            web,
            peer,
            caller: OnceCell::new(),
            proving: OnceCell::new(),
            request_id: OnceLock::new(),
            visitor: OnceLock::new(),
            csrf_passed: AtomicBool::new(false),
            guarded: AtomicBool::new(false),
            used: Mutex::default(),
            passed: Mutex::default(),
            cookies: Mutex::default(),
            renewed: Mutex::default(),
            next_token: Mutex::default(),
            has_next_token: AtomicBool::new(false),
            unknown: Mutex::default(),
        }
    }

    /// The identity layer.
    pub fn iam(&self) -> &Iam {
        self.web.iam()
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.web.inner
    }

    pub(crate) const fn web(&self) -> &WebIam {
        &self.web
    }

    /// The request's name in logs, answers and the audit trail. A trusted proxy may give it (`X-Request-Id`), else it is made.
    pub fn request_id(&self, view: &dyn RequestView) -> &str {
        self.request_id
            .get_or_init(|| self.given_request_id(view).unwrap_or_else(|| self.random_text::<12>()))
    }

    fn given_request_id(&self, view: &dyn RequestView) -> Option<String> {
        if !self.inner().proxies.trusts(self.peer.ok()?) {
            return None;
        }
        let [id] = view.header("x-request-id")[..] else { return None };
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let usable = (1..=64).contains(&id.len()) && id.iter().all(plain);
        usable.then(|| String::from_utf8_lossy(id).into_owned())
    }

    /// Random text for what needs to be unlike others, not secret: without randomness it is empty, and everything that needs
    /// a secret fails by itself.
    pub(crate) fn random_text<const N: usize>(&self) -> String {
        let mut bytes = [0; N];
        match self.iam().randomness().fill(&mut bytes) {
            Ok(()) => Base64UrlUnpadded::encode_string(&bytes),
            Err(_) => String::new(),
        }
    }

    /// Where the request comes from.
    fn client(&self, view: &dyn RequestView) -> Result<Client, CallerError> {
        let peer = self.peer.map_err(CallerError::NoPeer)?;
        let address = client_address(peer, view, &self.inner().proxies);
        let client = Client::at(address).request_id(self.request_id(view));
        Ok(match view.header("user-agent")[..] {
            [] => client,
            [first, ..] => client.user_agent(first),
        })
    }

    /// Who sends the request, or the answer if that can't be told. One statement, the first time; nothing after that.
    pub(crate) async fn caller(
        &self,
        view: &dyn RequestView,
        activity: Activity,
    ) -> Result<&Caller, Box<WebResponse>> {
        // It is asked once: were a later answer better, the handler would act, and `close` would say that it did not.
        if let Some(unknown) = self.unknown() {
            return Err(Box::new(unknown));
        }
        let found = self.caller.get_or_try_init(|| self.find_caller(view, activity)).await;
        found.map_err(|error| self.cannot_tell(view, &error))
    }

    /// The caller with their step-up proofs. One more statement, the first time that a guard asks for a proof: what one guard of a request
    /// used up is still there for another one.
    pub(crate) async fn proving(&self, principal: &Principal) -> Result<&Principal, Error> {
        self.proving.get_or_try_init(|| self.iam().protocol().with_step_up_proofs(principal)).await
    }

    /// That is nobody's denial: the cookie stays.
    fn cannot_tell(&self, view: &dyn RequestView, error: &CallerError) -> Box<WebResponse> {
        let answer = match error {
            CallerError::Iam(error) => self.failed(view, error),
            CallerError::NoPeer(remedy) => {
                tracing::error!("the client's address is unknown: {remedy}");
                self.refusal(view, Case::Internal)
            }
        };
        self.remember_unknown(&answer);
        Box::new(answer)
    }

    /// Who goes on as if nobody were signed in, though it could not be told, gets no further than [`close`](Self::close).
    pub(crate) fn remember_unknown(&self, answer: &WebResponse) {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| answer.copy());
    }

    fn unknown(&self) -> Option<WebResponse> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(WebResponse::copy)
    }

    pub(crate) fn take_unknown(&self) -> Option<WebResponse> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The request's name, if anything has asked for it.
    pub(crate) fn known_request_id(&self) -> &str {
        self.request_id.get().map_or("", String::as_str)
    }

    async fn find_caller(&self, view: &dyn RequestView, activity: Activity) -> Result<Caller, CallerError> {
        let client = self.client(view)?;
        let (token, carrier) = self.session_token(view);
        let activity = match view.header(ACTIVITY_HEADER)[..] {
            [b"none"] => Activity::Background,
            _ => activity,
        };
        let authentication = match &token {
            None => Authentication::Anonymous,
            Some(token) => self
                .iam()
                .protocol()
                .authenticate(token, activity, &client)
                .await
                .map_err(CallerError::Iam)?,
        };
        let caller = Caller { token, carrier, authentication, client };
        self.replace_daily_token(view, &caller).await;
        Ok(caller)
    }

    /// Puts the next token of a long session into the answer, once a day. What can't be done now is done with another request: the token
    /// that came counts as before.
    async fn replace_daily_token(&self, view: &dyn RequestView, caller: &Caller) {
        let (Some(principal), Some(token)) = (caller.enroller(), &caller.token) else { return };
        if !principal.is_token_due() || !self.may_carry_token(view) {
            return;
        }
        match self.iam().protocol().replace_daily_token(principal, token).await {
            Ok(Some(new)) if caller.carrier == Carrier::Cookie => {
                self.set_session_cookie(&new, principal.stays_until());
                self.has_next_token.store(true, Ordering::Relaxed);
            }
            Ok(Some(new)) => {
                let text = new.expose().as_str().to_owned();
                self.next_token.lock().unwrap_or_else(PoisonError::into_inner).replace(text);
                self.has_next_token.store(true, Ordering::Relaxed);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a session's token was not replaced"
                );
            }
        }
    }

    /// Whether an answer may bring another token: not that of a change of protocol, of which clients are not sure to keep cookies, nor that
    /// of our own addresses that renew tokens themselves.
    fn may_carry_token(&self, view: &dyn RequestView) -> bool {
        if csrf::is_upgrade(view) || view.method() == "CONNECT" {
            return false;
        }
        let path = view.target().split('?').next().unwrap_or_default();
        let is_ours = |(pattern, _): &(String, _)| path_matches(pattern, path);
        csrf::is_safe(view) || !self.web.auth_endpoints().iter().any(is_ours)
    }

    /// Puts a session's token into its cookie. That of a long one outlives the browser's own session, and that of any other does not.
    pub(crate) fn set_session_cookie(&self, token: &SessionToken, stays_until: Option<Timestamp>) {
        let max_age = stays_until.map(|until| until.since(self.iam().now()));
        self.add_cookie(self.inner().cookies.set(CookieKind::Session, &token.expose(), max_age));
    }

    fn session_token(&self, view: &dyn RequestView) -> (Option<SessionToken>, Carrier) {
        match view.header("authorization")[..] {
            [] => {
                let cookies = &self.inner().cookies;
                let cookie = cookies.read(view, CookieKind::Session);
                if cookie.is_none() && cookies.is_ambiguous(view, CookieKind::Session) {
                    let (name, request_id) = (cookies.name(CookieKind::Session), self.request_id(view));
                    tracing::debug!(
                        request_id,
                        name,
                        "this cookie comes with two values: nobody is signed in"
                    );
                }
                (cookie.and_then(|text| SessionToken::parse(&text, Carrier::Cookie)), Carrier::Cookie)
            }
            [credentials] => (bearer_token(credentials), Carrier::Bearer),
            // Which of several counts can't be told.
            _ => (None, Carrier::Bearer),
        }
    }

    /// A token for a form or a script of this caller: bound to the session, or to a cookie of its own when nobody is signed in.
    pub(crate) fn csrf_token(&self, view: &dyn RequestView, caller: &Caller) -> Result<String, Error> {
        let key = &self.inner().csrf_key;
        let random = self.iam().randomness();
        Ok(match &caller.token {
            Some(token) if caller.has_session() => csrf::issue(key, Binding::Session(&token.hash()), random)?,
            _ => csrf::issue(key, Binding::Visitor(self.visitor(view)?), random)?,
        })
    }

    /// The cookie of somebody who is not signed in, made when there is none.
    fn visitor(&self, view: &dyn RequestView) -> Result<&str, Error> {
        if let Some(visitor) = self.visitor.get() {
            return Ok(visitor);
        }
        let cookies = &self.inner().cookies;
        let known =
            cookies.read(view, CookieKind::Pre).filter(|value| value.len() == SessionToken::TEXT_LENGTH);
        let visitor = match known {
            Some(value) => value,
            None => {
                let mut bytes = [0; 32];
                self.iam().randomness().fill(&mut bytes)?;
                let value = Base64UrlUnpadded::encode_string(&bytes);
                self.add_cookie(cookies.set(CookieKind::Pre, &value, None));
                value
            }
        };
        Ok(self.visitor.get_or_init(|| visitor))
    }

    /// Whether a token is one of this caller's. Who is signed in needs the session's own; before that, the visitor's counts.
    pub(crate) fn is_csrf_token(&self, view: &dyn RequestView, caller: &Caller, token: &str) -> bool {
        let key = &self.inner().csrf_key;
        let is_of = |hash: &TokenHash| csrf::verify(key, Binding::Session(hash), token);
        // A form that was open when a day replaced the session's token is still its own.
        let before = caller.enroller().and_then(Principal::token_before);
        let by_session =
            caller.token.as_ref().is_some_and(|own| is_of(&own.hash())) || before.is_some_and(is_of);
        if by_session || caller.has_session() {
            return by_session;
        }
        let visitor = self.inner().cookies.read(view, CookieKind::Pre);
        visitor.is_some_and(|visitor| csrf::verify(key, Binding::Visitor(&visitor), token))
    }

    /// What the request's headers alone say about where it comes from: `Some(true)`, it is fine.
    pub(crate) fn csrf_by_headers(&self, view: &dyn RequestView, caller: &Caller) -> Option<bool> {
        // No browser sends a bearer token by itself. (It does send Basic and Negotiate: those are nobody's session.)
        if caller.carrier == Carrier::Bearer && caller.has_session() {
            return Some(true);
        }
        self.csrf_by_browser(view, caller)
    }

    /// The same for what signs a browser in: there a bearer token changes nothing.
    pub(crate) fn csrf_by_browser(&self, view: &dyn RequestView, caller: &Caller) -> Option<bool> {
        if let [token] = view.header("x-csrf-token")[..] {
            let token = std::str::from_utf8(token).unwrap_or_default();
            return Some(self.is_csrf_token(view, caller, token));
        }
        match csrf::site(view, &self.inner().allowed_origins) {
            Site::Same => Some(true),
            Site::Foreign | Site::Unknown => None,
        }
    }

    pub(crate) fn site(&self, view: &dyn RequestView) -> Site {
        csrf::site(view, &self.inner().allowed_origins)
    }

    /// A check of this request has passed: whoever asks later in the same request need not check again.
    pub(crate) fn csrf_passed(&self) -> &AtomicBool {
        &self.csrf_passed
    }

    pub(crate) fn mark_guarded(&self) {
        self.guarded.store(true, Ordering::Relaxed);
    }

    /// Whether the answer depends on who asked, so that no cache may keep it.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded.load(Ordering::Relaxed)
    }

    /// What was used up for this request.
    pub(crate) fn note_used(&self, proofs: &[StepUpProofId], resumed: Option<InterruptedId>) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.proofs.extend_from_slice(proofs);
        used.resumed = resumed.or(used.resumed);
    }

    pub(crate) fn used(&self) -> UsedUp {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A guard lets the request pass.
    pub(crate) fn note_passed(&self, requirement: &Arc<Requirement>, facts: &Facts) {
        let passed = (Arc::clone(requirement), facts.clone());
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).push(passed);
    }

    pub(crate) fn passed(&self) -> Vec<(Arc<Requirement>, Facts)> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn add_cookie(&self, cookie: String) {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner).push(cookie);
    }

    /// The `Set-Cookie` lines that there are so far.
    pub(crate) fn cookies_so_far(&self) -> Vec<String> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The caller's session goes on with this token.
    pub(crate) fn note_renewed(&self, token: &SessionToken) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.hash());
    }

    /// The token that the caller's session goes on with, if this request renewed it.
    pub(crate) fn renewed_to(&self) -> Option<TokenHash> {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next token of who came with a bearer token, for their answer. It is given once.
    pub(crate) fn take_next_token(&self) -> Option<String> {
        self.next_token.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether a token goes with the answer, so that no cache may keep it whatever its host says.
    pub(crate) fn has_next_token(&self) -> bool {
        self.has_next_token.load(Ordering::Relaxed)
    }

    /// The `Set-Cookie` lines of this request's answer. They are given once.
    pub(crate) fn take_cookies(&self) -> Vec<String> {
        std::mem::take(&mut *self.cookies.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// `Bearer` and the token (RFC 6750), and nothing else.
pub(crate) fn bearer_token(credentials: &[u8]) -> Option<SessionToken> {
    let (scheme, token) = std::str::from_utf8(credentials).ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") { SessionToken::parse(token, Carrier::Bearer) } else { None }
}

impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext").field("peer", &self.peer).finish_non_exhaustive()
    }
}
