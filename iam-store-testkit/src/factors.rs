//! Factors, recovery codes and challenges.

use iam_core::ports::{
    Challenge, ChallengeId, ChallengePurpose, Confirmation, Confirmed, Delivery, LimitKey, LoginIdentifier,
    MessageId, Method, MethodId, NewChallenge, NewMessage, SealedColumn, Settled, TakenPlace,
};
use iam_core::{Channel, FactorKind, MethodName, ProofMethod, StoredKind};

use super::*;

const LONG_AGO: Timestamp = Timestamp::from_micros(0);

fn method_id(n: u8) -> MethodId {
    MethodId::from_bytes([n; 16])
}

/// Method `n`, made `n` seconds after the beginning and not yet confirmed.
fn method(n: u8, account: u8) -> Method {
    Method {
        id: method_id(n),
        account: account_id(account),
        kind: FactorKind::Totp.into(),
        name: MethodName::parse(&format!("phone {n}")).unwrap(),
        secret: Some(vec![n; 60]),
        lookup: None,
        created_at: after(u64::from(n)),
        confirmed_at: None,
        last_used_at: None,
        last_step: None,
    }
}

fn confirmed(n: u8, account: u8) -> Method {
    Method { confirmed_at: Some(after(u64::from(n))), ..method(n, account) }
}

async fn add(store: &dyn Store, method: &Method) {
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.methods().insert(method, 100).await.unwrap(), Kept::Done);
    unit.commit().await.unwrap();
}

async fn add_accounts(store: &dyn Store) {
    for n in [1, 2] {
        assert_eq!(insert_account(store, &account(n)).await, Inserted::Done);
    }
}

async fn methods(store: &dyn Store) -> Vec<Method> {
    store.reader().await.unwrap().methods().of_account(account_id(1)).await.unwrap()
}

async fn confirm(store: &dyn Store, account: u8, n: u8, step: Option<i64>, made_after: Timestamp) -> bool {
    let confirmation = Confirmation { step, ..Confirmation::default() };
    confirm_with(store, account, n, &confirmation, made_after).await == Confirmed::Done
}

async fn confirm_with(
    store: &dyn Store,
    account: u8,
    n: u8,
    confirmation: &Confirmation<'_>,
    made_after: Timestamp,
) -> Confirmed {
    let (account, id) = (account_id(account), method_id(n));
    retried(|| async {
        let mut unit = store.begin().await?;
        let done = unit.methods().confirm(account, id, confirmation, made_after, after(60)).await?;
        unit.commit().await?;
        Ok(done)
    })
    .await
}

async fn rewrite(store: &dyn Store, account: u8, n: u8, old: &[u8], new: &[u8]) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.methods().rewrite(account_id(account), method_id(n), old, new, after(70)).await.unwrap();
    unit.commit().await.unwrap();
    done
}

async fn note_use(store: &dyn Store, account: u8, n: u8, step: Option<i64>, secs: u64) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.methods().note_use(account_id(account), method_id(n), step, after(secs)).await.unwrap();
    unit.commit().await.unwrap();
    done
}

// -- methods --

pub async fn methods_come_back_in_the_order_in_which_they_were_made(store: &dyn Store) {
    add_accounts(store).await;
    let full = Method { last_used_at: Some(after(90)), last_step: Some(i64::MAX), ..confirmed(2, 1) };
    let mut bare = method(1, 1);
    (bare.kind, bare.secret) = (FactorKind::EmailOtp.into(), None);
    bare.name = MethodName::parse("caf\u{e9} \u{1f600}").unwrap();
    for method in [&full, &bare, &method(3, 2)] {
        add(store, method).await;
    }
    assert_eq!(methods(store).await, [bare, full]);
    assert_eq!(
        store.reader().await.unwrap().methods().of_account(account_id(2)).await.unwrap(),
        [method(3, 2)]
    );
}

pub async fn every_kind_of_method_comes_back(store: &dyn Store) {
    add_account(store).await;
    for (n, kind) in (1..).zip(FactorKind::ALL) {
        add(store, &Method { kind: kind.into(), ..method(n, 1) }).await;
    }
    let kinds: Vec<_> = methods(store).await.into_iter().map(|method| method.kind).collect();
    assert_eq!(kinds, FactorKind::ALL.map(StoredKind::Known));
}

pub async fn a_method_of_a_kind_that_is_not_known_comes_back_and_counts(store: &dyn Store) {
    add_account(store).await;
    let newer = Method { kind: StoredKind::parse("palm"), lookup: Some(vec![1]), ..confirmed(1, 1) };
    add(store, &newer).await;
    assert_eq!(methods(store).await, [newer]);
    let identifier = LoginIdentifier::parse("user-1").unwrap();
    let mut reader = store.reader().await.unwrap();
    let candidate = reader.accounts().login_candidate(&identifier).await.unwrap().unwrap();
    assert!(candidate.second_factor, "nobody comes in past it");
}

pub async fn a_confirmation_gives_secret_and_lookup(store: &dyn Store) {
    add_account(store).await;
    let longest = vec![7; 1023];
    for n in [1, 2] {
        add(store, &method(n, 1)).await;
    }
    let confirmation = Confirmation { secret: Some(&[9; 60]), lookup: Some(&longest), step: None };
    assert_eq!(confirm_with(store, 1, 1, &confirmation, LONG_AGO).await, Confirmed::Done);
    assert!(confirm(store, 1, 2, None, LONG_AGO).await, "what it has stays");
    let expected = [
        Method {
            secret: Some(vec![9; 60]),
            lookup: Some(longest.clone()),
            confirmed_at: Some(after(60)),
            ..method(1, 1)
        },
        Method { confirmed_at: Some(after(60)), ..method(2, 1) },
    ];
    assert_eq!(methods(store).await, expected);
}

pub async fn a_lookup_is_of_one_method_of_its_kind(store: &dyn Store) {
    add_accounts(store).await;
    add(store, &method(1, 1)).await;
    add(store, &method(2, 2)).await;
    add(store, &Method { kind: FactorKind::WebAuthn.into(), ..method(3, 2) }).await;
    let confirmation = Confirmation { lookup: Some(b"id"), ..Confirmation::default() };
    assert_eq!(confirm_with(store, 1, 1, &confirmation, LONG_AGO).await, Confirmed::Done);
    let mut unit = store.begin().await.unwrap();
    let (account, now) = (account_id(2), after(60));
    let taken = unit.methods().confirm(account, method_id(2), &confirmation, LONG_AGO, now).await.unwrap();
    assert_eq!(taken, Confirmed::Taken(UniqueKey::FactorLookup), "somebody else's");
    let other = Confirmation { lookup: Some(b"ID"), ..Confirmation::default() };
    let done = unit.methods().confirm(account, method_id(2), &other, LONG_AGO, now).await.unwrap();
    assert_eq!(done, Confirmed::Done, "the unit goes on, and bytes are compared");
    unit.commit().await.unwrap();
    assert_eq!(confirm_with(store, 2, 3, &confirmation, LONG_AGO).await, Confirmed::Done, "another kind");
}

pub async fn a_secret_is_rewritten_if_it_is_still_what_it_was(store: &dyn Store) {
    add_accounts(store).await;
    add(store, &confirmed(1, 1)).await;
    add(store, &method(2, 1)).await;
    assert!(!rewrite(store, 1, 1, &[2; 60], &[9; 60]).await, "another secret");
    assert!(!rewrite(store, 2, 1, &[1; 60], &[9; 60]).await, "somebody else");
    assert!(!rewrite(store, 1, 2, &[2; 60], &[9; 60]).await, "not confirmed");
    assert!(rewrite(store, 1, 1, &[1; 60], &[9; 60]).await);
    assert!(!rewrite(store, 1, 1, &[1; 60], &[9; 60]).await, "twice");
    let expected = Method { secret: Some(vec![9; 60]), last_used_at: Some(after(70)), ..confirmed(1, 1) };
    assert_eq!(methods(store).await, [expected, method(2, 1)]);
}

pub async fn a_method_is_confirmed_once_in_time_and_by_its_owner(store: &dyn Store) {
    add_accounts(store).await;
    add(store, &method(1, 1)).await;
    assert!(!confirm(store, 1, 2, None, NOW).await, "another method");
    assert!(!confirm(store, 2, 1, None, NOW).await, "somebody else");
    assert!(!confirm(store, 1, 1, None, after(1)).await, "made too long ago");
    assert_eq!(methods(store).await, [method(1, 1)]);
    assert!(confirm(store, 1, 1, Some(7), NOW).await);
    assert!(!confirm(store, 1, 1, Some(8), NOW).await, "twice");
    let expected = Method { confirmed_at: Some(after(60)), last_step: Some(7), ..method(1, 1) };
    assert_eq!(methods(store).await, [expected]);
}

pub async fn only_a_confirmed_method_makes_a_second_factor_due(store: &dyn Store) {
    add_accounts(store).await;
    let due = async || {
        let identifier = LoginIdentifier::parse("user-1").unwrap();
        store
            .reader()
            .await
            .unwrap()
            .accounts()
            .login_candidate(&identifier)
            .await
            .unwrap()
            .unwrap()
            .second_factor
    };
    add(store, &method(1, 1)).await;
    add(store, &confirmed(2, 2)).await;
    assert!(!due().await, "not confirmed, and another account's");
    assert!(confirm(store, 1, 1, None, LONG_AGO).await);
    assert!(due().await);
    let mut unit = store.begin().await.unwrap();
    assert!(unit.methods().remove(account_id(1), method_id(1)).await.unwrap());
    unit.commit().await.unwrap();
    assert!(!due().await);
}

pub async fn a_step_is_accepted_once_and_none_before_it(store: &dyn Store) {
    add_accounts(store).await;
    add(store, &confirmed(1, 1)).await;
    assert!(!note_use(store, 2, 1, Some(5), 70).await, "somebody else");
    assert!(note_use(store, 1, 1, Some(5), 70).await);
    for step in [5, 4, -1] {
        assert!(!note_use(store, 1, 1, Some(step), 80).await, "step {step}");
    }
    let noted = async || {
        let method = methods(store).await.remove(0);
        (method.last_used_at, method.last_step)
    };
    assert_eq!(noted().await, (Some(after(70)), Some(5)), "a refusal notes nothing");
    assert!(note_use(store, 1, 1, Some(6), 90).await);
    assert_eq!(noted().await, (Some(after(90)), Some(6)));
}

pub async fn a_use_without_a_step_leaves_the_step(store: &dyn Store) {
    add_account(store).await;
    add(store, &Method { last_step: Some(5), ..confirmed(1, 1) }).await;
    for secs in [70, 80] {
        assert!(note_use(store, 1, 1, None, secs).await);
    }
    let method = methods(store).await.remove(0);
    assert_eq!((method.last_used_at, method.last_step), (Some(after(80)), Some(5)));
}

pub async fn the_step_that_confirmed_a_method_is_not_accepted_again(store: &dyn Store) {
    add_account(store).await;
    add(store, &method(1, 1)).await;
    assert!(!note_use(store, 1, 1, Some(9), 50).await, "what is not confirmed counts for nothing");
    assert!(!note_use(store, 1, 1, None, 50).await);
    assert!(confirm(store, 1, 1, Some(5), LONG_AGO).await);
    assert!(!note_use(store, 1, 1, Some(5), 70).await);
    assert!(note_use(store, 1, 1, Some(6), 70).await);
}

pub async fn steps_are_moved_on_and_never_back(store: &dyn Store) {
    add_accounts(store).await;
    for method in [
        Method { last_step: Some(40), ..confirmed(1, 1) },
        Method { last_step: Some(60), ..confirmed(2, 1) },
        method(3, 1),
        Method { kind: FactorKind::EmailOtp.into(), ..confirmed(4, 1) },
        Method { last_step: Some(40), ..confirmed(5, 2) },
    ] {
        add(store, &method).await;
    }
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.methods().move_on(account_id(1), FactorKind::Totp, 50).await.unwrap(), 2);
    unit.commit().await.unwrap();
    let steps: Vec<_> = methods(store).await.iter().map(|method| method.last_step).collect();
    assert_eq!(steps, [Some(50), Some(60), Some(50), None]);
    assert_eq!(
        store.reader().await.unwrap().methods().of_account(account_id(2)).await.unwrap()[0].last_step,
        Some(40),
        "of this account alone"
    );
    assert!(!note_use(store, 1, 1, Some(50), 99).await && note_use(store, 1, 1, Some(51), 99).await);
}

pub async fn a_method_gets_another_name_from_its_owner(store: &dyn Store) {
    add_accounts(store).await;
    add(store, &method(1, 1)).await;
    let name = MethodName::parse("Telefon f\u{fc}rs B\u{fc}ro").unwrap();
    for (account, id, done) in [(2, 1, false), (1, 2, false), (1, 1, true), (1, 1, true)] {
        let mut unit = store.begin().await.unwrap();
        let renamed = unit.methods().rename(account_id(account), method_id(id), &name).await.unwrap();
        unit.commit().await.unwrap();
        assert_eq!(renamed, done, "method {id} by {account}");
    }
    assert_eq!(methods(store).await, [Method { name, ..method(1, 1) }]);
}

pub async fn methods_are_removed_one_or_all(store: &dyn Store) {
    add_accounts(store).await;
    for n in 1..=4 {
        add(store, &confirmed(n, 1)).await;
    }
    add(store, &confirmed(5, 2)).await;
    let mut unit = store.begin().await.unwrap();
    assert!(!unit.methods().remove(account_id(2), method_id(1)).await.unwrap(), "somebody else");
    assert!(unit.methods().remove(account_id(1), method_id(1)).await.unwrap());
    assert!(!unit.methods().remove(account_id(1), method_id(1)).await.unwrap(), "twice");
    assert_eq!(unit.methods().remove_all(account_id(1)).await.unwrap(), 3);
    assert_eq!(unit.methods().remove_all(account_id(1)).await.unwrap(), 0);
    unit.commit().await.unwrap();
    assert_eq!(methods(store).await, []);
    assert_eq!(
        store.reader().await.unwrap().methods().of_account(account_id(2)).await.unwrap(),
        [confirmed(5, 2)]
    );
}

pub async fn purge_removes_methods_that_were_never_confirmed(store: &dyn Store) {
    add_account(store).await;
    for n in [1, 2, 3, 5] {
        add(store, &method(n, 1)).await;
    }
    add(store, &confirmed(4, 1)).await;
    let mut done = Vec::new();
    for (before, most) in [(1, 9), (5, 2), (5, 9), (5, 9)] {
        let mut unit = store.begin().await.unwrap();
        done.push(unit.methods().purge_unconfirmed(after(before), most).await.unwrap());
        unit.commit().await.unwrap();
    }
    assert_eq!(done, [0, 2, 1, 0]);
    assert_eq!(methods(store).await, [confirmed(4, 1), method(5, 1)]);
}

pub async fn at_most_one_caller_confirms_a_method(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    add(stores[0].as_ref(), &method(1, 1)).await;
    let done =
        race(
            stores,
            |store, n| async move { confirm(store.as_ref(), 1, 1, Some(i64::from(n)), LONG_AGO).await },
        )
        .await;
    let steps: Vec<_> = (0..).zip(&done).filter(|(_, done)| **done).map(|(n, _)| n).collect();
    assert_eq!(steps.len(), 1);
}

pub async fn of_any_number_with_one_code_one_is_accepted(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    add(stores[0].as_ref(), &confirmed(1, 1)).await;
    for step in [5, 6] {
        let done =
            race(stores, move |store, _| async move { note_use(store.as_ref(), 1, 1, Some(step), 70).await })
                .await;
        assert_eq!(done.into_iter().filter(|done| *done).count(), 1, "step {step}");
    }
}

// -- recovery codes --

async fn replace_codes(store: &dyn Store, account: u8, digests: &[[u8; 32]]) {
    let mut unit = store.begin().await.unwrap();
    unit.recovery_codes().replace(account_id(account), digests, NOW).await.unwrap();
    unit.commit().await.unwrap();
}

async fn consume_code(store: &dyn Store, account: u8, digest: u8) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.recovery_codes().consume(account_id(account), &[digest; 32], after(1)).await.unwrap();
    unit.commit().await.unwrap();
    done
}

async fn codes_left(store: &dyn Store, account: u8) -> u32 {
    store.reader().await.unwrap().recovery_codes().left(account_id(account)).await.unwrap()
}

pub async fn new_recovery_codes_take_the_place_of_all_before_them(store: &dyn Store) {
    add_accounts(store).await;
    assert_eq!(codes_left(store, 1).await, 0);
    replace_codes(store, 1, &[[1; 32], [2; 32], [3; 32]]).await;
    replace_codes(store, 2, &[[1; 32]]).await;
    assert!(consume_code(store, 1, 3).await);
    assert_eq!((codes_left(store, 1).await, codes_left(store, 2).await), (2, 1));
    replace_codes(store, 1, &[[2; 32], [3; 32], [4; 32], [5; 32]]).await;
    assert_eq!((codes_left(store, 1).await, codes_left(store, 2).await), (4, 1));
    assert!(!consume_code(store, 1, 1).await, "replaced");
    assert!(consume_code(store, 1, 3).await, "new, though the same was used before");
    replace_codes(store, 1, &[]).await;
    assert_eq!(codes_left(store, 1).await, 0);
}

pub async fn a_recovery_code_is_used_once_and_by_its_owner(store: &dyn Store) {
    add_accounts(store).await;
    replace_codes(store, 1, &[[1; 32], [2; 32]]).await;
    assert!(!consume_code(store, 1, 3).await, "no such code");
    assert!(!consume_code(store, 2, 1).await, "somebody else's");
    assert!(consume_code(store, 1, 1).await);
    assert!(!consume_code(store, 1, 1).await, "twice");
    assert_eq!(codes_left(store, 1).await, 1);
}

pub async fn of_any_number_with_one_recovery_code_one_uses_it(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    replace_codes(stores[0].as_ref(), 1, &[[1; 32], [2; 32]]).await;
    let done = race(stores, |store, _| async move { consume_code(store.as_ref(), 1, 1).await }).await;
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
    assert_eq!(codes_left(stores[1].as_ref(), 1).await, 1);
}

pub async fn of_lists_of_codes_made_at_once_one_is_left(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    let code = |list: u8, n: u8| {
        let mut digest = [n.reverse_bits() ^ list; 32];
        digest[31] = list;
        digest
    };
    race(stores, move |store, list| async move {
        let digests: Vec<_> = (0..10).map(|n| code(list, n)).collect();
        retried(|| async {
            let mut unit = store.begin().await?;
            unit.recovery_codes().replace(account_id(1), &digests, NOW).await?;
            unit.commit().await
        })
        .await;
    })
    .await;
    let store = stores[1].as_ref();
    assert_eq!(codes_left(store, 1).await, 10);
    let mut unit = store.begin().await.unwrap();
    let mut of_lists = Vec::new();
    for list in 0..TASKS {
        for n in 0..10 {
            if unit.recovery_codes().consume(account_id(1), &code(list, n), NOW).await.unwrap() {
                of_lists.push(list);
            }
        }
    }
    assert!(of_lists.len() == 10 && of_lists.iter().all(|list| *list == of_lists[0]), "{of_lists:?}");
}

// -- challenges --

const SIGN_IN: ChallengePurpose = ChallengePurpose::SignIn;
const EMAIL: ProofMethod = ProofMethod::EmailOtp;

fn challenge_id(n: u8) -> ChallengeId {
    ChallengeId::from_bytes([n; 16])
}

/// Challenge `n` of session 1, made `n` seconds after the beginning and good for a minute.
fn challenge(n: u8) -> NewChallenge {
    NewChallenge {
        id: challenge_id(n),
        account: account_id(1),
        session: session_id(1),
        purpose: SIGN_IN,
        kind: EMAIL,
        method: None,
        kept: Some(vec![n; 77]),
        approval: None,
        tries: 0,
        sends: u32::from(n),
        created_at: after(u64::from(n)),
        expires_at: after(u64::from(n) + 60),
    }
}

fn kept(new: NewChallenge, tries: u32) -> Challenge {
    Challenge { new, tries, consumed_at: None, replaced_at: None }
}

pub async fn of_any_number_added_at_once_no_more_than_that_are(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    let done = race(stores, |store, n| async move {
        let mut unit = store.begin().await.unwrap();
        assert!(unit.accounts().hold(account_id(1), AuthVersion::FIRST).await.unwrap());
        let done = unit.methods().insert(&method(n + 1, 1), 5).await.unwrap();
        unit.commit().await.unwrap();
        done
    });
    let added = done.await.into_iter().filter(|done| *done == Kept::Done).count();
    assert_eq!(
        (added, stores[1].reader().await.unwrap().methods().of_account(account_id(1)).await.unwrap().len()),
        (5, 5)
    );
}

pub async fn only_an_unconfirmed_method_is_removed_as_one(store: &dyn Store) {
    add_account(store).await;
    add(store, &confirmed(1, 1)).await;
    add(store, &method(2, 1)).await;
    for (account, n, removed) in [(1, 1, false), (2, 2, false), (1, 2, true), (1, 2, false)] {
        let mut unit = store.begin().await.unwrap();
        let done = unit.methods().remove_unconfirmed(account_id(account), method_id(n)).await.unwrap();
        unit.commit().await.unwrap();
        assert_eq!(done, removed, "{account} {n}");
    }
    assert_eq!(store.reader().await.unwrap().methods().of_account(account_id(1)).await.unwrap().len(), 1);
}

async fn issue(store: &dyn Store, challenge: &NewChallenge) {
    let mut unit = store.begin().await.unwrap();
    unit.challenges().issue(challenge).await.unwrap();
    unit.commit().await.unwrap();
}

async fn open_of(store: &dyn Store, like: &NewChallenge) -> Option<Challenge> {
    let mut unit = store.begin().await.unwrap();
    unit.challenges().open(like.session, like.purpose, like.kind, like.method).await.unwrap()
}

async fn open_ids(store: &dyn Store, purpose: ChallengePurpose) -> Vec<ChallengeId> {
    let found = store.reader().await.unwrap().challenges().all_open(session_id(1), purpose).await.unwrap();
    let mut ids: Vec<_> = found.into_iter().map(|(challenge, _)| challenge.new.id).collect();
    ids.sort_unstable();
    ids
}

async fn count_try(store: &dyn Store, n: u8, most: u32, now: Timestamp) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.challenges().count_try(challenge_id(n), most, now).await.unwrap();
    unit.commit().await.unwrap();
    done
}

async fn answer(store: &dyn Store, n: u8) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.challenges().consume(challenge_id(n), None, after(30)).await.unwrap();
    unit.commit().await.unwrap();
    done
}

pub async fn a_challenge_comes_back_as_it_was_issued(store: &dyn Store) {
    add_session(store).await;
    let mut bare = challenge(1);
    (bare.purpose, bare.kind, bare.kept) = (ChallengePurpose::Reauthenticate, ProofMethod::Totp, None);
    let mut enrolling = challenge(2);
    (enrolling.purpose, enrolling.kind) = (ChallengePurpose::Enrol, ProofMethod::WhatsappOtp);
    enrolling.method = Some(method_id(7));
    // The most that a factor may keep, sealed.
    enrolling.kept = Some(vec![2; 4096 + 45]);
    for new in [challenge(3), bare, enrolling] {
        issue(store, &new).await;
        let expected = kept(new.clone(), 0);
        assert_eq!(open_of(store, &new).await.as_ref(), Some(&expected));
        let listed =
            store.reader().await.unwrap().challenges().all_open(new.session, new.purpose).await.unwrap();
        assert_eq!(listed, [(expected, None)]);
    }
}

pub async fn a_challenge_belongs_to_one_session_purpose_and_kind(store: &dyn Store) {
    add_session(store).await;
    issue(store, &challenge(1)).await;
    let others = [
        NewChallenge { session: session_id(2), ..challenge(1) },
        NewChallenge { purpose: ChallengePurpose::Enrol, ..challenge(1) },
        NewChallenge { kind: ProofMethod::SmsOtp, ..challenge(1) },
        NewChallenge { method: Some(method_id(1)), ..challenge(1) },
    ];
    for other in others {
        assert_eq!(open_of(store, &other).await, None, "{other:?}");
    }
    assert_eq!(open_ids(store, ChallengePurpose::Enrol).await, []);
    assert_eq!(
        store.reader().await.unwrap().challenges().all_open(session_id(2), SIGN_IN).await.unwrap(),
        []
    );
}

pub async fn a_challenge_takes_the_place_of_those_before_it(store: &dyn Store) {
    add_session(store).await;
    issue(store, &challenge(1)).await;
    issue(store, &NewChallenge { kind: ProofMethod::SmsOtp, ..challenge(2) }).await;
    issue(store, &NewChallenge { purpose: ChallengePurpose::Reauthenticate, ..challenge(3) }).await;
    issue(store, &NewChallenge { session: session_id(2), ..challenge(4) }).await;
    issue(store, &challenge(5)).await;
    assert_eq!(open_ids(store, SIGN_IN).await, [2, 5].map(challenge_id));
    assert_eq!(open_ids(store, ChallengePurpose::Reauthenticate).await, [challenge_id(3)]);
    let other = NewChallenge { session: session_id(2), ..challenge(4) };
    assert_eq!(open_of(store, &other).await.map(|open| open.new.id), Some(challenge_id(4)));
    assert_eq!(open_of(store, &challenge(1)).await, Some(kept(challenge(5), 0)));
    assert!(!count_try(store, 1, 5, after(5)).await, "a replaced one is worth nothing");
    assert!(!answer(store, 1).await);
}

pub async fn a_challenge_of_a_method_replaces_those_of_that_method(store: &dyn Store) {
    add_session(store).await;
    let enrol = |n, of: Option<u8>| NewChallenge {
        purpose: ChallengePurpose::Enrol,
        method: of.map(method_id),
        ..challenge(n)
    };
    for (n, method) in [(1, 1), (2, 2), (3, 1)] {
        issue(store, &enrol(n, Some(method))).await;
    }
    assert_eq!(open_ids(store, ChallengePurpose::Enrol).await, [2, 3].map(challenge_id));
    for (method, id) in [(1, 3), (2, 2)] {
        let open = open_of(store, &enrol(0, Some(method))).await.unwrap();
        assert_eq!(open.new.id, challenge_id(id));
    }
    issue(store, &enrol(4, None)).await;
    assert_eq!(open_ids(store, ChallengePurpose::Enrol).await, [challenge_id(4)], "one that names none");
}

pub async fn an_open_challenge_is_found_whatever_its_age_and_tries(store: &dyn Store) {
    add_session(store).await;
    issue(store, &NewChallenge { expires_at: LONG_AGO, ..challenge(1) }).await;
    assert!(open_of(store, &challenge(1)).await.is_some());
    assert_eq!(open_ids(store, SIGN_IN).await, [challenge_id(1)]);
    issue(store, &challenge(2)).await;
    for _ in 0..3 {
        assert!(count_try(store, 2, 3, after(2)).await);
    }
    assert_eq!(open_of(store, &challenge(2)).await, Some(kept(challenge(2), 3)));
    assert!(answer(store, 2).await);
    assert_eq!(open_of(store, &challenge(2)).await, None);
    assert_eq!(open_ids(store, SIGN_IN).await, []);
}

pub async fn a_try_is_counted_while_the_challenge_is_good(store: &dyn Store) {
    add_session(store).await;
    assert!(!count_try(store, 1, 5, NOW).await, "no such challenge");
    issue(store, &challenge(1)).await;
    assert!(!count_try(store, 1, 0, after(2)).await);
    assert!(!count_try(store, 1, 2, after(61)).await, "expired");
    assert!(count_try(store, 1, 2, after(60)).await);
    assert!(count_try(store, 1, 2, after(2)).await);
    assert!(!count_try(store, 1, 2, after(2)).await, "as often as may be");
    assert_eq!(open_of(store, &challenge(1)).await.unwrap().tries, 2);
    assert!(count_try(store, 1, 3, after(2)).await);
    issue(store, &NewChallenge { kind: ProofMethod::SmsOtp, ..challenge(2) }).await;
    assert!(answer(store, 2).await);
    assert!(!count_try(store, 2, 5, after(3)).await, "answered");
}

pub async fn a_challenge_is_answered_once(store: &dyn Store) {
    add_session(store).await;
    assert!(!answer(store, 1).await, "no such challenge");
    issue(store, &challenge(1)).await;
    assert!(answer(store, 1).await);
    assert!(!answer(store, 1).await, "twice");
    // What was answered stays so, though another one is issued.
    issue(store, &challenge(2)).await;
    assert!(!answer(store, 1).await);
    assert!(answer(store, 2).await);
}

pub async fn a_challenge_that_is_over_keeps_nothing(store: &dyn Store) {
    add_session(store).await;
    let kept = async || -> Vec<bool> {
        let mut reader = store.reader().await.unwrap();
        let rows = reader.sealed_values().rows(SealedColumn::ChallengeKept, None, 9).await.unwrap();
        rows.into_iter().rev().map(|row| row.sealed.is_some()).collect()
    };
    for n in [1, 2] {
        issue(store, &challenge(n)).await;
    }
    assert_eq!(kept().await, [false, true], "replaced");
    assert!(answer(store, 2).await);
    assert_eq!(kept().await, [false, false], "answered");
}

pub async fn a_challenge_of_a_method_that_is_not_known_is_left_out(store: &dyn Store) {
    add_session(store).await;
    // Of this one nobody is asked, as of one of a newer program.
    let newer = NewChallenge { kind: ProofMethod::TrustedBrowser, ..challenge(1) };
    issue(store, &newer).await;
    assert_eq!(open_ids(store, SIGN_IN).await, []);
    assert_eq!(open_of(store, &newer).await, None);
    issue(store, &challenge(2)).await;
    assert_eq!(open_ids(store, SIGN_IN).await, [challenge_id(2)]);
}

pub async fn an_answer_that_is_not_kept_is_not_there(store: &dyn Store) {
    add_session(store).await;
    issue(store, &challenge(1)).await;
    let mut unit = store.begin().await.unwrap();
    assert!(unit.challenges().consume(challenge_id(1), None, after(2)).await.unwrap());
    unit.challenges().issue(&challenge(2)).await.unwrap();
    drop(unit);
    assert_eq!(open_ids(store, SIGN_IN).await, [challenge_id(1)]);
    assert!(answer(store, 1).await);
}

/// The place in a limit that challenge 1 has taken.
const PLACE: TakenPlace = TakenPlace { key: LimitKey::from_bytes([7; 32]), since: LONG_AGO };

async fn take_place(store: &dyn Store, n: u8) -> Option<TakenPlace> {
    retried(|| async {
        let mut unit = store.begin().await?;
        let place = unit.challenges().take_place(challenge_id(n)).await?;
        unit.commit().await?;
        Ok(place)
    })
    .await
}

async fn note_place(store: &dyn Store) {
    let mut unit = store.begin().await.unwrap();
    unit.challenges().note_place(challenge_id(1), &PLACE).await.unwrap();
    unit.commit().await.unwrap();
}

pub async fn the_place_of_a_challenge_is_taken_away_once_it_was_answered(store: &dyn Store) {
    add_session(store).await;
    issue(store, &challenge(1)).await;
    note_place(store).await;
    assert_eq!(take_place(store, 1).await, None, "not answered");
    assert!(answer(store, 1).await);
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.challenges().take_place(challenge_id(1)).await.unwrap(), Some(PLACE));
    drop(unit);
    assert_eq!(take_place(store, 1).await, Some(PLACE), "what was not kept is not taken");
    assert_eq!(take_place(store, 1).await, None, "twice");
    issue(store, &challenge(2)).await;
    assert!(answer(store, 2).await);
    assert_eq!(take_place(store, 2).await, None, "it took none");
    assert_eq!(take_place(store, 3).await, None, "no such challenge");
}

pub async fn of_any_number_at_once_one_takes_a_place_away(stores: &Handles) {
    add_session(stores[0].as_ref()).await;
    issue(stores[0].as_ref(), &challenge(1)).await;
    note_place(stores[0].as_ref()).await;
    assert!(answer(stores[0].as_ref(), 1).await);
    let taken = race(stores, |store, _| async move { take_place(store.as_ref(), 1).await }).await;
    assert_eq!(taken.into_iter().flatten().collect::<Vec<_>>(), [PLACE]);
}

pub async fn open_challenges_tell_how_far_their_message_has_come(store: &dyn Store) {
    add_session(store).await;
    issue(store, &challenge(1)).await;
    issue(store, &NewChallenge { kind: ProofMethod::SmsOtp, ..challenge(2) }).await;
    let far = async || {
        let mut found =
            store.reader().await.unwrap().challenges().all_open(session_id(1), SIGN_IN).await.unwrap();
        found.sort_unstable_by_key(|(challenge, _)| challenge.new.id);
        found.into_iter().map(|(_, delivery)| delivery).collect::<Vec<_>>()
    };
    assert_eq!(far().await, [None, None]);
    for (n, challenge) in [(1, Some(challenge_id(1))), (2, None), (3, Some(challenge_id(9)))] {
        let message = NewMessage {
            id: MessageId::from_bytes([n; 16]),
            account: account_id(1),
            challenge,
            channel: Channel::Email,
            sealed: vec![1],
            created_at: NOW,
            expires_at: after(60),
        };
        let mut unit = store.begin().await.unwrap();
        unit.outbox().put(&message).await.unwrap();
        unit.commit().await.unwrap();
    }
    assert_eq!(far().await, [Some(Delivery::Waiting), None]);
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.outbox().claim(NOW, LONG_AGO, 9).await.unwrap().len(), 3);
    unit.commit().await.unwrap();
    assert_eq!(far().await, [Some(Delivery::Claimed), None]);
    let mut unit = store.begin().await.unwrap();
    let over = Settled::Over(Delivery::Refused);
    assert!(unit.outbox().settle(MessageId::from_bytes([1; 16]), 1, over, NOW).await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(far().await, [Some(Delivery::Refused), None]);
}

pub async fn purge_removes_expired_challenges(store: &dyn Store) {
    add_session(store).await;
    for n in 1..=4 {
        issue(store, &NewChallenge { session: session_id(n), ..challenge(n) }).await;
    }
    assert!(answer(store, 2).await);
    let mut done = Vec::new();
    for (before, most) in [(61, 9), (64, 1), (64, 9), (64, 9)] {
        let mut unit = store.begin().await.unwrap();
        done.push(unit.challenges().purge(after(before), most).await.unwrap());
        unit.commit().await.unwrap();
    }
    assert_eq!(done, [0, 1, 2, 0]);
    assert!(answer(store, 4).await, "one that has not expired stays");
}

pub async fn of_any_number_at_once_no_more_may_try(stores: &Handles) {
    add_session(stores[0].as_ref()).await;
    issue(stores[0].as_ref(), &challenge(1)).await;
    let done = race(stores, |store, _| async move { count_try(store.as_ref(), 1, 5, after(2)).await }).await;
    assert_eq!(done.into_iter().filter(|done| *done).count(), 5);
    assert_eq!(open_of(stores[1].as_ref(), &challenge(1)).await.unwrap().tries, 5);
}

pub async fn of_equal_lookups_confirmed_at_once_one_is_kept(stores: &Handles) {
    for n in 0..TASKS {
        assert_eq!(insert_account(stores[0].as_ref(), &account(n)).await, Inserted::Done);
        add(stores[0].as_ref(), &method(n, n)).await;
    }
    let done = race(stores, |store, n| async move {
        let confirmation = Confirmation { lookup: Some(b"same"), ..Confirmation::default() };
        confirm_with(store.as_ref(), n, n, &confirmation, LONG_AGO).await
    })
    .await;
    assert_eq!(done.into_iter().filter(|done| *done == Confirmed::Done).count(), 1);
}

pub async fn of_those_who_rewrite_a_secret_at_once_one_does(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    add(stores[0].as_ref(), &confirmed(1, 1)).await;
    let done =
        race(stores, |store, n| async move { rewrite(store.as_ref(), 1, 1, &[1; 60], &[n + 100; 60]).await });
    assert_eq!(done.await.into_iter().filter(|done| *done).count(), 1);
}

pub async fn of_any_number_at_once_one_answers(stores: &Handles) {
    add_session(stores[0].as_ref()).await;
    issue(stores[0].as_ref(), &challenge(1)).await;
    let done = race(stores, |store, _| async move { answer(store.as_ref(), 1).await }).await;
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
}

/// Each reads how many were sent and sends one more, as whoever issues a challenge does.
pub async fn who_holds_the_session_issues_alone(stores: &Handles) {
    add_session(stores[0].as_ref()).await;
    race(stores, |store, n| async move {
        retried(|| async {
            let mut unit = store.begin().await?;
            assert!(unit.sessions().hold(session_id(1), &token(1)).await?.is_some());
            let open = unit.challenges().open(session_id(1), SIGN_IN, EMAIL, None).await?;
            let sends = open.map_or(0, |open| open.new.sends) + 1;
            unit.challenges().issue(&NewChallenge { sends, ..challenge(n) }).await?;
            unit.commit().await
        })
        .await;
    })
    .await;
    let open = stores[1].reader().await.unwrap().challenges().all_open(session_id(1), SIGN_IN).await.unwrap();
    assert_eq!(open.iter().map(|(open, _)| open.new.sends).collect::<Vec<_>>(), [u32::from(TASKS)]);
}
