//! Sessions.

use iam_core::parent::ParentStatus;
use iam_core::session::{EndReason, ParentOfAccount};
use iam_core::store::StoreError;

use super::*;

async fn end(store: &dyn Store, n: u8, reason: EndReason, now: Timestamp) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.sessions().end(session_id(n), reason, now).await.unwrap();
    unit.commit().await.unwrap();
    done
}

/// Gives session 1 another token.
async fn replace(store: &dyn Store, old: u8, new: u8) -> bool {
    let mut unit = store.begin().await.unwrap();
    let state = SessionState::Active;
    let done = unit.sessions().replace_token(session_id(1), &token(old), &token(new), state, after(1)).await;
    unit.commit().await.unwrap();
    done.unwrap()
}

pub async fn a_session_is_found_with_all_that_decides(store: &dyn Store) {
    add_parent(store, &parent(1)).await;
    let mut member = account(1);
    member.parent = Some(parent(1).id);
    assert_eq!(insert_account(store, &member).await, Insert::Inserted);
    let pending = NewSession { state: SessionState::PendingSecondFactor, ..session(1, 1) };
    assert_eq!(insert_session(store, &pending).await, Insert::Inserted);

    let found = find(store, 1).await.unwrap();
    assert_eq!((found.id, found.account), (session_id(1), account_id(1)));
    assert_eq!((found.state, found.amr.as_str()), (SessionState::PendingSecondFactor, "pwd"));
    assert_eq!((found.login_at, found.last_seen_at), (NOW, NOW));
    assert_eq!((found.auth_version, found.account_auth_version), (AuthVersion::FIRST, AuthVersion::FIRST));
    assert_eq!((found.username, found.account_status), (member.username, AccountStatus::Active));
    let Parent { id, key, status, .. } = parent(1);
    assert_eq!(found.parent, Some(ParentOfAccount { id, key, status }));
    assert!(found.ended.is_none() && found.roles.is_empty());
}

pub async fn a_session_shows_what_changed_since(store: &dyn Store) {
    add_parent(store, &parent(1)).await;
    let mut member = account(1);
    member.parent = Some(parent(1).id);
    assert_eq!(insert_account(store, &member).await, Insert::Inserted);
    assert_eq!(insert_session(store, &session(1, 1)).await, Insert::Inserted);
    assert!(set_status(store, AccountStatus::Active, AccountStatus::Disabled).await);
    let mut unit = store.begin().await.unwrap();
    let (active, suspended) = (ParentStatus::Active, ParentStatus::Suspended);
    assert!(unit.parents().set_status(parent(1).id, active, suspended, NOW).await.unwrap());
    unit.commit().await.unwrap();
    let found = find(store, 1).await.unwrap();
    assert_eq!(found.account_status, AccountStatus::Disabled);
    assert_eq!(
        (found.auth_version, found.account_auth_version),
        (AuthVersion::FIRST, AuthVersion::from_i64(2))
    );
    assert_eq!(found.parent.unwrap().status, suspended);
}

pub async fn a_session_that_has_ended_is_found(store: &dyn Store) {
    add_session(store).await;
    assert!(end(store, 1, EndReason::Logout, after(9)).await);
    assert_eq!(find(store, 1).await.unwrap().ended, Some((after(9), EndReason::Logout)));
}

pub async fn insert_asks_for_an_active_account(store: &dyn Store) {
    assert_eq!(insert_session(store, &session(1, 1)).await, Insert::Taken, "no account");
    for (n, status) in [(1, AccountStatus::Disabled), (2, AccountStatus::Locked)] {
        let mut account = account(n);
        account.status = status;
        assert_eq!(insert_account(store, &account).await, Insert::Inserted);
        assert_eq!(insert_session(store, &session(n, n)).await, Insert::Taken, "{status:?}");
        assert!(find(store, n).await.is_none());
    }
}

pub async fn insert_asks_for_the_version(store: &dyn Store) {
    add_account(store).await;
    let mut unit = store.begin().await.unwrap();
    assert!(unit.accounts().set_password(account_id(1), &hash("$test$2"), NOW).await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(insert_session(store, &session(1, 1)).await, Insert::Taken);
    let current = NewSession { auth_version: AuthVersion::from_i64(2), ..session(1, 1) };
    assert_eq!(insert_session(store, &current).await, Insert::Inserted);
}

pub async fn insert_asks_for_no_suspended_parent(store: &dyn Store) {
    let mut suspended = parent(1);
    suspended.status = ParentStatus::Suspended;
    add_parent(store, &suspended).await;
    let mut member = account(1);
    member.parent = Some(suspended.id);
    assert_eq!(insert_account(store, &member).await, Insert::Inserted);
    assert_eq!(insert_session(store, &session(1, 1)).await, Insert::Taken);
    assert!(find(store, 1).await.is_none());
}

pub async fn a_second_session_with_the_same_token_is_an_error(store: &dyn Store) {
    add_session(store).await;
    assert_eq!(insert_account(store, &account(2)).await, Insert::Inserted);
    let same_token = NewSession { token: token(1), ..session(2, 2) };
    let same_id = NewSession { id: session_id(1), ..session(2, 2) };
    for second in [same_token, same_id] {
        let mut unit = store.begin().await.unwrap();
        let done: Result<Insert, StoreError> = unit.sessions().insert(&second).await;
        assert!(done.is_err());
        unit.commit().await.unwrap();
        assert_eq!(find(store, 1).await.unwrap().account, account_id(1));
        assert!(find(store, 2).await.is_none());
    }
}

pub async fn replacing_a_token_kills_the_old_one(store: &dyn Store) {
    add_account(store).await;
    let pending = NewSession { state: SessionState::PendingSecondFactor, ..session(1, 1) };
    assert_eq!(insert_session(store, &pending).await, Insert::Inserted);
    assert!(!replace(store, 9, 2).await, "another token");
    assert!(replace(store, 1, 2).await);
    assert!(find(store, 1).await.is_none());
    let found = find(store, 2).await.unwrap();
    assert_eq!((found.id, found.state, found.login_at), (session_id(1), SessionState::Active, NOW));
    assert!(!replace(store, 1, 3).await, "replaced before");
}

pub async fn an_ended_session_gets_no_new_token(store: &dyn Store) {
    add_session(store).await;
    assert!(end(store, 1, EndReason::Revoked, NOW).await);
    assert!(!replace(store, 1, 2).await);
    assert!(find(store, 2).await.is_none());
    assert!(find(store, 1).await.unwrap().ended.is_some());
}

pub async fn a_session_ends_once(store: &dyn Store) {
    add_session(store).await;
    assert!(end(store, 1, EndReason::Revoked, after(1)).await);
    assert!(!end(store, 1, EndReason::Logout, after(2)).await);
    assert_eq!(find(store, 1).await.unwrap().ended, Some((after(1), EndReason::Revoked)));
}

pub async fn every_reason_to_end_comes_back(store: &dyn Store) {
    add_account(store).await;
    let reasons =
        [EndReason::Logout, EndReason::Idle, EndReason::Expired, EndReason::Revoked, EndReason::Replaced];
    for (n, reason) in (1..).zip(reasons) {
        assert_eq!(insert_session(store, &session(n, 1)).await, Insert::Inserted);
        assert!(end(store, n, reason, NOW).await);
        assert_eq!(find(store, n).await.unwrap().ended, Some((NOW, reason)));
    }
}

pub async fn end_all_says_how_many_had_not_ended(store: &dyn Store) {
    add_session(store).await;
    assert_eq!(insert_account(store, &account(2)).await, Insert::Inserted);
    for (n, account) in [(2, 1), (3, 1), (4, 2)] {
        assert_eq!(insert_session(store, &session(n, account)).await, Insert::Inserted);
    }
    assert!(end(store, 1, EndReason::Logout, NOW).await);
    for expected in [2, 0] {
        let mut unit = store.begin().await.unwrap();
        let ended = unit.sessions().end_all(account_id(1), EndReason::Revoked, after(5)).await.unwrap();
        unit.commit().await.unwrap();
        assert_eq!(ended, expected);
    }
    let ends = [(NOW, EndReason::Logout), (after(5), EndReason::Revoked), (after(5), EndReason::Revoked)];
    for (n, end) in (1..).zip(ends) {
        assert_eq!(find(store, n).await.unwrap().ended, Some(end));
    }
    assert!(find(store, 4).await.unwrap().ended.is_none(), "another account's");
}

pub async fn touch_notes_use_unless_it_was_noted_since(store: &dyn Store) {
    add_session(store).await;
    let last_seen = async || find(store, 1).await.unwrap().last_seen_at;
    assert!(store.touch_session(session_id(1), after(60), NOW).await.unwrap());
    assert_eq!(last_seen().await, after(60));
    assert!(!store.touch_session(session_id(1), after(90), after(59)).await.unwrap());
    assert_eq!(last_seen().await, after(60));
    assert!(store.touch_session(session_id(1), after(120), after(60)).await.unwrap());
    assert_eq!(last_seen().await, after(120));
}

pub async fn touch_never_brings_an_ended_session_back(store: &dyn Store) {
    add_session(store).await;
    assert!(end(store, 1, EndReason::Logout, after(1)).await);
    assert!(!store.touch_session(session_id(1), after(60), after(60)).await.unwrap());
    let found = find(store, 1).await.unwrap();
    assert_eq!((found.ended, found.last_seen_at), (Some((after(1), EndReason::Logout)), NOW));
}

pub async fn at_most_one_caller_ends_a_session(stores: &Handles) {
    add_session(stores[0].as_ref()).await;
    let done = race(stores, |store, n| async move {
        // Use is noted all the while, and must not undo it.
        if n % 4 == 0 {
            store.touch_session(session_id(1), after(60 + u64::from(n)), after(600)).await.unwrap();
            return false;
        }
        end(store.as_ref(), 1, EndReason::Logout, after(u64::from(n))).await
    })
    .await;
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
    assert!(find(stores[1].as_ref(), 1).await.unwrap().ended.is_some());
}

pub async fn at_most_one_caller_replaces_a_token(stores: &Handles) {
    add_session(stores[0].as_ref()).await;
    let done = race(stores, |store, n| async move {
        let new = 100 + n;
        replace(store.as_ref(), 1, new).await.then_some(new)
    })
    .await;
    let winners: Vec<u8> = done.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert!(find(stores[0].as_ref(), 1).await.is_none());
    for n in 100..100 + TASKS {
        assert_eq!(find(stores[1].as_ref(), n).await.is_some(), n == winners[0]);
    }
}

pub async fn a_sign_out_and_a_new_token_at_once_leave_nothing_alive(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    let alive = race(stores, |store, n| async move {
        let (session, new) = (session(n, 1), token(100 + n));
        assert_eq!(insert_session(store.as_ref(), &session).await, Insert::Inserted);
        let other = Arc::clone(&store);
        let (old, id) = (session.token, session.id);
        let replacing = tokio::spawn(async move {
            let mut unit = other.begin().await.unwrap();
            let done = unit.sessions().replace_token(id, &old, &new, SessionState::Active, after(1)).await;
            unit.commit().await.unwrap();
            done.unwrap()
        });
        assert!(end(store.as_ref(), n, EndReason::Logout, after(1)).await);
        let replaced = replacing.await.unwrap();
        let token = if replaced { new } else { session.token };
        store.session(&token).await.unwrap().unwrap().ended.is_none()
    })
    .await;
    assert!(alive.into_iter().all(|alive| !alive));
}

async fn unseen(store: &dyn Store, before: Timestamp, most: u32) -> Vec<SessionId> {
    let found = store.sessions_unseen_since(before, most).await.unwrap();
    assert!(found.iter().all(|(_, account)| *account == account_id(1)));
    found.into_iter().map(|(id, _)| id).collect()
}

/// Account 1 with sessions 1 to 4, made a second apart.
async fn add_four_sessions(store: &dyn Store) {
    add_account(store).await;
    for n in 1..=4 {
        let session = NewSession { login_at: after(u64::from(n)), ..session(n, 1) };
        assert_eq!(insert_session(store, &session).await, Insert::Inserted);
    }
}

pub async fn sessions_unseen_since_gives_the_longest_unused_ones(store: &dyn Store) {
    add_four_sessions(store).await;
    assert!(store.touch_session(session_id(1), after(10), after(9)).await.unwrap());
    assert!(end(store, 3, EndReason::Logout, after(5)).await);
    assert_eq!(unseen(store, after(2), 10).await, [], "not before its own time");
    assert_eq!(unseen(store, after(11), 10).await, [2, 4, 1].map(session_id));
    assert_eq!(unseen(store, after(11), 2).await, [2, 4].map(session_id));
}

pub async fn forget_tokens_leaves_the_rows(store: &dyn Store) {
    add_four_sessions(store).await;
    for (n, at) in [(1, 10), (2, 20), (3, 30)] {
        assert!(end(store, n, EndReason::Logout, after(at)).await);
    }
    let mut done = Vec::new();
    for (before, most) in [(10, 9), (30, 1), (30, 9), (30, 9)] {
        let mut unit = store.begin().await.unwrap();
        done.push(unit.sessions().forget_tokens(after(before), most).await.unwrap());
        unit.commit().await.unwrap();
    }
    assert_eq!(done, [0, 1, 1, 0]);
    for (n, known) in [(1, false), (2, false), (3, true), (4, true)] {
        assert_eq!(find(store, n).await.is_some(), known, "token {n}");
    }
    assert!(!end(store, 1, EndReason::Logout, after(40)).await, "the row is there, and has ended");
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.sessions().delete_ended(after(30), 9).await.unwrap(), 2);
}

pub async fn delete_ended_removes_what_ended_before(store: &dyn Store) {
    add_four_sessions(store).await;
    for (n, at) in [(1, 10), (2, 20), (3, 30)] {
        assert!(end(store, n, EndReason::Logout, after(at)).await);
    }
    let mut done = Vec::new();
    for (before, most) in [(10, 9), (30, 1), (30, 9), (30, 9)] {
        let mut unit = store.begin().await.unwrap();
        done.push(unit.sessions().delete_ended(after(before), most).await.unwrap());
        unit.commit().await.unwrap();
    }
    assert_eq!(done, [0, 1, 1, 0]);
    for (n, known) in [(1, false), (2, false), (3, true), (4, true)] {
        assert_eq!(find(store, n).await.is_some(), known, "session {n}");
    }
}
