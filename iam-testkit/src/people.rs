//! People in one line.

use std::pin::Pin;
use std::sync::Arc;

use iam_core::ports::LoginIdentifier;
use iam_core::protocol::{Carrier, Login, SignedIn};
use iam_core::{
    AccountId, Actor, AdministratorScope, Client, EmailAddress, Error, ExternalId, NewAccount, PlainPassword,
    ProofMethod, Purpose, RoleName, SessionId, Username,
};
use tokio::sync::OnceCell;

use crate::must;
use crate::test_iam::{PASSWORD, PEER, TestIam};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Somebody with an account: await it for the account's id. From [`TestIam::account`].
#[derive(Clone, Debug)]
#[must_use = "nobody is made until it is awaited"]
pub struct Person {
    test: TestIam,
    name: String,
    password: String,
    roles: Vec<String>,
    parent: Option<String>,
    external_id: Option<String>,
    email: Option<String>,
}

impl Person {
    pub(crate) fn new(test: TestIam, name: &str) -> Self {
        Self {
            test,
            name: name.to_owned(),
            password: PASSWORD.to_owned(),
            roles: Vec::new(),
            parent: None,
            external_id: None,
            email: None,
        }
    }

    /// With a role, besides those that they hold already. The role is made, unless it is there.
    pub fn role(mut self, name: &str) -> Self {
        self.roles.push(name.to_owned());
        self
    }

    /// In a parent, which is made, unless it is there.
    ///
    /// An account belongs to at most one parent, from when it is made: awaiting this panics if the account is there and is not
    /// in this parent, and if `parent` was called before with another one.
    pub fn parent(mut self, key: &str) -> Self {
        if let Some(other) = self.parent.as_deref().filter(|other| *other != key) {
            let name = &self.name;
            panic!("iam-testkit: {name} can't be in `{other}` and in `{key}`: an account has one parent")
        }
        self.parent = Some(key.to_owned());
        self
    }

    /// With the service's own key for them, such as the primary key of its table of customers. An account that is there is given
    /// it in place of the one that it has.
    ///
    /// Awaiting this panics if it is somebody else's already.
    pub fn external_id(mut self, id: impl Into<String>) -> Self {
        self.external_id = Some(id.into());
        self
    }

    /// With a verified address, to which the service sends codes and news: [`TestIam::mails`]. It is for a new account; one that is there
    /// keeps what it has.
    pub fn email(mut self, address: &str) -> Self {
        self.email = Some(address.to_owned());
        self
    }

    /// With another password than [`PASSWORD`]: for a new account, and for one that has it already.
    pub fn password(mut self, password: &str) -> Self {
        password.clone_into(&mut self.password);
        self
    }

    async fn ensure(&self) -> AccountId {
        let (name, iam, service) = (&self.name, self.test.iam(), Actor::service());
        let username = must(Username::parse(name), format_args!("`{name}` can't be a user name"));
        let parent = match &self.parent {
            Some(key) => Some(self.test.parent(key).await),
            None => None,
        };
        let external_id = self
            .external_id
            .as_deref()
            .map(|id| must(ExternalId::parse(id), format_args!("`{id}` can't be an external id")));
        if let Some(id) = &external_id {
            let holder =
                must(iam.accounts(&Actor::service()).by_external_id(id).await, "accounts can't be read");
            if let Some(other) = holder.filter(|holder| holder.username != username) {
                panic!(
                    "iam-testkit: {name} can't have the external id `{id}`: it is that of {}",
                    other.username
                )
            }
        }
        let find = async || {
            must(iam.accounts(&Actor::service()).by_username(&username).await, "accounts can't be read")
        };
        if find().await.is_none() {
            let mut new = NewAccount::new(username.clone()).password(self.plain_password());
            new.parent = parent;
            new.external_id = external_id.clone();
            if let Some(address) = &self.email {
                let parsed = EmailAddress::parse(address);
                new = new.verified_email(must(parsed, format_args!("`{address}` can't be an address")));
            }
            match iam.accounts(&service).create(new).await {
                // Another task of the test was faster.
                Err(Error::Conflict(_)) => {}
                made => {
                    must(made, format_args!("{name}'s account can't be made"));
                }
            }
        }
        let Some(account) = find().await else { panic!("iam-testkit: {name}'s account has gone") };
        if let Some(key) = self.parent.as_ref().filter(|_| account.parent != parent) {
            let now = if account.parent.is_some() { "in another parent" } else { "without a parent" };
            panic!(
                "iam-testkit: {name} can't be put in `{key}`: the account is there, {now}, and keeps what it was \
                 made with; take another name"
            )
        }
        if external_id.is_some() {
            let given = iam.accounts(&service).set_external_id(account.id, external_id.as_ref()).await;
            must(given, format_args!("{name} can't be given another external id"));
        }
        for role in &self.roles {
            let parsed = must(RoleName::parse(role), format_args!("`{role}` can't be a role's name"));
            let granted = match AdministratorScope::of_role(&parsed) {
                Some(scope) => iam.roles(&service).grant_administrator(account.id, scope).await,
                None => iam.roles(&service).grant(account.id, &parsed).await,
            };
            must(granted, format_args!("{name} can't be given the role `{role}`"));
        }
        account.id
    }

    async fn sign_in(&self, carrier: Carrier) -> SignedIn {
        let name = &self.name;
        let identifier =
            must(LoginIdentifier::parse(name), format_args!("`{name}` can't sign in by that name"));
        let login = Login {
            identifier: &identifier,
            password: self.plain_password(),
            device: None,
            trusted: None,
            carrier,
            // As with `"token": true`: where the service lets it.
            stay_signed_in: carrier == Carrier::Bearer,
            replaces: None,
            client: &Client::at(PEER.ip()),
        };
        match self.test.iam().protocol().login(login).await {
            Err(Error::Credentials) => panic!(
                "iam-testkit: {name} can't sign in: the account has another password (then give it with \
                 `.password(..)`), or it or its parent is not active"
            ),
            done => {
                let half = must(done, format_args!("{name} can't sign in"));
                self.test.complete(half).await
            }
        }
    }

    fn plain_password(&self) -> PlainPassword {
        must(
            PlainPassword::new(self.password.as_str()),
            format_args!("`{}` can't be a password", self.password),
        )
    }
}

impl IntoFuture for Person {
    type Output = AccountId;
    type IntoFuture = Boxed<AccountId>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.ensure().await })
    }
}

/// Somebody who is about to sign in: await it for the [`SignedInPerson`]. From [`TestIam::signed_in`].
#[derive(Clone, Debug)]
#[must_use = "nobody signs in until it is awaited"]
pub struct SignIn {
    person: Person,
}

impl SignIn {
    pub(crate) fn new(person: Person) -> Self {
        Self { person }
    }

    /// With a role, as [`Person::role`].
    pub fn role(self, name: &str) -> Self {
        Self { person: self.person.role(name) }
    }

    /// In a parent, as [`Person::parent`].
    pub fn parent(self, key: &str) -> Self {
        Self { person: self.person.parent(key) }
    }

    /// With the service's own key for them, as [`Person::external_id`].
    pub fn external_id(self, id: impl Into<String>) -> Self {
        Self { person: self.person.external_id(id) }
    }

    /// With a verified address, as [`Person::email`].
    pub fn email(self, address: &str) -> Self {
        Self { person: self.person.email(address) }
    }

    /// With another password than [`PASSWORD`], as [`Person::password`].
    pub fn password(self, password: &str) -> Self {
        Self { person: self.person.password(password) }
    }
}

impl IntoFuture for SignIn {
    type Output = SignedInPerson;
    type IntoFuture = Boxed<SignedInPerson>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let person = self.person;
            person.ensure().await;
            let signed_in = person.sign_in(Carrier::Cookie).await;
            let web = person.test.web();
            let name = web.session_cookie_name();
            SignedInPerson {
                account: signed_in.account,
                session: signed_in.session,
                cookie: format!("{name}={}", *signed_in.token.expose()),
                bearer: Arc::default(),
                person,
            }
        })
    }
}

/// Somebody who has signed in. Clones share the sessions.
#[derive(Clone)]
pub struct SignedInPerson {
    account: AccountId,
    session: SessionId,
    cookie: String,
    bearer: Arc<OnceCell<String>>,
    person: Person,
}

impl SignedInPerson {
    /// The account.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// The session of the [`cookie`](Self::cookie).
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The value of the `Cookie` header, name included.
    pub fn cookie(&self) -> String {
        self.cookie.clone()
    }

    /// Proves now, in the session of the [`cookie`](Self::cookie), who they are for a purpose, as with the code of an authenticator app: a
    /// guard that asks for a step-up lets them pass, for as long as it says. Where it asks for the approval of what is sent, that is
    /// [`approves`](Self::approves).
    pub async fn proves(&self, purpose: &str) {
        self.proves_by(purpose, ProofMethod::Totp).await;
    }

    /// The same by another factor, or by the password.
    pub async fn proves_by(&self, purpose: &str, method: impl Into<ProofMethod>) {
        self.prove(purpose, method.into(), None).await;
    }

    /// Approves now what a request says, as after reading it, with the code of an authenticator app: a guard that asks for a step-up
    /// [`approving`](iam_core::StepUp::approving) these fields lets this request pass, and no other. The target is path and query; the
    /// fields are those that the guard names and no others, in any order, each with its value as the request has it.
    pub async fn approves(&self, purpose: &str, method: &str, target: &str, fields: &[(&str, &str)]) {
        self.approves_by(ProofMethod::Totp, purpose, method, target, fields).await;
    }

    /// The same by another factor, or by the password.
    pub async fn approves_by(
        &self,
        by: impl Into<ProofMethod>,
        purpose: &str,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) {
        // A browser sends every line break as two characters, and either is approved as one.
        let value = |value: &str| value.replace("\r\n", "\n");
        let fields = fields.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect();
        let approval = self.person.test.iam().protocol().approval(method, target, fields);
        self.prove(purpose, by.into(), Some(approval.digest())).await;
    }

    async fn prove(&self, purpose: &str, kind: ProofMethod, approval: Option<[u8; 32]>) {
        let Some(parsed) = Purpose::parse(purpose) else {
            panic!("iam-testkit: `{purpose}` can't be a purpose: lower-case letters, digits and `_ . : -`")
        };
        let proved = self.person.test.prove(self.account, self.session, parsed, kind, approval).await;
        must(proved, format_args!("{} can't prove who they are", self.person.name));
    }

    /// The value of the `Authorization` header for a program of theirs, which stays signed in for as long as the service's
    /// [`long_sessions`](iam_core::IamBuilder::long_sessions) let it.
    ///
    /// It is a session of its own, as it must be: a token is good for one of the two headers only. The first call signs in a
    /// second time, at the time that the clock then shows; later calls give the same. What somebody [`proves`](Self::proves) or
    /// [`approves`](Self::approves) counts for the session of the cookie alone.
    pub async fn bearer(&self) -> String {
        let sign_in = async || {
            let signed_in = self.person.sign_in(Carrier::Bearer).await;
            format!("Bearer {}", *signed_in.token.expose())
        };
        self.bearer.get_or_init(sign_in).await.clone()
    }

    /// The value of the `Origin` header, that a browser sends with an unsafe request (not `GET`, `HEAD`, `OPTIONS`, `TRACE`; or a
    /// handshake of a WebSocket) from the service's own pages. Guards refuse one with a cookie and without this; one with a bearer token needs none.
    pub fn origin(&self) -> String {
        self.person.test.origin()
    }
}

impl std::fmt::Debug for SignedInPerson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedInPerson")
            .field("name", &self.person.name)
            .field("account", &self.account)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
