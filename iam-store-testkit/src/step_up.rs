//! Grants: challenges that were answered for a purpose.

use iam_core::ports::{
    Challenge, ChallengeId, ChallengePurpose, GrantTerms, NewChallenge, RoleGrant, StepUpProof,
};
use iam_core::{EndReason, FactorKind, FactorRequirement, Purpose};

use super::*;

fn challenge_id(n: u8) -> ChallengeId {
    ChallengeId::from_bytes([n; 16])
}

fn purpose(name: &str) -> Purpose {
    Purpose::parse(name).unwrap()
}

/// Challenge `n` of session 1, made `n` seconds after the beginning and good for a minute.
fn challenge(n: u8, name: &str) -> NewChallenge {
    NewChallenge {
        id: challenge_id(n),
        account: account_id(1),
        session: session_id(1),
        purpose: ChallengePurpose::StepUp(purpose(name)),
        kind: FactorKind::Totp,
        method: None,
        answer: None,
        approval: None,
        tries: 0,
        sends: 0,
        created_at: after(u64::from(n)),
        expires_at: after(u64::from(n) + 60),
    }
}

const TERMS: GrantTerms = GrantTerms { auth_version: AuthVersion::FIRST, parent: None, approval: None };

/// Issues a challenge and answers it at a time.
async fn grant(store: &dyn Store, new: &NewChallenge, terms: Option<&GrantTerms>, at: u64) {
    let mut unit = store.begin().await.unwrap();
    unit.challenges().issue(new).await.unwrap();
    assert!(unit.challenges().consume(new.id, None, terms, after(at)).await.unwrap());
    unit.commit().await.unwrap();
}

async fn use_grant(store: &dyn Store, n: u8, session: u8, proved_after: u64, now: u64) -> bool {
    retried(|| async {
        let mut unit = store.begin().await?;
        let (since, now) = (after(proved_after), after(now));
        let done = unit.challenges().use_grant(challenge_id(n), session_id(session), since, now).await?;
        unit.commit().await?;
        Ok(done)
    })
    .await
}

async fn grants(store: &dyn Store, since: u64) -> Vec<StepUpProof> {
    let mut grants = store.session(&token(1), after(since)).await.unwrap().unwrap().grants;
    grants.sort_by_key(|grant| grant.proved_at);
    grants
}

async fn ids(store: &dyn Store, since: u64) -> Vec<ChallengeId> {
    grants(store, since).await.into_iter().map(|grant| grant.id).collect()
}

pub async fn a_challenge_answered_on_terms_is_a_grant_of_its_session(store: &dyn Store) {
    add_session(store).await;
    assert_eq!(insert_session(store, &session(2, 1)).await, Insert::Inserted);
    let terms = GrantTerms {
        auth_version: AuthVersion::from_i64(7),
        parent: Some(parent(3).id),
        approval: Some([9; 32]),
    };
    grant(store, &challenge(1, "payroll"), Some(&terms), 5).await;
    grant(store, &challenge(2, "other"), None, 6).await;
    let expected = StepUpProof {
        id: challenge_id(1),
        account: account_id(1),
        parent: terms.parent,
        auth_version: terms.auth_version,
        purpose: purpose("payroll"),
        kind: FactorKind::Totp,
        proved_at: after(5),
        approval: terms.approval,
    };
    assert_eq!(grants(store, 0).await, [expected], "without terms it is none");
    assert_eq!(find(store, 2).await.unwrap().grants, [], "another session of the same account");
}

pub async fn only_grants_made_since_come_with_the_session(store: &dyn Store) {
    add_session(store).await;
    let mut unanswered = challenge(3, "p");
    unanswered.kind = FactorKind::SmsOtp;
    let mut unit = store.begin().await.unwrap();
    unit.challenges().issue(&unanswered).await.unwrap();
    unit.commit().await.unwrap();
    grant(store, &challenge(1, "p"), Some(&TERMS), 10).await;
    grant(store, &challenge(2, "p"), Some(&TERMS), 20).await;
    assert_eq!(ids(store, 9).await, [challenge_id(1), challenge_id(2)]);
    assert_eq!(ids(store, 10).await, [challenge_id(2)]);
    assert_eq!(ids(store, 20).await, []);
    assert!(use_grant(store, 2, 1, 0, 21).await);
    assert_eq!(ids(store, 9).await, [challenge_id(1)], "one that is used up");
}

pub async fn a_grant_beside_roles_comes_once_and_so_do_they(store: &dyn Store) {
    add_session(store).await;
    let mut unit = store.begin().await.unwrap();
    for n in 1..=3 {
        assert_eq!(unit.roles().insert(&role(n), NOW).await.unwrap(), Insert::Inserted);
        let (account, role) = (account_id(1), role(n).id);
        let held =
            RoleGrant { account, role, granted_by: None, granted_at: after(n.into()), expires_at: None };
        assert!(unit.roles().grant(&held).await.unwrap());
    }
    unit.commit().await.unwrap();
    for n in 1..=4 {
        grant(store, &challenge(n, "p"), Some(&TERMS), 10 + u64::from(n)).await;
    }
    let found = find(store, 1).await.unwrap();
    assert_eq!((found.roles.len(), found.grants.len()), (3, 4));
    let mut since: Vec<_> = found.roles.iter().map(|role| role.granted_at).collect();
    since.sort_unstable();
    assert_eq!(since, [1, 2, 3].map(after));
}

pub async fn a_grant_is_used_once_and_in_time(store: &dyn Store) {
    add_session(store).await;
    grant(store, &challenge(1, "p"), Some(&TERMS), 10).await;
    assert!(!use_grant(store, 2, 1, 0, 11).await, "another one");
    assert!(!use_grant(store, 1, 1, 10, 11).await, "too old");
    let mut unit = store.begin().await.unwrap();
    assert!(unit.challenges().use_grant(challenge_id(1), session_id(1), NOW, after(11)).await.unwrap());
    drop(unit);
    assert!(use_grant(store, 1, 1, 9, 12).await, "what was not kept is not there");
    assert!(!use_grant(store, 1, 1, 9, 13).await, "again");
    grant(store, &NewChallenge { purpose: ChallengePurpose::SignIn, ..challenge(3, "p") }, None, 14).await;
    assert!(!use_grant(store, 3, 1, 0, 15).await, "a sign-in is no grant");
}

pub async fn a_grant_is_used_in_its_own_session_while_that_lives(store: &dyn Store) {
    add_session(store).await;
    assert_eq!(insert_session(store, &session(2, 1)).await, Insert::Inserted);
    grant(store, &challenge(1, "p"), Some(&TERMS), 10).await;
    assert!(!use_grant(store, 1, 2, 0, 11).await, "another session");
    let mut unit = store.begin().await.unwrap();
    assert!(unit.sessions().end(session_id(1), EndReason::Logout, after(12)).await.unwrap());
    unit.commit().await.unwrap();
    assert!(!use_grant(store, 1, 1, 0, 13).await, "ended");
}

pub async fn the_challenge_asked_for_last_is_found(store: &dyn Store) {
    add_session(store).await;
    let last = async |now| {
        store.reader().await.unwrap().challenges().asked_last(session_id(1), None, after(now)).await
    };
    assert_eq!(last(0).await.unwrap(), None);
    let mut unit = store.begin().await.unwrap();
    for new in [
        NewChallenge { purpose: ChallengePurpose::Reauthenticate, ..challenge(1, "p") },
        NewChallenge { approval: Some([4; 32]), ..challenge(2, "p") },
        challenge(3, "q"),
        NewChallenge { purpose: ChallengePurpose::Enrol, ..challenge(4, "p") },
        NewChallenge { purpose: ChallengePurpose::SignIn, ..challenge(5, "p") },
        NewChallenge { session: session_id(2), ..challenge(6, "p") },
    ] {
        unit.challenges().issue(&new).await.unwrap();
    }
    unit.commit().await.unwrap();
    assert_eq!(last(10).await.unwrap().unwrap().new, challenge(3, "q"));
    let mut unit = store.begin().await.unwrap();
    assert!(unit.challenges().consume(challenge_id(3), None, Some(&TERMS), after(11)).await.unwrap());
    unit.commit().await.unwrap();
    let found = last(11).await.unwrap().unwrap();
    assert_eq!((found.new.id, found.new.approval), (challenge_id(2), Some([4; 32])));
    assert_eq!(last(62).await.unwrap(), None, "all have expired");
    for (name, n) in [("p", Some(2)), ("q", None), ("other", None)] {
        let found = store
            .reader()
            .await
            .unwrap()
            .challenges()
            .asked_last(session_id(1), Some(purpose(name)), after(11))
            .await
            .unwrap();
        assert_eq!(found.map(|found| found.new.id), n.map(challenge_id), "{name}");
    }
}

pub async fn purge_unanswered_leaves_what_was_answered(store: &dyn Store) {
    add_session(store).await;
    grant(store, &challenge(1, "p"), Some(&TERMS), 2).await;
    let mut unit = store.begin().await.unwrap();
    for n in 2..=4 {
        unit.challenges().issue(&challenge(n, "q")).await.unwrap();
    }
    unit.commit().await.unwrap();
    let purge = async |before: u64, most: u32| {
        let mut unit = store.begin().await.unwrap();
        let gone = unit.challenges().purge_unanswered(after(before), most).await.unwrap();
        unit.commit().await.unwrap();
        gone
    };
    assert_eq!(
        (purge(62, 9).await, purge(65, 1).await, purge(65, 9).await, purge(99, 9).await),
        (0, 1, 2, 0)
    );
    assert_eq!(ids(store, 0).await, [challenge_id(1)]);
}

pub async fn tries_can_be_carried_over(store: &dyn Store) {
    add_session(store).await;
    let mut unit = store.begin().await.unwrap();
    let new = NewChallenge { tries: 3, approval: Some([1; 32]), ..challenge(1, "p") };
    unit.challenges().issue(&new).await.unwrap();
    let mut tried = 0;
    while unit.challenges().count_try(new.id, 5, after(2)).await.unwrap() {
        tried += 1;
    }
    let open = unit.challenges().open(new.session, new.purpose, new.kind, None).await.unwrap();
    let expected =
        Challenge { new: NewChallenge { tries: 0, ..new }, tries: 5, consumed_at: None, replaced_at: None };
    assert_eq!((tried, open), (2, Some(expected)));
    unit.commit().await.unwrap();
}

pub async fn a_purpose_that_only_a_newer_program_knows_opens_nothing(store: &dyn Store) {
    add_session(store).await;
    // What this program would not make, as another one may: it comes back as it was, or not at all, and keeps nobody out.
    grant(store, &challenge(1, &"x".repeat(32)), Some(&TERMS), 1).await;
    assert_eq!(grants(store, 0).await[0].purpose, purpose(&"x".repeat(32)));
}

pub async fn a_requirement_of_a_role_or_parent_is_set_from_what_it_was(store: &dyn Store) {
    add_parent(store, &parent(1)).await;
    add_role(store, &role(1)).await;
    let required =
        |secs, grace| Some(FactorRequirement { since: after(secs), grace: Duration::from_secs(grace) });
    let set = async |from, to| {
        let mut unit = store.begin().await.unwrap();
        let role = unit.roles().set_factor_requirement(role(1).id, from, to).await.unwrap();
        let parent = unit.parents().set_factor_requirement(parent(1).id, from, to, NOW).await.unwrap();
        unit.commit().await.unwrap();
        assert_eq!(role, parent);
        role
    };
    let seen = async || {
        let role = store
            .reader()
            .await
            .unwrap()
            .roles()
            .by_name(&role(1).name)
            .await
            .unwrap()
            .unwrap()
            .factor_required;
        let by_key = store
            .reader()
            .await
            .unwrap()
            .parents()
            .by_key(&parent(1).key)
            .await
            .unwrap()
            .unwrap()
            .factor_required;
        assert_eq!(
            (role, role),
            (
                by_key,
                store
                    .reader()
                    .await
                    .unwrap()
                    .parents()
                    .by_id(parent(1).id)
                    .await
                    .unwrap()
                    .unwrap()
                    .factor_required
            )
        );
        role
    };
    assert!(!set(required(1, 1), required(2, 2)).await, "it is not required");
    assert!(set(None, required(1, 60)).await);
    assert_eq!(seen().await, required(1, 60));
    assert!(!set(None, required(2, 2)).await && !set(required(1, 61), None).await);
    assert!(set(required(1, 60), required(5, 0)).await);
    let mut member = account(1);
    member.parent = Some(parent(1).id);
    member.created_at = after(7);
    assert_eq!(insert_account(store, &member).await, Insert::Inserted);
    let mut unit = store.begin().await.unwrap();
    let (account, of) = (account_id(1), role(1).id);
    let held = RoleGrant { account, role: of, granted_by: None, granted_at: after(9), expires_at: None };
    assert!(unit.roles().grant(&held).await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(insert_session(store, &session(1, 1)).await, Insert::Inserted);
    let found = find(store, 1).await.unwrap();
    assert_eq!(found.account_created_at, after(7));
    assert_eq!(found.parent.unwrap().factor_required, required(5, 0));
    assert_eq!((found.roles[0].factor_required, found.roles[0].granted_at), (required(5, 0), after(9)));
    assert!(set(required(5, 0), None).await);
    assert_eq!(seen().await, None);
}

pub async fn of_any_number_with_one_grant_one_uses_it(stores: &Handles) {
    add_session(stores[0].as_ref()).await;
    grant(stores[0].as_ref(), &challenge(1, "p"), Some(&TERMS), 10).await;
    let done = race(stores, |store, _| async move { use_grant(store.as_ref(), 1, 1, 0, 11).await });
    assert_eq!(done.await.into_iter().filter(|used| *used).count(), 1);
}

pub async fn a_sign_out_beside_a_use_comes_before_or_after(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    let done = race(stores, |store, n| async move {
        let id = n + 1;
        assert_eq!(insert_session(store.as_ref(), &session(id, 1)).await, Insert::Inserted);
        let new = NewChallenge { session: session_id(id), ..challenge(id, "p") };
        grant(store.as_ref(), &new, Some(&TERMS), 1).await;
        let other = Arc::clone(&store);
        let ending = tokio::spawn(async move {
            retried(|| async {
                let mut unit = other.begin().await?;
                unit.sessions().end(session_id(id), EndReason::Logout, after(2)).await?;
                unit.commit().await
            })
            .await;
        });
        let used = use_grant(store.as_ref(), id, id, 0, 2).await;
        ending.await.unwrap();
        // Whichever came first, after both nothing can be used any more.
        !use_grant(store.as_ref(), id, id, 0, 3).await || !used
    });
    assert!(done.await.into_iter().all(|right| right));
}
