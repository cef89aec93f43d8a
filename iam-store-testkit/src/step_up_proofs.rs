//! Step-up proofs.

use iam_core::ports::{GrantSource, RoleGrant, StepUpProof, StepUpProofId};
use iam_core::{EndReason, ProofMethod, Purpose};

use super::*;

fn proof_id(n: u8) -> StepUpProofId {
    StepUpProofId::from_bytes([n; 16])
}

fn purpose(name: &str) -> Purpose {
    Purpose::parse(name).unwrap()
}

/// Proof `n` of account 1, made at a time.
fn proof(n: u8, at: u64) -> StepUpProof {
    StepUpProof {
        id: proof_id(n),
        account: account_id(1),
        parent: None,
        auth_version: AuthVersion::FIRST,
        purpose: purpose("payroll"),
        kind: ProofMethod::Totp,
        proved_at: after(at),
        approval: None,
    }
}

async fn insert(store: &dyn Store, session: u8, proof: &StepUpProof) {
    let mut unit = store.begin().await.unwrap();
    unit.step_up_proofs().insert(session_id(session), proof).await.unwrap();
    unit.commit().await.unwrap();
}

async fn use_proof(store: &dyn Store, n: u8, session: u8, proved_after: u64, now: u64) -> bool {
    retried(|| async {
        let mut unit = store.begin().await?;
        let (since, now) = (after(proved_after), after(now));
        let done = unit.step_up_proofs().use_proof(proof_id(n), session_id(session), since, now).await?;
        unit.commit().await?;
        Ok(done)
    })
    .await
}

async fn proofs(store: &dyn Store, session: u8, since: u64) -> Vec<StepUpProof> {
    let mut reader = store.reader().await.unwrap();
    reader.step_up_proofs().of_session(session_id(session), after(since)).await.unwrap()
}

async fn ids(store: &dyn Store, since: u64) -> Vec<StepUpProofId> {
    proofs(store, 1, since).await.into_iter().map(|proof| proof.id).collect()
}

pub async fn a_proof_comes_back_in_its_session_as_it_was_made(store: &dyn Store) {
    add_session(store).await;
    assert_eq!(insert_session(store, &session(2, 1)).await, Changed::Done);
    let whole = StepUpProof {
        auth_version: AuthVersion::from_i64(7),
        parent: Some(parent(3).id),
        purpose: purpose(&"x".repeat(32)),
        approval: Some([9; 32]),
        ..proof(1, 5)
    };
    insert(store, 1, &whole).await;
    assert_eq!(proofs(store, 1, 0).await, [whole]);
    assert_eq!(proofs(store, 2, 0).await, [], "another session of the same account");
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.step_up_proofs().insert(session_id(2), &proof(2, 6)).await.map_err(|_| ()), Ok(()));
    drop(unit);
    assert_eq!(proofs(store, 2, 0).await, [], "what was not kept is not there");
}

pub async fn only_proofs_made_since_and_not_used_up_are_found(store: &dyn Store) {
    add_session(store).await;
    insert(store, 1, &proof(2, 20)).await;
    insert(store, 1, &proof(1, 10)).await;
    assert_eq!(ids(store, 9).await, [proof_id(1), proof_id(2)], "the oldest first");
    assert_eq!(ids(store, 10).await, [proof_id(2)]);
    assert_eq!(ids(store, 20).await, []);
    assert!(use_proof(store, 2, 1, 0, 21).await);
    assert_eq!(ids(store, 9).await, [proof_id(1)]);
}

pub async fn the_guards_read_of_a_session_has_each_role_once_whatever_was_proved(store: &dyn Store) {
    add_session(store).await;
    let mut unit = store.begin().await.unwrap();
    for n in 1..=3 {
        assert_eq!(unit.roles().insert(&role(n), NOW).await.unwrap(), Inserted::Done);
        let (account, role) = (account_id(1), role(n).id);
        let held = RoleGrant {
            account,
            role,
            source: GrantSource::LOCAL,
            granted_by: None,
            granted_at: after(n.into()),
            expires_at: None,
        };
        assert!(unit.roles().grant(&held).await.unwrap());
    }
    unit.commit().await.unwrap();
    for n in 1..=4 {
        insert(store, 1, &proof(n, 10)).await;
    }
    let found = find(store, 1).await.unwrap();
    let mut since: Vec<_> = found.roles.iter().map(|role| role.granted_at).collect();
    since.sort_unstable();
    assert_eq!(since, [1, 2, 3].map(after));
}

pub async fn a_proof_is_used_once_and_in_time(store: &dyn Store) {
    add_session(store).await;
    insert(store, 1, &proof(1, 10)).await;
    assert!(!use_proof(store, 2, 1, 0, 11).await, "another one");
    assert!(!use_proof(store, 1, 1, 10, 11).await, "too old");
    let mut unit = store.begin().await.unwrap();
    assert!(unit.step_up_proofs().use_proof(proof_id(1), session_id(1), NOW, after(11)).await.unwrap());
    drop(unit);
    assert!(use_proof(store, 1, 1, 9, 12).await, "what was not kept is not there");
    assert!(!use_proof(store, 1, 1, 9, 13).await, "again");
}

pub async fn a_proof_is_used_in_its_own_session_while_that_lives(store: &dyn Store) {
    add_session(store).await;
    assert_eq!(insert_session(store, &session(2, 1)).await, Changed::Done);
    insert(store, 1, &proof(1, 10)).await;
    assert!(!use_proof(store, 1, 2, 0, 11).await, "another session");
    let mut unit = store.begin().await.unwrap();
    assert!(unit.sessions().end(session_id(1), EndReason::Logout, after(12)).await.unwrap());
    unit.commit().await.unwrap();
    assert!(!use_proof(store, 1, 1, 0, 13).await, "ended");
}

pub async fn purge_removes_what_is_too_old_used_or_not(store: &dyn Store) {
    add_session(store).await;
    for n in 1..=4 {
        insert(store, 1, &proof(n, u64::from(n))).await;
    }
    assert!(use_proof(store, 2, 1, 0, 9).await);
    let purge = async |before: u64, most: u32| {
        let mut unit = store.begin().await.unwrap();
        let gone = unit.step_up_proofs().purge(after(before), most).await.unwrap();
        unit.commit().await.unwrap();
        gone
    };
    assert_eq!((purge(1, 9).await, purge(4, 1).await, purge(4, 9).await, purge(4, 9).await), (0, 1, 2, 0));
    assert_eq!(ids(store, 0).await, [proof_id(4)]);
}

pub async fn of_any_number_with_one_proof_one_uses_it(stores: &Handles) {
    add_session(stores[0].as_ref()).await;
    insert(stores[0].as_ref(), 1, &proof(1, 10)).await;
    let done = race(stores, |store, _| async move { use_proof(store.as_ref(), 1, 1, 0, 11).await });
    assert_eq!(done.await.into_iter().filter(|used| *used).count(), 1);
}

pub async fn a_sign_out_beside_a_use_comes_before_or_after(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    let done = race(stores, |store, n| async move {
        let id = n + 1;
        assert_eq!(insert_session(store.as_ref(), &session(id, 1)).await, Changed::Done);
        insert(store.as_ref(), id, &proof(id, 1)).await;
        let other = Arc::clone(&store);
        let ending = tokio::spawn(async move {
            retried(|| async {
                let mut unit = other.begin().await?;
                unit.sessions().end(session_id(id), EndReason::Logout, after(2)).await?;
                unit.commit().await
            })
            .await;
        });
        let used = use_proof(store.as_ref(), id, id, 0, 2).await;
        ending.await.unwrap();
        // Whichever came first, after both nothing can be used any more.
        !use_proof(store.as_ref(), id, id, 0, 3).await || !used
    });
    assert!(done.await.into_iter().all(|right| right));
}
