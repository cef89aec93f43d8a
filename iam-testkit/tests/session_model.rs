//! The session state machine against a model: whatever people and administrators do in whatever order, for every token that was
//! ever given out the model says whether it must be accepted now, and every session is in the audit trail as often as it should be.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at once, and what it indexes it has made"
)]

use std::env;
use std::sync::Arc;
use std::time::Duration;

use iam_core::ports::{LoginIdentifier, Record, Store};
use iam_core::protocol::{Activity, Authentication, Carrier, Login, Replaced, SessionToken};
use iam_core::{
    AccountId, AccountStatus, Actor, Argon2Params, Client, Clock, Error, FRESH_FOR, HashingConfig, Iam, Keys,
    LoginLimits, ManualClock, NewAccount, ParentId, ParentKey, ParentStatus, PlainPassword, Principal,
    SessionId, Timestamp, Username,
};
use iam_store_sqlite::SqliteStore;
use iam_testkit::PEER;
use proptest::prelude::*;
use proptest::sample::Index;

const IDLE: Duration = Duration::from_mins(30);
const ABSOLUTE: Duration = Duration::from_hours(12);
/// How exactly use is noted.
const NOTED: Duration = Duration::from_mins(1);
const MOST_SESSIONS: usize = 10;

const NAMES: [&str; 2] = ["alice", "bob"];
const BROWSERS: usize = 2;
const PASSWORDS: [&str; 2] = ["correct horse battery", "staple correct horse"];
const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// What happens next. An [`Index`] picks among all tokens, or sessions, that there ever were.
#[derive(Clone, Debug)]
enum Step {
    /// In a browser, or else by a program.
    SignIn {
        account: usize,
        browser: Option<usize>,
        wrong: bool,
    },
    /// As many sessions as one account may have, and one more.
    SignInElevenTimes {
        account: usize,
    },
    Request {
        token: Index,
        activity: Activity,
    },
    Logout {
        token: Index,
    },
    Reauthenticate {
        token: Index,
        wrong: bool,
    },
    ChangePassword {
        token: Index,
        wrong: bool,
    },
    /// A request that was let in, and did not get to its renewal before something else happened.
    LateRenewal {
        token: Index,
        meanwhile: Meanwhile,
    },
    EndOne {
        token: Index,
        session: Index,
    },
    EndOthers {
        token: Index,
    },
    Revoke {
        session: Index,
    },
    SetPassword {
        account: usize,
    },
    SetStatus {
        account: usize,
        active: bool,
    },
    /// By another program, which knows of no sessions.
    StatusBehindOurBack {
        account: usize,
    },
    SuspendParent {
        suspended: bool,
    },
    Wait {
        seconds: u64,
    },
    Upkeep,
}

#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    SignedOut,
    Renewed,
    AccountChanged,
}

fn step() -> impl Strategy<Value = Step> {
    let account = || 0..NAMES.len();
    let token = any::<Index>;
    let rarely = || prop::bool::weighted(0.15);
    let activity = prop_oneof![4 => Just(Activity::Active), 1 => Just(Activity::Background)];
    let meanwhile =
        prop_oneof![Just(Meanwhile::SignedOut), Just(Meanwhile::Renewed), Just(Meanwhile::AccountChanged)];
    let seconds = prop_oneof![
        6 => 1_u64..90,
        6 => 90_u64..1500,
        3 => 1790_u64..1870,
        1 => 10_000_u64..50_000,
        1 => 85_000_u64..90_000,
    ];
    prop_oneof![
        12 => (account(), prop::option::of(0..BROWSERS), rarely())
            .prop_map(|(account, browser, wrong)| Step::SignIn { account, browser, wrong }),
        1 => account().prop_map(|account| Step::SignInElevenTimes { account }),
        14 => (token(), activity).prop_map(|(token, activity)| Step::Request { token, activity }),
        3 => token().prop_map(|token| Step::Logout { token }),
        5 => (token(), rarely()).prop_map(|(token, wrong)| Step::Reauthenticate { token, wrong }),
        3 => (token(), rarely()).prop_map(|(token, wrong)| Step::ChangePassword { token, wrong }),
        2 => (token(), meanwhile).prop_map(|(token, meanwhile)| Step::LateRenewal { token, meanwhile }),
        3 => (token(), token()).prop_map(|(token, session)| Step::EndOne { token, session }),
        2 => token().prop_map(|token| Step::EndOthers { token }),
        1 => token().prop_map(|session| Step::Revoke { session }),
        1 => account().prop_map(|account| Step::SetPassword { account }),
        3 => (account(), prop::bool::weighted(0.7))
            .prop_map(|(account, active)| Step::SetStatus { account, active }),
        1 => account().prop_map(|account| Step::StatusBehindOurBack { account }),
        2 => prop::bool::weighted(0.4).prop_map(|suspended| Step::SuspendParent { suspended }),
        12 => seconds.prop_map(|seconds| Step::Wait { seconds }),
        2 => Just(Step::Upkeep),
    ]
}

/// A session as the model knows it.
struct Session {
    id: SessionId,
    account: usize,
    login_at: Timestamp,
    seen_at: Timestamp,
    proved_at: Timestamp,
    version: u32,
    /// How the audit trail must say it.
    ended: Option<&'static str>,
}

/// The trail counts sessions that end together.
const TOGETHER: &str = "together";

struct Token {
    secret: SessionToken,
    session: usize,
    /// By the token of a renewal.
    replaced: bool,
}

struct Account {
    id: AccountId,
    password: usize,
    version: u32,
    active: bool,
    in_parent: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Worth {
    SignedIn,
    RanOut(&'static str),
    Nothing,
}

struct World {
    iam: Iam,
    store: SqliteStore,
    clock: Arc<ManualClock>,
    parent: ParentId,
    suspended: bool,
    accounts: Vec<Account>,
    sessions: Vec<Session>,
    tokens: Vec<Token>,
    /// The token that each holds.
    browsers: [Option<usize>; BROWSERS],
    /// Whether sessions that ran out are left to upkeep, or found by the next request.
    left_to_upkeep: bool,
}

impl World {
    async fn new(left_to_upkeep: bool) -> Self {
        let store = SqliteStore::open_in_memory().await.unwrap();
        store.migrate().await.unwrap();
        let keys = Keys::danger_known_for_tests();
        let clock = Arc::new(ManualClock::new(START));
        let cost = Argon2Params::danger_weak_for_tests();
        // Limits are no matter of sessions.
        let mut limits = LoginLimits::default();
        limits.account.free = 1000;
        for window in
            [&mut limits.session, &mut limits.address, &mut limits.address_long, &mut limits.sign_ins]
        {
            window.limit = 1000;
        }
        let builder = Iam::builder(store.clone(), keys)
            .argon2(cost)
            .hashing(HashingConfig { threads: 1, ..HashingConfig::for_params(&cost) })
            .clock(Arc::clone(&clock))
            .login_limits(limits);
        let (iam, _worker) = builder.build_with_manual_worker().await.unwrap();
        let service = Actor::service();
        let parent = iam.parents(&service).ensure(&ParentKey::parse("acme").unwrap()).await.unwrap();
        let mut accounts = Vec::new();
        for (name, in_parent) in NAMES.into_iter().zip([true, false]) {
            let mut new = NewAccount::new(Username::parse(name).unwrap()).password(password(0));
            new.parent = in_parent.then_some(parent);
            let id = iam.accounts(&service).create(new).await.unwrap();
            accounts.push(Account { id, password: 0, version: 1, active: true, in_parent });
        }
        Self {
            iam,
            store,
            clock,
            parent,
            suspended: false,
            accounts,
            sessions: Vec::new(),
            tokens: Vec::new(),
            browsers: [None; BROWSERS],
            left_to_upkeep,
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn may_be_used(&self, account: usize) -> bool {
        let account = &self.accounts[account];
        account.active && !(account.in_parent && self.suspended)
    }

    /// What the model says of a token.
    fn worth(&self, token: usize) -> Worth {
        let token = &self.tokens[token];
        let session = &self.sessions[token.session];
        let noted = if session.seen_at > session.login_at { NOTED } else { Duration::ZERO };
        if token.replaced || session.ended.is_some() {
            Worth::Nothing
        } else if self.now() >= session.proved_at.plus(ABSOLUTE) {
            Worth::RanOut("expired")
        } else if self.now() >= session.seen_at.plus(IDLE).plus(noted) {
            Worth::RanOut("idle")
        } else if !self.may_be_used(session.account)
            || session.version != self.accounts[session.account].version
        {
            Worth::Nothing
        } else {
            Worth::SignedIn
        }
    }

    /// Ends those of an account's sessions that have not ended; says how many.
    fn end(&mut self, how: &'static str, which: impl Fn(usize, &Session) -> bool) -> u64 {
        let mut ended = 0;
        for (at, session) in self.sessions.iter_mut().enumerate() {
            if session.ended.is_none() && which(at, session) {
                session.ended = Some(how);
                ended += 1;
            }
        }
        ended
    }

    /// Shows a token, and compares the answer with the model's.
    async fn show(&mut self, at: usize, activity: Activity) -> Option<Principal> {
        let worth = self.worth(at);
        let answer =
            self.iam.protocol().authenticate(&self.tokens[at].secret, activity, &client()).await.unwrap();
        let now = self.now();
        let session = &mut self.sessions[self.tokens[at].session];
        match (worth, answer) {
            (Worth::SignedIn, Authentication::SignedIn(principal)) => {
                assert_eq!(principal.session(), session.id);
                assert_eq!(principal.account(), self.accounts[session.account].id);
                assert_eq!(principal.signed_in_at(), session.login_at);
                assert_eq!(principal.authenticated_at(), session.proved_at);
                let noted_lately = session.seen_at > session.login_at && now < session.seen_at.plus(NOTED);
                if activity == Activity::Active && !noted_lately {
                    session.seen_at = now;
                }
                Some(principal)
            }
            (Worth::RanOut(how), Authentication::Anonymous) => {
                session.ended = Some(how);
                None
            }
            (Worth::Nothing, Authentication::Anonymous) => None,
            (worth, answer) => panic!("token {at} is worth {worth:?}, and got {answer:?}"),
        }
    }

    /// A cookie's token in a header, or the other way round, is worth nothing.
    async fn show_as_the_other_kind(&self, at: usize) {
        let token = &self.tokens[at].secret;
        let other = if token.carrier() == Carrier::Cookie { Carrier::Bearer } else { Carrier::Cookie };
        let token = SessionToken::parse(&token.expose(), other).unwrap();
        let answer = self.iam.protocol().authenticate(&token, Activity::Active, &client()).await.unwrap();
        assert!(matches!(answer, Authentication::Anonymous), "token {at} as a {other:?}: {answer:?}");
    }

    async fn sign_in(&mut self, account: usize, browser: Option<usize>, wrong: bool) {
        let shown = browser.and_then(|browser| self.browsers[browser]);
        let replaces = shown.map(|at| self.tokens[at].secret.clone());
        let carrier = if browser.is_some() { Carrier::Cookie } else { Carrier::Bearer };
        let login = Login {
            identifier: &LoginIdentifier::parse(NAMES[account]).unwrap(),
            password: password(self.accounts[account].password ^ usize::from(wrong)),
            device: None,
            trusted: None,
            carrier,
            stay_signed_in: false,
            replaces: replaces.as_ref().map(Replaced::By),
            client: &client(),
        };
        let done = self.iam.protocol().login(login).await;
        if wrong || !self.may_be_used(account) {
            assert!(matches!(done, Err(Error::Credentials)), "{done:?}");
            return;
        }
        let done = done.unwrap();
        if let Some(at) = shown.filter(|at| !self.tokens[*at].replaced) {
            let left = self.tokens[at].session;
            self.end("replaced", |at, _| at == left);
        }
        let now = self.now();
        let version = self.accounts[account].version;
        self.sessions.push(Session {
            id: done.session,
            account,
            login_at: now,
            seen_at: now,
            proved_at: now,
            version,
            ended: None,
        });
        // The new one stays, whatever the clock says.
        let is_other = |s: &&Session| s.account == account && s.ended.is_none() && s.id != done.session;
        let mut others: Vec<_> = self.sessions.iter().filter(is_other).collect();
        // One that was used may have been so for a minute after that was noted.
        others.sort_unstable_by_key(|session| {
            let noted = if session.seen_at > session.login_at { NOTED } else { Duration::ZERO };
            std::cmp::Reverse((session.seen_at.plus(noted), session.login_at, session.id))
        });
        let unused: Vec<_> = others.iter().skip(MOST_SESSIONS - 1).map(|session| session.id).collect();
        self.end("evicted", |_, session| unused.contains(&session.id));
        self.tokens.push(Token { secret: done.token, session: self.sessions.len() - 1, replaced: false });
        if let Some(browser) = browser {
            self.browsers[browser] = Some(self.tokens.len() - 1);
        }
    }

    /// A session got a new token.
    fn renewed(&mut self, old: usize, token: SessionToken) {
        let (now, session) = (self.now(), self.tokens[old].session);
        self.tokens[old].replaced = true;
        self.tokens.push(Token { secret: token, session, replaced: false });
        let new = self.tokens.len() - 1;
        for held in self.browsers.iter_mut().flatten().filter(|held| **held == old) {
            *held = new;
        }
        let session = &mut self.sessions[session];
        (session.proved_at, session.seen_at) = (now, now);
    }

    async fn reauthenticate(&mut self, at: usize, principal: &Principal, wrong: bool) {
        let password = self.password_at(at, wrong);
        let token = self.tokens[at].secret.clone();
        match self.iam.own_account(principal, &client()).reauthenticate(&token, &password).await {
            Ok(new) if !wrong => self.renewed(at, new),
            Err(Error::Credentials) if wrong => {}
            other => panic!("{other:?}"),
        }
    }

    async fn change_password(&mut self, at: usize, principal: &Principal, wrong: bool) {
        let (current, new) = (self.password_at(at, wrong), self.password_at(at, true));
        let token = self.tokens[at].secret.clone();
        match self.iam.own_account(principal, &client()).change_password(&token, &current, &new, None).await {
            Ok(new) if !wrong => {
                let kept = self.tokens[at].session;
                let account = self.sessions[kept].account;
                self.accounts[account].password ^= 1;
                self.accounts[account].version += 1;
                self.end(TOGETHER, |at, session| session.account == account && at != kept);
                self.sessions[kept].version = self.accounts[account].version;
                self.renewed(at, new.token);
            }
            Err(Error::Credentials) if wrong => {}
            other => panic!("{other:?}"),
        }
    }

    async fn late_renewal(&mut self, at: usize, principal: &Principal, meanwhile: Meanwhile) {
        let account = self.sessions[self.tokens[at].session].account;
        match meanwhile {
            Meanwhile::SignedOut => self.logout(at).await,
            Meanwhile::Renewed => self.reauthenticate(at, principal, false).await,
            Meanwhile::AccountChanged => self.status_behind_our_back(account).await,
        }
        let (token, current, new) =
            (&self.tokens[at].secret, self.password_at(at, false), self.password_at(at, true));
        let late = self.iam.own_account(principal, &client()).reauthenticate(token, &current).await;
        assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");
        let late =
            self.iam.own_account(principal, &client()).change_password(token, &current, &new, None).await;
        assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");
    }

    async fn logout(&mut self, at: usize) {
        let done = self.iam.protocol().logout(&self.tokens[at].secret, &client()).await.unwrap();
        let (token, mut ended) = (&self.tokens[at], 0);
        if !token.replaced {
            let session = token.session;
            ended = self.end("logout", |at, _| at == session);
        }
        assert_eq!(done, ended == 1);
    }

    async fn end_one(&mut self, at: usize, principal: &Principal, target: usize) {
        let id = self.sessions[target].id;
        let done = self.iam.own_account(principal, &client()).end_session(id).await;
        if self.is_fresh(at) {
            let account = self.sessions[self.tokens[at].session].account;
            let ended = self.end("revoked", |at, session| at == target && session.account == account);
            assert_eq!(done.unwrap(), ended == 1);
        } else {
            assert!(matches!(done, Err(Error::Stale { .. })), "{done:?}");
        }
    }

    async fn end_others(&mut self, at: usize, principal: &Principal) {
        let done = self.iam.own_account(principal, &client()).end_other_sessions().await;
        if self.is_fresh(at) {
            let kept = self.tokens[at].session;
            let account = self.sessions[kept].account;
            let ended = self.end(TOGETHER, |at, session| session.account == account && at != kept);
            assert_eq!(done.unwrap(), ended);
        } else {
            assert!(matches!(done, Err(Error::Stale { .. })), "{done:?}");
        }
    }

    async fn status_behind_our_back(&mut self, account: usize) {
        if self.accounts[account].active {
            let (id, now) = (self.accounts[account].id, self.now());
            let (active, locked) = (AccountStatus::Active, AccountStatus::Locked);
            let mut unit = self.store.begin().await.unwrap();
            assert!(unit.accounts().set_status(id, active, locked, now).await.unwrap());
            assert!(unit.accounts().set_status(id, locked, active, now).await.unwrap());
            unit.commit().await.unwrap();
            self.accounts[account].version += 2;
        }
    }

    /// The password of a token's owner, or the other one.
    fn password_at(&self, token: usize, other: bool) -> PlainPassword {
        let account = self.sessions[self.tokens[token].session].account;
        password(self.accounts[account].password ^ usize::from(other))
    }

    fn is_fresh(&self, token: usize) -> bool {
        self.now() < self.sessions[self.tokens[token].session].proved_at.plus(FRESH_FOR)
    }

    async fn take(&mut self, step: &Step) {
        let service = Actor::service();
        let pick = |index: &Index, of: usize| (of > 0).then(|| index.index(of));
        let (tokens, sessions) = (self.tokens.len(), self.sessions.len());
        match step {
            Step::SignIn { account, browser, wrong } => self.sign_in(*account, *browser, *wrong).await,
            Step::SignInElevenTimes { account } => {
                for _ in 0..=MOST_SESSIONS {
                    self.sign_in(*account, None, false).await;
                }
            }
            Step::Request { token, activity } => {
                if let Some(at) = pick(token, tokens) {
                    self.show(at, *activity).await;
                }
            }
            Step::Logout { token } => {
                if let Some(at) = pick(token, tokens) {
                    self.logout(at).await;
                }
            }
            Step::Reauthenticate { token, wrong } => {
                if let Some((at, principal)) = self.signed_in(pick(token, tokens)).await {
                    self.reauthenticate(at, &principal, *wrong).await;
                }
            }
            Step::ChangePassword { token, wrong } => {
                if let Some((at, principal)) = self.signed_in(pick(token, tokens)).await {
                    self.change_password(at, &principal, *wrong).await;
                }
            }
            Step::LateRenewal { token, meanwhile } => {
                if let Some((at, principal)) = self.signed_in(pick(token, tokens)).await {
                    self.late_renewal(at, &principal, *meanwhile).await;
                }
            }
            Step::EndOne { token, session } => {
                if let Some((at, principal)) = self.signed_in(pick(token, tokens)).await {
                    let target = session.index(self.sessions.len());
                    self.end_one(at, &principal, target).await;
                }
            }
            Step::EndOthers { token } => {
                if let Some((at, principal)) = self.signed_in(pick(token, tokens)).await {
                    self.end_others(at, &principal).await;
                }
            }
            Step::Revoke { session } => {
                if let Some(target) = pick(session, sessions) {
                    let (id, account) = (self.sessions[target].id, self.sessions[target].account);
                    let others = self.accounts[(account + 1) % NAMES.len()].id;
                    assert!(
                        !self.iam.sessions(&service).revoke(others, id).await.unwrap(),
                        "somebody else's"
                    );
                    let done =
                        self.iam.sessions(&service).revoke(self.accounts[account].id, id).await.unwrap();
                    assert_eq!(done, self.end("revoked", |at, _| at == target) == 1);
                }
            }
            Step::SetPassword { account } => {
                let (id, other) = (self.accounts[*account].id, self.accounts[*account].password ^ 1);
                self.iam.accounts(&service).set_password(id, &password(other)).await.unwrap();
                self.accounts[*account].password = other;
                self.accounts[*account].version += 1;
                self.end(TOGETHER, |_, session| session.account == *account);
            }
            Step::SetStatus { account, active } => {
                let to = if *active { AccountStatus::Active } else { AccountStatus::Disabled };
                self.iam.accounts(&service).set_status(self.accounts[*account].id, to).await.unwrap();
                if self.accounts[*account].active != *active {
                    self.accounts[*account].active = *active;
                    self.accounts[*account].version += 1;
                    self.end(TOGETHER, |_, session| session.account == *account);
                }
            }
            Step::StatusBehindOurBack { account } => self.status_behind_our_back(*account).await,
            Step::SuspendParent { suspended } => {
                let status = |is| if is { ParentStatus::Suspended } else { ParentStatus::Active };
                let (from, to) = (status(self.suspended), status(*suspended));
                if from != to {
                    self.iam.parents(&service).set_status(self.parent, from, to).await.unwrap();
                    self.suspended = *suspended;
                }
            }
            Step::Wait { seconds } => self.clock.advance(Duration::from_secs(*seconds)),
            Step::Upkeep => self.upkeep().await,
        }
    }

    /// Whose token it is, if anybody's: what every request begins with.
    async fn signed_in(&mut self, at: Option<usize>) -> Option<(usize, Principal)> {
        let at = at?;
        Some((at, self.show(at, Activity::Active).await?))
    }

    async fn upkeep(&mut self) {
        let mut done = 0;
        loop {
            let upkeep = self.iam.upkeep().await.unwrap();
            done += upkeep.sessions_ended;
            if !upkeep.is_more_waiting() {
                break;
            }
        }
        // Whatever the reason: it counts for nothing after that time.
        let unseen_since = self.now().minus(IDLE).minus(NOTED);
        assert_eq!(done, self.end("idle", |_, session| session.seen_at < unseen_since));
    }

    /// Every token ever given out, and every session.
    async fn compare(&mut self, with_what_ran_out: bool) {
        for at in 0..self.tokens.len() {
            if with_what_ran_out || !matches!(self.worth(at), Worth::RanOut(_)) {
                self.show(at, Activity::Background).await;
                self.show_as_the_other_kind(at).await;
            }
        }
        for (number, account) in self.accounts.iter().enumerate() {
            let mut open: Vec<_> = self
                .store
                .reader()
                .await
                .unwrap()
                .sessions()
                .of_account(account.id)
                .await
                .unwrap()
                .into_iter()
                .map(|session| session.id)
                .collect();
            let expected =
                self.sessions.iter().filter(|session| session.account == number && session.ended.is_none());
            let mut expected: Vec<_> = expected.map(|session| session.id).collect();
            open.sort_unstable();
            expected.sort_unstable();
            assert_eq!(open, expected, "the sessions of {} that have not ended", NAMES[number]);
        }
    }

    /// Every session is made once and ends once, by name or together with others.
    async fn compare_trail(&self) {
        let records = self.trail().await;
        let together =
            |record: &Record| record.reason.as_deref()?.strip_prefix("count=")?.parse::<usize>().ok();
        for session in &self.sessions {
            let of_it: Vec<_> = records.iter().filter(|record| record.session == Some(session.id)).collect();
            let made = of_it.iter().filter(|record| record.event == "session_created").count();
            let signed_in =
                of_it.iter().filter(|record| record.event.starts_with("authn_login_success")).count();
            assert_eq!((made, signed_in), (1, 1), "{}", session.id);
            let ends = ["authn_logout", "session_expired", "session_revoked"];
            let ended: Vec<_> = of_it
                .iter()
                .filter(|record| ends.contains(&record.event.as_ref()) && together(record).is_none())
                .map(|record| record.reason.as_deref().unwrap_or_default())
                .collect();
            let expected: Vec<_> = session.ended.into_iter().filter(|how| *how != TOGETHER).collect();
            assert_eq!(ended, expected, "{}", session.id);
        }
        let counted: usize =
            records.iter().filter(|record| record.event == "session_revoked").filter_map(together).sum();
        let expected = self.sessions.iter().filter(|session| session.ended == Some(TOGETHER)).count();
        assert_eq!(counted, expected, "sessions that ended together");
    }

    async fn trail(&self) -> Vec<Record> {
        self.iam.trail(&Actor::service()).flush().await.unwrap();
        let (mut records, mut before) = (Vec::new(), None);
        loop {
            let page = self.store.reader().await.unwrap().audit().entries(before, 1000).await.unwrap();
            let Some(oldest) = page.last() else { break };
            before = Some(oldest.id);
            records.extend(page.into_iter().map(|entry| entry.record));
        }
        records.extend(self.store.reader().await.unwrap().audit().counts(1000).await.unwrap());
        records
    }
}

fn password(number: usize) -> PlainPassword {
    PlainPassword::new(PASSWORDS[number]).unwrap()
}

fn client() -> Client {
    Client::at(PEER.ip())
}

async fn live(steps: &[Step], left_to_upkeep: bool) {
    let mut world = World::new(left_to_upkeep).await;
    for step in steps {
        world.take(step).await;
        world.compare(!world.left_to_upkeep).await;
    }
    world.compare(true).await;
    world.compare_trail().await;
}

/// As many as `PROPTEST_CASES` says, else few enough for every day.
fn config() -> ProptestConfig {
    let cases = env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64);
    ProptestConfig { cases, max_shrink_iters: 500, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn no_token_counts_that_should_not(steps in prop::collection::vec(step(), 1..40), left_to_upkeep: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live(&steps, left_to_upkeep));
    }
}
