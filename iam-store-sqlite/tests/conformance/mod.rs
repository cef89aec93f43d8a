//! One test for each duty that the ports of `iam_core::store` name, as functions over any store. They share nothing with
//! SQLite: a second store runs the same functions.
//!
//! A function that takes a `&dyn Store` gets a store of its own, migrated and empty. One that takes [`Handles`] gets the same
//! store opened twice, as two processes would.

pub(crate) mod accounts;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod parents;
pub(crate) mod roles;
pub(crate) mod sessions;
pub(crate) mod units;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use iam_core::account::{Account, AccountStatus, AuthVersion, Username};
use iam_core::clock::Timestamp;
use iam_core::id::{AccountId, ParentId, RoleId, SessionId};
use iam_core::meta::Client;
use iam_core::parent::{Parent, ParentKey};
use iam_core::password::PasswordHash;
use iam_core::role::{Role, RoleName};
use iam_core::session::{NewSession, SessionRecord, SessionState};
use iam_core::store::{Insert, Store};
use iam_core::token::TokenHash;
use tokio::task::JoinSet;

/// The same store, opened twice.
pub(crate) type Handles = [Arc<dyn Store>; 2];

/// How many tasks race.
pub(crate) const TASKS: u8 = 64;

pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

pub(crate) fn after(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

/// Runs a task many times at once, on both handles in turn, and collects what came of it.
pub(crate) async fn race<T, F>(stores: &Handles, task: impl Fn(Arc<dyn Store>, u8) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for n in 0..TASKS {
        tasks.spawn(task(Arc::clone(&stores[usize::from(n % 2)]), n));
    }
    tasks.join_all().await
}

/// Drops a future after it was polled so many times: a task that is cancelled at some point of its work.
pub(crate) struct CancelledAfter<F> {
    pub(crate) task: Pin<Box<F>>,
    pub(crate) polls: u32,
}

impl<F: Future> Future for CancelledAfter<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.task.as_mut().poll(context).map(Some)
    }
}

pub(crate) fn account_id(n: u8) -> AccountId {
    AccountId::from_bytes([n; 16])
}

pub(crate) fn username(text: &str) -> Username {
    Username::parse(text).unwrap()
}

pub(crate) fn hash(text: &str) -> PasswordHash {
    PasswordHash::from_stored(text)
}

pub(crate) fn token(n: u8) -> TokenHash {
    TokenHash::from_bytes([n; 32])
}

pub(crate) fn session_id(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

/// Account `n`, named `user-n`, not yet in a store.
pub(crate) fn account(n: u8) -> Account {
    Account::new(account_id(n), username(&format!("user-{n}")), NOW)
}

pub(crate) fn parent(n: u8) -> Parent {
    Parent::new(ParentId::from_bytes([n; 16]), ParentKey::parse(&format!("parent-{n}")).unwrap())
}

pub(crate) fn role(n: u8) -> Role {
    Role::new(RoleId::from_bytes([n; 16]), RoleName::parse(&format!("role-{n}")).unwrap())
}

/// Session `n` with token `n`, of an account as it is when it is new.
pub(crate) fn session(n: u8, account: u8) -> NewSession {
    NewSession {
        id: session_id(n),
        account: account_id(account),
        auth_version: AuthVersion::FIRST,
        token: token(n),
        state: SessionState::Active,
        amr: "pwd".to_owned(),
        login_at: NOW,
        client: Client::at([192, 0, 2, n].into()).user_agent(b"test"),
    }
}

pub(crate) async fn insert_account(store: &dyn Store, account: &Account) -> Insert {
    let mut unit = store.begin().await.unwrap();
    let done = unit.accounts().insert(account, Some(&hash("$test$1"))).await.unwrap();
    unit.commit().await.unwrap();
    done
}

/// A store with account 1.
pub(crate) async fn add_account(store: &dyn Store) {
    assert_eq!(insert_account(store, &account(1)).await, Insert::Inserted);
}

pub(crate) async fn add_parent(store: &dyn Store, parent: &Parent) {
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.parents().insert(parent, NOW).await.unwrap(), Insert::Inserted);
    unit.commit().await.unwrap();
}

pub(crate) async fn add_role(store: &dyn Store, role: &Role) {
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.roles().insert(role, NOW).await.unwrap(), Insert::Inserted);
    unit.commit().await.unwrap();
}

pub(crate) async fn insert_session(store: &dyn Store, session: &NewSession) -> Insert {
    let mut unit = store.begin().await.unwrap();
    let done = unit.sessions().insert(session).await.unwrap();
    unit.commit().await.unwrap();
    done
}

/// A store with account 1 and its session 1.
pub(crate) async fn add_session(store: &dyn Store) {
    add_account(store).await;
    assert_eq!(insert_session(store, &session(1, 1)).await, Insert::Inserted);
}

pub(crate) async fn find(store: &dyn Store, n: u8) -> Option<SessionRecord> {
    store.session(&token(n)).await.unwrap()
}

pub(crate) async fn set_status(store: &dyn Store, from: AccountStatus, to: AccountStatus) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.accounts().set_status(account_id(1), from, to, after(1)).await.unwrap();
    unit.commit().await.unwrap();
    done
}
