//! Challenges for a purpose of its own, and what else came with them: factors that were proved in a session, and that one is required.

use iam_core::ports::{Challenge, ChallengeId, ChallengePurpose, GrantSource, NewChallenge, RoleGrant};
use iam_core::{FactorRequirement, ProofMethod, Purpose};

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
        kind: ProofMethod::Totp,
        method: None,
        kept: None,
        approval: None,
        tries: 0,
        sends: 0,
        created_at: after(u64::from(n)),
        expires_at: after(u64::from(n) + 60),
    }
}

/// Issues a challenge and answers it at a time.
async fn answer(store: &dyn Store, new: &NewChallenge, at: u64) {
    let mut unit = store.begin().await.unwrap();
    unit.challenges().issue(new).await.unwrap();
    assert!(unit.challenges().consume(new.id, None, after(at)).await.unwrap());
    unit.commit().await.unwrap();
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
    assert!(unit.challenges().consume(challenge_id(3), None, after(11)).await.unwrap());
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
    answer(store, &challenge(1, "p"), 2).await;
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
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.challenges().purge(after(99), 9).await.unwrap(), 1, "the one that was answered");
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
    assert_eq!(insert_account(store, &member).await, Inserted::Done);
    let mut unit = store.begin().await.unwrap();
    let (account, of) = (account_id(1), role(1).id);
    let held = RoleGrant {
        account,
        role: of,
        source: GrantSource::LOCAL,
        granted_by: None,
        granted_at: after(9),
        expires_at: None,
    };
    assert!(unit.roles().grant(&held).await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(insert_session(store, &session(1, 1)).await, Changed::Done);
    let found = find(store, 1).await.unwrap();
    assert_eq!(found.account_created_at, after(7));
    assert_eq!(found.parent.unwrap().factor_required, required(5, 0));
    assert_eq!((found.roles[0].factor_required, found.roles[0].granted_at), (required(5, 0), after(9)));
    assert!(set(required(5, 0), None).await);
    assert_eq!(seen().await, None);
}
