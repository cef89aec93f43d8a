//! Sessions.

use iam_core::ports::{
    HeldSession, ParentOfAccount, Proof, ProofMethod, Proofs, REPLACED_AFTER, Renewal, Replacement, Tokens,
};
use iam_core::{EndReason, ExternalId, FactorKind, ParentStatus, StoreError};

use super::*;

async fn end(store: &dyn Store, n: u8, reason: EndReason, now: Timestamp) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.sessions().end(session_id(n), reason, now).await.unwrap();
    unit.commit().await.unwrap();
    done
}

/// Gives session 1 another token.
async fn replace(store: &dyn Store, old: u8, new: u8) -> bool {
    renew_by(store, old, &renewal(new)).await
}

fn renewal(new: u8) -> Renewal {
    Renewal {
        token: token(new),
        from_state: SessionState::Active,
        state: SessionState::Active,
        proofs: password(after(1)),
        from_version: AuthVersion::FIRST,
        to_version: AuthVersion::FIRST,
        lapsed_at: None,
        at: after(1),
    }
}

async fn renew_by(store: &dyn Store, old: u8, renewal: &Renewal) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.sessions().renew(session_id(1), &token(old), renewal).await;
    unit.commit().await.unwrap();
    done.unwrap()
}

pub async fn a_session_is_found_with_all_that_decides(store: &dyn Store) {
    add_parent(store, &parent(1)).await;
    let mut member = account(1);
    member.parent = Some(parent(1).id);
    member.external_id = Some(ExternalId::from_stored("key"));
    assert_eq!(insert_account(store, &member).await, Inserted::Done);
    let pending = NewSession { state: SessionState::PendingSecondFactor, ..session(1, 1) };
    assert_eq!(insert_session(store, &pending).await, Changed::Done);

    let found = find(store, 1).await.unwrap();
    assert_eq!((found.id, found.account), (session_id(1), account_id(1)));
    assert_eq!((found.state, found.proofs), (SessionState::PendingSecondFactor, password(NOW)));
    assert_eq!((found.login_at, found.last_seen_at), (NOW, NOW));
    assert_eq!((found.auth_version, found.account_auth_version), (AuthVersion::FIRST, AuthVersion::FIRST));
    assert_eq!((found.username, found.account_status), (member.username, AccountStatus::Active));
    assert_eq!(found.external_id, member.external_id);
    let Parent { id, key, status, .. } = parent(1);
    assert_eq!(found.parent, Some(ParentOfAccount { id, key, status, factor_required: None }));
    assert!(found.ended.is_none() && found.roles.is_empty());
}

pub async fn a_session_shows_what_changed_since(store: &dyn Store) {
    add_parent(store, &parent(1)).await;
    let mut member = account(1);
    member.parent = Some(parent(1).id);
    assert_eq!(insert_account(store, &member).await, Inserted::Done);
    assert_eq!(insert_session(store, &session(1, 1)).await, Changed::Done);
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
    assert_eq!(insert_session(store, &session(1, 1)).await, Changed::Stale, "no account");
    for (n, status) in [(1, AccountStatus::Disabled), (2, AccountStatus::Locked)] {
        let mut account = account(n);
        account.status = status;
        assert_eq!(insert_account(store, &account).await, Inserted::Done);
        assert_eq!(insert_session(store, &session(n, n)).await, Changed::Stale, "{status:?}");
        assert!(find(store, n).await.is_none());
    }
}

pub async fn insert_asks_for_the_version(store: &dyn Store) {
    add_account(store).await;
    let mut unit = store.begin().await.unwrap();
    assert!(unit.accounts().set_password(account_id(1), &hash("$test$2"), NOW).await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(insert_session(store, &session(1, 1)).await, Changed::Stale);
    let current = NewSession { auth_version: AuthVersion::from_i64(2), ..session(1, 1) };
    assert_eq!(insert_session(store, &current).await, Changed::Done);
}

pub async fn insert_asks_for_no_suspended_parent(store: &dyn Store) {
    let mut suspended = parent(1);
    suspended.status = ParentStatus::Suspended;
    add_parent(store, &suspended).await;
    let mut member = account(1);
    member.parent = Some(suspended.id);
    assert_eq!(insert_account(store, &member).await, Inserted::Done);
    assert_eq!(insert_session(store, &session(1, 1)).await, Changed::Stale);
    assert!(find(store, 1).await.is_none());
}

pub async fn a_second_session_with_the_same_token_is_an_error(store: &dyn Store) {
    add_session(store).await;
    assert_eq!(insert_account(store, &account(2)).await, Inserted::Done);
    let same_token = NewSession { token: token(1), ..session(2, 2) };
    let same_id = NewSession { id: session_id(1), ..session(2, 2) };
    for second in [same_token, same_id] {
        let mut unit = store.begin().await.unwrap();
        let done: Result<Changed, StoreError> = unit.sessions().insert(&second).await;
        assert!(done.is_err());
        unit.commit().await.unwrap();
        assert_eq!(find(store, 1).await.unwrap().account, account_id(1));
        assert!(find(store, 2).await.is_none());
    }
}

pub async fn replacing_a_token_kills_the_old_one(store: &dyn Store) {
    add_session(store).await;
    assert!(!replace(store, 9, 2).await, "another token");
    assert!(replace(store, 1, 2).await);
    assert!(find(store, 1).await.is_none());
    let found = find(store, 2).await.unwrap();
    assert_eq!((found.id, found.state, found.login_at), (session_id(1), SessionState::Active, NOW));
    assert!(!replace(store, 1, 3).await, "replaced before");
}

pub async fn a_renewal_notes_what_was_proved_and_asks_for_the_version(store: &dyn Store) {
    add_session(store).await;
    let found = find(store, 1).await.unwrap();
    assert_eq!((found.proofs, found.last_seen_at), (password(NOW), NOW));
    let two = AuthVersion::FIRST.next();
    let from_two = Renewal { from_version: two, to_version: two, ..renewal(2) };
    assert!(!renew_by(store, 1, &from_two).await, "it was made under another version");
    let again = Renewal { to_version: two, proofs: password(after(8)), at: after(9), ..renewal(2) };
    assert!(renew_by(store, 1, &again).await);
    let proved = async |n| {
        let found = find(store, n).await.unwrap();
        assert_eq!((found.login_at, found.auth_version), (NOW, two));
        (found.proofs, found.last_seen_at)
    };
    assert_eq!(proved(2).await, (password(after(8)), after(9)));
    // A use that was noted later stays.
    assert!(store.touch_session(session_id(1), after(60), after(9), None).await.unwrap());
    let all = every_proof(29);
    let renewal = Renewal { token: token(3), proofs: all.clone(), at: after(30), ..from_two };
    assert!(renew_by(store, 2, &renewal).await);
    assert_eq!(proved(3).await, (all.clone(), after(60)));
    let listed = store.reader().await.unwrap().sessions().of_account(account_id(1)).await.unwrap();
    assert_eq!((listed[0].login_at, &listed[0].proofs), (NOW, &all));
    // None are none.
    let renewal = Renewal { token: token(3), proofs: Proofs::default(), at: after(70), ..renewal };
    assert!(renew_by(store, 3, &renewal).await, "and the same token may stay");
    assert_eq!(proved(3).await, (Proofs::default(), after(70)));
}

/// The longest list that there can be.
fn every_proof(secs: u64) -> Proofs {
    ProofMethod::ALL.into_iter().fold(Proofs::default(), |proofs, by| {
        proofs.with(Proof::new(by, after(secs))).with(Proof::of_step_up(by, after(secs + 1)))
    })
}

pub async fn hold_gives_what_was_proved_and_how_often_it_was_tried(store: &dyn Store) {
    add_account(store).await;
    let tried = NewSession { tries: 7, proofs: every_proof(1), ..session(1, 1) };
    assert_eq!(insert_session(store, &tried).await, Changed::Done);
    let held = async |of| {
        let mut unit = store.begin().await.unwrap();
        let held = unit.sessions().hold(session_id(1), &token(of)).await.unwrap();
        unit.commit().await.unwrap();
        held
    };
    assert_eq!(held(1).await, Some(HeldSession { proofs: every_proof(1), tries: 7 }));
    assert!(replace(store, 1, 2).await);
    assert_eq!(held(1).await, None, "the token of old");
    assert_eq!(held(2).await, Some(HeldSession { proofs: password(after(1)), tries: 7 }));
}

/// Each adds a proof of its own to what it finds under the lock, and the token stays.
pub async fn of_proofs_at_once_none_is_lost(stores: &Handles) {
    let store = stores[0].as_ref();
    add_session(store).await;
    let done = race(stores, |store, n| async move {
        let by = ProofMethod::ALL[usize::from(n) % ProofMethod::ALL.len()];
        retried(|| async {
            let mut unit = store.begin().await?;
            let held = unit.sessions().hold(session_id(1), &token(1)).await?.unwrap();
            let proofs = held.proofs.with(Proof::of_step_up(by, after(u64::from(n))));
            let done =
                unit.sessions().renew(session_id(1), &token(1), &Renewal { proofs, ..renewal(1) }).await?;
            unit.commit().await?;
            Ok(done)
        })
        .await
    });
    let done = done.await;
    assert!(done.iter().all(|done| *done), "{done:?}");
    let proofs = find(store, 1).await.unwrap().proofs;
    let expected = 1 + done.len().min(ProofMethod::ALL.len());
    assert_eq!(proofs.iter().count(), expected, "{proofs}");
}

/// Whoever gives a session another token with its proof is the only one: the others are told, and overwrite nothing.
pub async fn of_proofs_that_renew_the_token_one_counts(stores: &Handles) {
    let store = stores[0].as_ref();
    add_session(store).await;
    let done = race(stores, |store, n| async move {
        retried(|| async {
            let mut unit = store.begin().await?;
            let proofs = password(NOW).with(Proof::new(FactorKind::Totp, after(u64::from(n))));
            let new = 10 + n;
            let renewal = Renewal { proofs, ..renewal(new) };
            let done = unit.sessions().renew(session_id(1), &token(1), &renewal).await?;
            unit.commit().await?;
            Ok(done.then_some(n))
        })
        .await
    });
    let renewed: Vec<u8> = done.await.into_iter().flatten().collect();
    let [n] = renewed[..] else { panic!("{renewed:?}") };
    let found = find(store, 10 + n).await.unwrap();
    assert_eq!(found.proofs.second_factor_at(), Some(after(u64::from(n))));
}

pub async fn a_renewed_token_is_unused_until_its_first_use(store: &dyn Store) {
    add_session(store).await;
    let is_used = async |n| find(store, n).await.unwrap().tokens.used_at.is_some();
    let use_token = async |n: u8, seen_at| {
        let mut unit = store.begin().await.unwrap();
        let first =
            unit.sessions().use_token(session_id(1), &token(n), after(50), seen_at, None).await.unwrap();
        unit.commit().await.unwrap();
        first
    };
    assert!(is_used(1).await, "nobody asks how a session was made");
    assert!(!use_token(1, None).await);
    assert!(renew_by(store, 1, &renewal(1)).await && is_used(1).await, "the token is the one that it was");
    assert!(replace(store, 1, 2).await && !is_used(2).await);
    assert!(renew_by(store, 2, &renewal(2)).await && !is_used(2).await, "the same");
    assert!(!use_token(1, None).await, "the token of old");
    let seen = find(store, 2).await.unwrap().last_seen_at;
    let later = seen.plus(Duration::from_mins(1));
    assert!(use_token(2, Some(later)).await && is_used(2).await);
    assert!(!use_token(2, Some(later.plus(MICROSECOND))).await, "once");
    assert_eq!(find(store, 2).await.unwrap().last_seen_at, later);
    // What was noted later stays.
    assert!(replace(store, 2, 3).await && use_token(3, Some(seen)).await);
    assert_eq!(find(store, 3).await.unwrap().last_seen_at, later);
    assert!(replace(store, 3, 4).await && use_token(4, None).await && replace(store, 4, 5).await);
    let mut unit = store.begin().await.unwrap();
    assert!(unit.sessions().end(session_id(1), EndReason::Logout, after(99)).await.unwrap());
    unit.commit().await.unwrap();
    assert!(!use_token(5, None).await, "it has ended");
}

pub async fn the_first_use_of_a_renewed_token_is_told_once(stores: &Handles) {
    let store = stores[0].as_ref();
    add_session(store).await;
    assert!(replace(store, 1, 2).await);
    let done = race(stores, |store, _| async move {
        retried(|| async {
            let mut unit = store.begin().await?;
            let first = unit.sessions().use_token(session_id(1), &token(2), after(50), None, None).await?;
            unit.commit().await?;
            Ok(first)
        })
        .await
    });
    assert_eq!(done.await.into_iter().filter(|first| *first).count(), 1);
}

pub async fn a_renewal_asks_for_the_state(store: &dyn Store) {
    add_account(store).await;
    let pending = SessionState::PendingSecondFactor;
    assert_eq!(insert_session(store, &NewSession { state: pending, ..session(1, 1) }).await, Changed::Done);
    assert!(!replace(store, 1, 2).await, "it is no active session");
    let second = Renewal {
        from_state: pending,
        proofs: password(NOW).with(Proof::new(FactorKind::Totp, after(5))),
        at: after(5),
        ..renewal(2)
    };
    assert!(renew_by(store, 1, &second).await);
    let found = find(store, 2).await.unwrap();
    assert_eq!((found.state, found.login_at, found.last_seen_at), (SessionState::Active, NOW, after(5)));
    assert_eq!(found.proofs, second.proofs);
    let again = Renewal { token: token(3), ..second };
    assert!(!renew_by(store, 2, &again).await, "it is no pending session any more");
}

pub async fn hold_asks_for_the_token_and_a_session_that_has_not_ended(store: &dyn Store) {
    add_session(store).await;
    let hold = async |session, of| {
        let mut unit = store.begin().await.unwrap();
        let held = unit.sessions().hold(session_id(session), &token(of)).await.unwrap().is_some();
        unit.commit().await.unwrap();
        held
    };
    assert!(!hold(2, 1).await && !hold(1, 2).await, "another session, another token");
    assert!(hold(1, 1).await && hold(1, 1).await);
    assert!(end(store, 1, EndReason::Logout, after(1)).await);
    assert!(!hold(1, 1).await, "ended");
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
    let reasons = [
        EndReason::Logout,
        EndReason::Idle,
        EndReason::Expired,
        EndReason::Revoked,
        EndReason::Replaced,
        EndReason::Evicted,
        EndReason::PasswordChanged,
    ];
    for (n, reason) in (1..).zip(reasons) {
        assert_eq!(insert_session(store, &session(n, 1)).await, Changed::Done);
        assert!(end(store, n, reason, NOW).await);
        assert_eq!(find(store, n).await.unwrap().ended, Some((NOW, reason)));
    }
}

pub async fn end_all_says_how_many_had_not_ended(store: &dyn Store) {
    add_session(store).await;
    assert_eq!(insert_account(store, &account(2)).await, Inserted::Done);
    for (n, account) in [(2, 1), (3, 1), (4, 2)] {
        assert_eq!(insert_session(store, &session(n, account)).await, Changed::Done);
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

pub async fn end_others_keeps_one(store: &dyn Store) {
    add_four_sessions(store).await;
    assert_eq!(insert_account(store, &account(2)).await, Inserted::Done);
    assert_eq!(insert_session(store, &session(5, 2)).await, Changed::Done);
    assert!(end(store, 4, EndReason::Logout, after(5)).await);
    for expected in [2, 0] {
        let mut unit = store.begin().await.unwrap();
        let (account, kept) = (account_id(1), session_id(2));
        let ended = unit.sessions().end_others(account, kept, EndReason::Revoked, after(9)).await.unwrap();
        unit.commit().await.unwrap();
        assert_eq!(ended, expected);
    }
    let revoked = Some((after(9), EndReason::Revoked));
    let ends = [revoked, None, revoked, Some((after(5), EndReason::Logout)), None];
    for (n, end) in (1..).zip(ends) {
        assert_eq!(find(store, n).await.unwrap().ended, end, "session {n}");
    }
}

pub async fn end_longest_unused_beyond_keeps_those_used_last(store: &dyn Store) {
    add_four_sessions(store).await;
    assert!(end(store, 3, EndReason::Logout, after(5)).await);
    for (keep, expected) in [(3, vec![]), (2, vec![session_id(1)]), (1, vec![session_id(2)]), (0, vec![])] {
        let ended = end_beyond(store, SessionState::Active, 4, keep).await;
        assert_eq!(ended, expected, "keep {keep}");
    }
    assert_eq!(find(store, 1).await.unwrap().ended, Some((after(9), EndReason::Evicted)));
    assert_eq!(find(store, 3).await.unwrap().ended, Some((after(5), EndReason::Logout)));
}

pub async fn of_sessions_the_longest_unused_end_whenever_they_were_made(store: &dyn Store) {
    add_four_sessions(store).await;
    // The oldest is in use. One that was used may have been so for a minute after that was noted.
    assert!(store.touch_session(session_id(1), after(70), after(9), None).await.unwrap());
    assert!(store.touch_session(session_id(2), after(3), after(2), None).await.unwrap());
    for (keep, expected) in [(3, session_id(3)), (2, session_id(2)), (1, session_id(1))] {
        assert_eq!(end_beyond(store, SessionState::Active, 4, keep).await, [expected], "keep {keep}");
    }
}

/// Ends those of account 1 beyond those used last.
async fn end_beyond(store: &dyn Store, state: SessionState, new: u8, keep: u32) -> Vec<SessionId> {
    let mut unit = store.begin().await.unwrap();
    let ending = unit.sessions().end_longest_unused_beyond(
        account_id(1),
        state,
        session_id(new),
        keep,
        EndReason::Evicted,
        after(9),
    );
    let mut ended = ending.await.unwrap();
    unit.commit().await.unwrap();
    ended.sort_unstable();
    ended
}

pub async fn end_longest_unused_beyond_counts_one_state_and_never_ends_the_new_one(store: &dyn Store) {
    let (active, pending) = (SessionState::Active, SessionState::PendingSecondFactor);
    add_four_sessions(store).await;
    for n in 5..=8 {
        let session = NewSession { login_at: after(u64::from(n)), state: pending, ..session(n, 1) };
        assert_eq!(insert_session(store, &session).await, Changed::Done);
    }
    assert_eq!(insert_account(store, &account(2)).await, Inserted::Done);
    assert_eq!(insert_session(store, &session(9, 2)).await, Changed::Done);
    // The clock was set back: the new ones look like the oldest.
    assert_eq!(end_beyond(store, active, 1, 4).await, []);
    assert_eq!(end_beyond(store, active, 1, 3).await, [session_id(2)]);
    assert_eq!(end_beyond(store, pending, 5, 1).await, [6, 7, 8].map(session_id));
    for (n, alive) in (1..).zip([true, false, true, true, true, false, false, false, true]) {
        assert_eq!(find(store, n).await.unwrap().ended.is_none(), alive, "session {n}");
    }
}

pub async fn sessions_whose_second_factor_is_due_are_not_listed(store: &dyn Store) {
    add_session(store).await;
    let pending = NewSession { state: SessionState::PendingSecondFactor, ..session(2, 1) };
    assert_eq!(insert_session(store, &pending).await, Changed::Done);
    let listed = store.reader().await.unwrap().sessions().of_account(account_id(1)).await.unwrap();
    assert_eq!(listed.iter().map(|one| one.id).collect::<Vec<_>>(), [session_id(1)]);
}

pub async fn sessions_of_an_account_come_newest_first(store: &dyn Store) {
    add_four_sessions(store).await;
    assert_eq!(insert_account(store, &account(2)).await, Inserted::Done);
    assert_eq!(insert_session(store, &session(5, 2)).await, Changed::Done);
    assert!(end(store, 3, EndReason::Logout, after(5)).await);
    assert!(store.touch_session(session_id(2), after(70), after(9), None).await.unwrap());
    let found = store.reader().await.unwrap().sessions().of_account(account_id(1)).await.unwrap();
    let shown: Vec<_> = found.iter().map(|one| (one.id, one.login_at, one.last_seen_at)).collect();
    let at = |n: u8| (session_id(n), after(u64::from(n)));
    let expected =
        [(at(4).0, at(4).1, after(4)), (at(2).0, at(2).1, after(70)), (at(1).0, at(1).1, after(1))];
    assert_eq!(shown, expected);
    assert_eq!(found[0].client, Client::at([192, 0, 2, 4].into()).user_agent(b"test"));
}

/// How many sessions of a race are alive.
async fn alive(store: &dyn Store) -> usize {
    let mut alive = 0;
    for n in 0..TASKS {
        alive += usize::from(find(store, n).await.is_some_and(|found| found.ended.is_none()));
    }
    alive
}

pub async fn of_any_number_at_once_the_newest_are_kept(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    race(stores, |store, n| async move {
        // Each state is counted by itself.
        let (state, keep) =
            if n % 2 == 0 { (SessionState::Active, 10) } else { (SessionState::PendingSecondFactor, 5) };
        let session = NewSession { login_at: after(u64::from(n)), state, ..session(n, 1) };
        retried(|| async {
            let mut unit = store.begin().await?;
            assert_eq!(unit.sessions().insert(&session).await?, Changed::Done);
            let (account, new) = (session.account, session.id);
            unit.sessions()
                .end_longest_unused_beyond(account, state, new, keep, EndReason::Evicted, NOW)
                .await?;
            unit.commit().await
        })
        .await;
    })
    .await;
    assert_eq!(
        stores[1].reader().await.unwrap().sessions().of_account(account_id(1)).await.unwrap().len(),
        10
    );
    assert_eq!(alive(stores[0].as_ref()).await, 15);
}

/// Sign-ins that were begun one after the other, and are completed by their second factors at the same time.
pub async fn of_those_that_become_active_at_once_the_newest_are_kept(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    let (active, pending) = (SessionState::Active, SessionState::PendingSecondFactor);
    for n in 0..TASKS {
        let session = NewSession { login_at: after(u64::from(n)), state: pending, ..session(n, 1) };
        assert_eq!(insert_session(stores[0].as_ref(), &session).await, Changed::Done);
    }
    race(stores, move |store, n| async move {
        let id = session_id(n);
        let renewal = Renewal { token: token(100 + n), from_state: pending, ..renewal(0) };
        retried(|| async {
            let mut unit = store.begin().await?;
            assert!(unit.sessions().hold(id, &token(n)).await?.is_some());
            assert!(unit.sessions().renew(id, &token(n), &renewal).await?);
            unit.sessions()
                .end_longest_unused_beyond(account_id(1), active, id, 10, EndReason::Evicted, NOW)
                .await?;
            unit.commit().await
        })
        .await;
    })
    .await;
    assert_eq!(
        stores[1].reader().await.unwrap().sessions().of_account(account_id(1)).await.unwrap().len(),
        10
    );
}

/// Of those who found the same token and hold its session, one replaces it, and all others learn that it is another one now.
pub async fn one_at_a_time_holds_a_session(stores: &Handles) {
    add_session(stores[0].as_ref()).await;
    let held = race(stores, |store, n| async move {
        retried(|| async {
            let mut unit = store.begin().await?;
            if unit.sessions().hold(session_id(1), &token(1)).await?.is_none() {
                return Ok(false);
            }
            // Others have every occasion to come between.
            tokio::time::sleep(Duration::from_millis(5)).await;
            let renewed = unit.sessions().renew(session_id(1), &token(1), &renewal(100 + n)).await?;
            assert!(renewed, "it was held");
            unit.commit().await?;
            Ok(true)
        })
        .await
    })
    .await;
    assert_eq!(held.into_iter().filter(|held| *held).count(), 1);
}

pub async fn no_session_is_inserted_beside_a_change_of_its_account(stores: &Handles) {
    for n in 1..=TASKS {
        assert_eq!(insert_account(stores[0].as_ref(), &account(n)).await, Inserted::Done);
    }
    // For each account a sign-in and, at the same time, somebody who switches it off and ends what there is.
    let done = race(stores, |store, n| async move {
        let account = n + 1;
        let other = Arc::clone(&store);
        let switching_off = tokio::spawn(async move {
            let (id, active) = (account_id(account), AccountStatus::Active);
            let mut unit = other.begin().await.unwrap();
            assert!(unit.accounts().set_status(id, active, AccountStatus::Disabled, after(1)).await.unwrap());
            unit.sessions().end_all(id, EndReason::Revoked, after(1)).await.unwrap();
            unit.commit().await.unwrap();
        });
        let inserted = insert_session(store.as_ref(), &session(account, account)).await;
        switching_off.await.unwrap();
        let found = store.session(&token(account)).await.unwrap();
        assert_eq!(found.is_some(), inserted == Changed::Done);
        found.is_none_or(|found| found.ended.is_some())
    })
    .await;
    assert!(done.into_iter().all(|dead| dead), "a session outlived the end of all");
}

pub async fn touch_notes_use_unless_it_was_noted_since(store: &dyn Store) {
    add_session(store).await;
    let last_seen = async || find(store, 1).await.unwrap().last_seen_at;
    assert!(store.touch_session(session_id(1), after(60), NOW, None).await.unwrap());
    assert_eq!(last_seen().await, after(60));
    assert!(!store.touch_session(session_id(1), after(90), after(59), None).await.unwrap());
    assert_eq!(last_seen().await, after(60));
    assert!(store.touch_session(session_id(1), after(120), after(60), None).await.unwrap());
    assert_eq!(last_seen().await, after(120));
}

pub async fn touch_never_brings_an_ended_session_back(store: &dyn Store) {
    add_session(store).await;
    assert!(end(store, 1, EndReason::Logout, after(1)).await);
    assert!(!store.touch_session(session_id(1), after(60), after(60), None).await.unwrap());
    let found = find(store, 1).await.unwrap();
    assert_eq!((found.ended, found.last_seen_at), (Some((after(1), EndReason::Logout)), NOW));
}

pub async fn at_most_one_caller_ends_a_session(stores: &Handles) {
    add_session(stores[0].as_ref()).await;
    let done = race(stores, |store, n| async move {
        // Use is noted all the while, and must not undo it.
        if n % 4 == 0 {
            store.touch_session(session_id(1), after(60 + u64::from(n)), after(600), None).await.unwrap();
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
        assert_eq!(insert_session(store.as_ref(), &session).await, Changed::Done);
        let other = Arc::clone(&store);
        let (old, id) = (session.token, session.id);
        let replacing = tokio::spawn(async move {
            let mut unit = other.begin().await.unwrap();
            let done = unit.sessions().renew(id, &old, &Renewal { token: new, ..renewal(1) }).await;
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
    let found = store.reader().await.unwrap().sessions().unseen_since(before, false, most).await.unwrap();
    assert!(found.iter().all(|(_, account)| *account == account_id(1)));
    found.into_iter().map(|(id, _)| id).collect()
}

/// Account 1 with sessions 1 to 4, made a second apart.
async fn add_four_sessions(store: &dyn Store) {
    add_account(store).await;
    for n in 1..=4 {
        let session = NewSession { login_at: after(u64::from(n)), ..session(n, 1) };
        assert_eq!(insert_session(store, &session).await, Changed::Done);
    }
}

pub async fn sessions_unseen_since_gives_the_longest_unused_ones(store: &dyn Store) {
    add_four_sessions(store).await;
    assert!(store.touch_session(session_id(1), after(10), after(9), None).await.unwrap());
    assert!(end(store, 3, EndReason::Logout, after(5)).await);
    assert_eq!(unseen(store, after(2), 10).await, [], "not before its own time");
    assert_eq!(unseen(store, after(11), 10).await, [2, 4, 1].map(session_id));
    assert_eq!(unseen(store, after(11), 2).await, [2, 4].map(session_id));
}

pub async fn sessions_unseen_since_gives_long_ones_apart(store: &dyn Store) {
    add_four_sessions(store).await;
    let long = NewSession { long: true, ..session(5, 1) };
    assert_eq!(insert_session(store, &long).await, Changed::Done);
    assert_eq!(unseen(store, after(11), 10).await, [1, 2, 3, 4].map(session_id));
    let found = store.reader().await.unwrap().sessions().unseen_since(after(11), true, 10).await.unwrap();
    assert_eq!(found, [(session_id(5), account_id(1))]);
    assert_eq!(store.reader().await.unwrap().sessions().unseen_since(NOW, true, 10).await.unwrap(), []);
}

/// A store with account 1 and its long session 1.
async fn add_long_session(store: &dyn Store) {
    add_account(store).await;
    let long = NewSession { long: true, ..session(1, 1) };
    assert_eq!(insert_session(store, &long).await, Changed::Done);
}

/// By somebody who shows `shown`, at a time; the session's own token must have been made by then, too.
async fn replace_daily(store: &dyn Store, shown: u8, new: u8, at: u64) -> bool {
    let replacement = Replacement {
        shown: token(shown),
        new: token(new),
        at: after(at),
        made_by: after(at).minus(Duration::from_secs(100)),
        unused_made_by: after(at).minus(Duration::from_secs(10)),
    };
    store.replace_token(session_id(1), &replacement).await.unwrap()
}

async fn use_token(store: &dyn Store, n: u8, at: u64) -> bool {
    let mut unit = store.begin().await.unwrap();
    let first = unit.sessions().use_token(session_id(1), &token(n), after(at), None, None).await.unwrap();
    unit.commit().await.unwrap();
    first
}

pub async fn a_long_session_comes_back_with_its_tokens_and_with_what_lapsed(store: &dyn Store) {
    add_long_session(store).await;
    assert_eq!(insert_session(store, &session(2, 1)).await, Changed::Done);
    let found = find(store, 1).await.unwrap();
    let tokens = Tokens::new(Some(token(1)), None, NOW, None, None);
    assert_eq!((found.long, found.lapsed_at, found.tokens), (true, None, tokens));
    assert!(!find(store, 2).await.unwrap().long);
    let listed = store.reader().await.unwrap().sessions().of_account(account_id(1)).await.unwrap();
    assert_eq!(listed.iter().map(|known| known.long).collect::<Vec<_>>(), [false, true]);

    assert!(store.touch_session(session_id(1), after(60), NOW, Some(NOW)).await.unwrap());
    assert_eq!(find(store, 1).await.unwrap().lapsed_at, Some(NOW));
    assert!(!store.touch_session(session_id(1), after(90), NOW, Some(after(30))).await.unwrap());
    assert!(store.touch_session(session_id(1), after(120), after(60), None).await.unwrap());
    assert_eq!(find(store, 1).await.unwrap().lapsed_at, Some(NOW), "it stays");
    assert_eq!(
        store.reader().await.unwrap().sessions().of_account(account_id(1)).await.unwrap()[1].lapsed_at,
        Some(NOW)
    );
    assert!(renew_by(store, 1, &Renewal { lapsed_at: Some(after(60)), ..renewal(3) }).await);
    assert_eq!(find(store, 3).await.unwrap().lapsed_at, Some(after(60)));
    assert!(renew_by(store, 3, &renewal(4)).await);
    assert_eq!(find(store, 4).await.unwrap().lapsed_at, Some(after(60)), "nothing new is written");
}

pub async fn a_token_is_replaced_on_its_conditions_alone(store: &dyn Store) {
    add_long_session(store).await;
    assert!(!replace_daily(store, 1, 2, 99).await, "too early");
    assert!(!replace_daily(store, 9, 2, 100).await, "another token");
    assert!(replace_daily(store, 1, 2, 100).await);
    let tokens = |current, before, made_at, used_at: Option<u64>| Tokens {
        current: Some(token(current)),
        before: Some(token(before)),
        made_at: after(made_at),
        used_at: used_at.map(after),
    };
    for n in [1, 2] {
        let found = find(store, n).await.unwrap();
        assert_eq!((found.id, found.tokens), (session_id(1), tokens(2, 1, 100, None)), "by either");
    }
    // The answer was lost: the one before asks again, and not at once.
    assert!(!replace_daily(store, 1, 3, 109).await);
    assert!(replace_daily(store, 1, 3, 110).await);
    assert!(find(store, 2).await.is_none(), "nobody has it");
    assert!(!use_token(store, 1, 111).await && !use_token(store, 2, 111).await, "not the session's own");
    assert!(use_token(store, 3, 112).await);
    assert!(!use_token(store, 3, 113).await, "noted once");
    assert_eq!(find(store, 1).await.unwrap().tokens, tokens(3, 1, 110, Some(112)), "to know it by");
    assert!(!replace_daily(store, 1, 4, 500).await, "dead");
    assert!(replace_daily(store, 3, 4, 500).await);
    assert_eq!(find(store, 4).await.unwrap().tokens, tokens(4, 3, 500, None));
    assert!(find(store, 1).await.is_none());

    assert!(end(store, 1, EndReason::Logout, after(600)).await);
    assert!(!replace_daily(store, 4, 5, 900).await && !use_token(store, 4, 900).await, "it has ended");
    assert!(find(store, 3).await.is_some() && find(store, 4).await.is_some());
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.sessions().forget_tokens(after(601), 9).await.unwrap(), 1);
    unit.commit().await.unwrap();
    assert!(find(store, 3).await.is_none() && find(store, 4).await.is_none(), "both are forgotten");
}

/// By whoever shows this token of a session, as this account.
async fn lengthen(store: &dyn Store, n: u8, account: u8, shown: u8) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done =
        unit.sessions().lengthen(session_id(n), account_id(account), &token(shown), after(80)).await.unwrap();
    unit.commit().await.unwrap();
    done
}

pub async fn lengthen_makes_one_session_a_long_one_whose_token_is_due(store: &dyn Store) {
    add_four_sessions(store).await;
    assert!(store.touch_session(session_id(1), after(70), after(9), None).await.unwrap());
    let before = find(store, 1).await.unwrap();
    assert!(!lengthen(store, 1, 2, 1).await, "another account's");
    assert!(!lengthen(store, 1, 1, 2).await, "another one's token");
    assert!(!lengthen(store, 9, 1, 1).await, "no session");
    assert!(!find(store, 1).await.unwrap().long);
    assert!(lengthen(store, 1, 1, 1).await);
    let found = find(store, 1).await.unwrap();
    assert!(found.long && !find(store, 2).await.unwrap().long);
    assert_eq!(
        (found.state, found.login_at, found.last_seen_at),
        (before.state, before.login_at, before.last_seen_at)
    );
    assert_eq!(found.proofs, before.proofs);
    let due = Tokens { made_at: after(80).minus(REPLACED_AFTER), used_at: Some(after(80)), ..before.tokens };
    assert_eq!((found.tokens, found.lapsed_at), (due, before.lapsed_at));
    assert!(!lengthen(store, 1, 1, 1).await, "it is one");
    // Upkeep and the daily replacement take it for one.
    assert_eq!(
        store.reader().await.unwrap().sessions().unseen_since(after(99), true, 10).await.unwrap(),
        [(session_id(1), account_id(1))]
    );
    assert!(replace_daily(store, 1, 11, 200).await);
}

pub async fn lengthen_asks_for_an_active_session_that_has_not_ended(store: &dyn Store) {
    add_session(store).await;
    let pending = NewSession { state: SessionState::PendingSecondFactor, ..session(2, 1) };
    assert_eq!(insert_session(store, &pending).await, Changed::Done);
    assert!(!lengthen(store, 2, 1, 2).await, "its second factor is due");
    assert!(replace(store, 1, 3).await);
    assert!(!lengthen(store, 1, 1, 1).await, "another token by now");
    assert!(end(store, 1, EndReason::Logout, after(9)).await);
    assert!(!lengthen(store, 1, 1, 3).await, "it has ended");
    for n in [2, 3] {
        assert!(!find(store, n).await.unwrap().long);
    }
}

pub async fn of_those_who_lengthen_a_session_at_once_one_is_told_so(stores: &Handles) {
    add_session(stores[0].as_ref()).await;
    let done = race(stores, |store, _| async move { lengthen(store.as_ref(), 1, 1, 1).await }).await;
    assert_eq!(done.into_iter().filter(|told| *told).count(), 1);
    assert!(find(stores[1].as_ref(), 1).await.unwrap().long);
}

pub async fn no_token_of_an_ordinary_session_is_replaced(store: &dyn Store) {
    add_session(store).await;
    assert!(!replace_daily(store, 1, 2, 9_999).await);
    assert!(!use_token(store, 1, 9_999).await);
}

pub async fn until_a_new_token_is_used_a_session_has_both(store: &dyn Store) {
    add_long_session(store).await;
    assert!(replace_daily(store, 1, 2, 100).await);
    let held = async |n| {
        let mut unit = store.begin().await.unwrap();
        unit.sessions().hold(session_id(1), &token(n)).await.unwrap().is_some()
    };
    assert!(held(1).await && held(2).await && !held(3).await);
    // What is proved for a purpose leaves them as they are.
    assert!(renew_by(store, 1, &renewal(1)).await);
    let both = find(store, 1).await.unwrap().tokens;
    assert_eq!((both.current, both.before, both.made_at), (Some(token(2)), Some(token(1)), after(100)));
    assert!(renew_by(store, 1, &Renewal { at: after(200), ..renewal(3) }).await, "by the one before");
    assert!(find(store, 1).await.is_none() && find(store, 2).await.is_none(), "both are dead");
    let one = Tokens { current: Some(token(3)), before: None, made_at: after(200), used_at: None };
    assert_eq!(find(store, 3).await.unwrap().tokens, one);

    assert!(replace_daily(store, 3, 4, 300).await && use_token(store, 4, 301).await);
    assert!(!held(3).await && held(4).await);
    assert!(!renew_by(store, 3, &renewal(5)).await, "it is dead");
    assert!(renew_by(store, 4, &renewal(5)).await);
}

pub async fn of_those_who_show_a_token_after_a_day_one_replaces_it(stores: &Handles) {
    add_long_session(stores[0].as_ref()).await;
    let done = race(stores, |store, n| async move {
        let new = 100 + n;
        replace_daily(store.as_ref(), 1, new, 100).await.then_some(new)
    })
    .await;
    let winners: Vec<u8> = done.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    let found = find(stores[1].as_ref(), 1).await.unwrap().tokens;
    assert_eq!((found.current, found.before), (Some(token(winners[0])), Some(token(1))));
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
