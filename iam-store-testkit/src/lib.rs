//! The conformance suite that every store of the IAM family must pass, and a store with faults for tests of what stands on one.
//!
//! There is a test for each duty that the ports of [`iam_core::ports`] name, as a function over any [`Store`]. A store's crate
//! runs all of them with one macro:
//!
//! ```
//! use std::sync::Arc;
//! use iam_store_testkit::Handles;
//! # use iam_store_sqlite::SqliteStore;
//!
//! /// A migrated, empty store that nobody else sees; and whatever must live as long. `None` skips the test.
//! async fn alone() -> Option<(SqliteStore, ())> {
//!     let store = SqliteStore::open_in_memory().await.unwrap();
//!     store.migrate().await.unwrap();
//!     Some((store, ()))
//! }
//!
//! /// The same, opened twice, as two processes would.
//! async fn twice() -> Option<(Handles, ())> {
//!     // ...
//! #   let (store, ()) = alone().await?;
//! #   Some(([Arc::new(store.clone()), Arc::new(store)], ()))
//! }
//!
//! iam_store_testkit::conformance!(alone, twice);
//! # fn main() {}
//! ```
//!
//! The crate that does so needs `tokio` with `macros` and `rt-multi-thread`.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may stop at once")]
#![cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "every port's tests use the same helpers"))]
#![expect(
    clippy::missing_panics_doc,
    missing_docs,
    reason = "the functions are tests, and their names say what they prove"
)]

pub mod accounts;
pub mod audit;
pub mod factors;
pub mod faults;
pub mod interrupted;
pub mod keys;
pub mod limits;
pub mod outbox;
pub mod parents;
pub mod repeatable;
pub mod roles;
pub mod sealed;
pub mod seen_time;
pub mod sessions;
pub mod step_up;
pub mod step_up_proofs;
pub mod tickets;
pub mod trusted_devices;
pub mod units;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use iam_core::ports::{
    AuthVersion, Changed, Inserted, Kept, NewSession, Proof, ProofMethod, Proofs, SessionRecord,
    SessionState, Store, TokenHash,
};
use iam_core::{
    Account, AccountId, AccountStatus, Client, Parent, ParentId, ParentKey, PasswordHash, Role, RoleId,
    RoleName, SessionId, StoreError, StoreErrorKind, TOLERATED_LEAD, Timestamp, UniqueKey, Username,
};
use tokio::task::JoinSet;

/// The same store, opened twice.
pub type Handles = [Arc<dyn Store>; 2];

/// The least difference of two times.
pub(crate) const MICROSECOND: Duration = Duration::from_micros(1);

/// How many tasks race.
pub const TASKS: u8 = 64;

pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

pub(crate) fn after(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

/// Runs a task many times at once, on both handles in turn, and collects what came of it.
pub async fn race<T, F>(stores: &Handles, task: impl Fn(Arc<dyn Store>, u8) -> F) -> Vec<T>
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

/// Does a unit again when it lost against another one, as the ports say: more often than they do, since so many race here.
pub(crate) async fn retried<T, F: Future<Output = Result<T, StoreError>>>(unit: impl Fn() -> F) -> T {
    for _ in 0..20 {
        match unit().await {
            Err(error) if error.kind() == StoreErrorKind::Conflict => tokio::task::yield_now().await,
            done => return done.unwrap(),
        }
    }
    panic!("lost twenty times");
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

/// What a session has proved whose owner gave the password.
pub(crate) fn password(at: Timestamp) -> Proofs {
    Proofs::of(Proof::new(ProofMethod::Password, at))
}

/// Session `n` with token `n`, of an account as it is when it is new.
pub(crate) fn session(n: u8, account: u8) -> NewSession {
    NewSession {
        id: session_id(n),
        account: account_id(account),
        auth_version: AuthVersion::FIRST,
        token: token(n),
        state: SessionState::Active,
        proofs: password(NOW),
        tries: 1,
        login_at: NOW,
        long: false,
        client: Client::at([192, 0, 2, n].into()).user_agent(b"test"),
    }
}

pub async fn insert_account(store: &dyn Store, account: &Account) -> Inserted {
    let mut unit = store.begin().await.unwrap();
    let done = unit.accounts().insert(account, Some(&hash("$test$1"))).await.unwrap();
    unit.commit().await.unwrap();
    done
}

/// A store with account 1.
pub async fn add_account(store: &dyn Store) {
    assert_eq!(insert_account(store, &account(1)).await, Inserted::Done);
}

pub async fn add_parent(store: &dyn Store, parent: &Parent) {
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.parents().insert(parent, NOW).await.unwrap(), Inserted::Done);
    unit.commit().await.unwrap();
}

pub async fn add_role(store: &dyn Store, role: &Role) {
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.roles().insert(role, NOW).await.unwrap(), Inserted::Done);
    unit.commit().await.unwrap();
}

pub async fn insert_session(store: &dyn Store, session: &NewSession) -> Changed {
    // Beside others, as in a race, the store may ask for another try.
    retried(|| async {
        let mut unit = store.begin().await?;
        let done = unit.sessions().insert(session).await?;
        unit.commit().await?;
        Ok(done)
    })
    .await
}

/// A store with account 1 and its session 1.
pub async fn add_session(store: &dyn Store) {
    add_account(store).await;
    assert_eq!(insert_session(store, &session(1, 1)).await, Changed::Done);
}

pub async fn find(store: &dyn Store, n: u8) -> Option<SessionRecord> {
    store.session(&token(n)).await.unwrap()
}

pub async fn set_status(store: &dyn Store, from: AccountStatus, to: AccountStatus) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.accounts().set_status(account_id(1), from, to, after(1)).await.unwrap();
    unit.commit().await.unwrap();
    done
}

/// Runs every test of the suite. The first argument is an `async fn() -> Option<(S, G)>` with a migrated, empty store of the
/// test's own; the second an `async fn() -> Option<(Handles, G)>` with one that was opened twice. `G` is whatever must live as
/// long as the store does. `None` skips the test.
#[macro_export]
macro_rules! conformance {
    ($alone:path, $twice:path) => {
        $crate::port! { $alone, $twice, units,
            duties: [
                a_migrated_store_is_ready
                commit_keeps_what_was_written
                dropping_a_unit_undoes_all_of_it
                a_read_beside_an_open_unit_neither_waits_nor_sees_it
                absent_is_not_an_error
                ids_hashes_and_names_compare_byte_by_byte
            ]
            races: [
                a_store_that_was_closed_has_kept_everything
                cancelling_a_unit_at_any_point_undoes_all_of_it
                a_unit_that_reads_first_can_write_then
            ]
        }
        $crate::port! { $alone, $twice, accounts,
            duties: [
                an_account_comes_back_as_it_was_added
                insert_gives_taken_for_a_username_address_or_external_id
                an_external_id_is_set_taken_away_and_found_by
                after_taken_the_unit_can_go_on
                an_address_is_unique_and_signs_in_only_once_verified
                a_login_candidate_has_what_a_sign_in_needs
                set_status_asks_for_the_old_one_and_raises_the_version
                set_password_raises_the_version
                change_password_asks_for_the_version_and_an_active_account
                rehash_asks_for_version_hash_and_an_active_account
                rehash_leaves_a_hash_that_was_changed_since
                the_time_of_a_password_is_that_of_its_last_change
                hold_asks_for_the_version_and_an_active_account
                raise_version_asks_for_the_version_and_an_active_account
                versions_are_raised_account_by_account_whatever_their_status
                an_address_is_set_as_verified_unless_another_account_has_it
            ]
            races: [
                of_equal_accounts_added_at_once_one_is_inserted
                of_equal_external_ids_set_at_once_one_is_kept
                of_those_who_hold_an_account_one_goes_at_a_time
                of_those_who_rehash_at_once_one_does
                of_equal_addresses_verified_at_once_one_is_kept
                a_status_changes_once
            ]
        }
        $crate::port! { $alone, $twice, parents,
            duties: [
                a_parent_comes_back_as_it_was_added
                insert_gives_taken_for_a_key
                set_status_asks_for_the_old_one
            ]
            races: [
                of_equal_parents_added_at_once_one_is_inserted
            ]
        }
        $crate::port! { $alone, $twice, roles,
            duties: [
                a_role_comes_back_as_it_was_added
                insert_gives_taken_for_a_name
                granting_again_replaces_and_the_same_again_is_told_apart
                revoke_says_whether_it_was_held
                each_source_gives_and_takes_its_own
                roles_of_an_account_come_by_name_whatever_their_time
                is_held_by_anyone_at_all
                the_last_holders_are_those_beside_whom_nobody_else_can_go_on
            ]
            races: [
                of_equal_grants_at_once_one_is_told_so
                of_holders_who_give_up_at_once_one_is_left
                of_those_who_find_a_role_unheld_at_once_one_gives_it
            ]
        }
        $crate::port! { $alone, $twice, sessions,
            duties: [
                a_session_is_found_with_all_that_decides
                a_session_shows_what_changed_since
                a_session_that_has_ended_is_found
                insert_asks_for_an_active_account
                insert_asks_for_the_version
                insert_asks_for_no_suspended_parent
                a_second_session_with_the_same_token_is_an_error
                replacing_a_token_kills_the_old_one
                a_renewal_notes_what_was_proved_and_asks_for_the_version
                a_renewal_asks_for_the_state
                a_renewed_token_is_unused_until_its_first_use
                hold_asks_for_the_token_and_a_session_that_has_not_ended
                hold_gives_what_was_proved_and_how_often_it_was_tried
                an_ended_session_gets_no_new_token
                a_session_ends_once
                every_reason_to_end_comes_back
                end_all_says_how_many_had_not_ended
                end_others_keeps_one
                end_longest_unused_beyond_keeps_those_used_last
                of_sessions_the_longest_unused_end_whenever_they_were_made
                end_longest_unused_beyond_counts_one_state_and_never_ends_the_new_one
                sessions_of_an_account_come_newest_first
                sessions_whose_second_factor_is_due_are_not_listed
                touch_notes_use_unless_it_was_noted_since
                touch_never_brings_an_ended_session_back
                sessions_unseen_since_gives_the_longest_unused_ones
                sessions_unseen_since_gives_long_ones_apart
                a_long_session_comes_back_with_its_tokens_and_with_what_lapsed
                lengthen_makes_one_session_a_long_one_whose_token_is_due
                lengthen_asks_for_an_active_session_that_has_not_ended
                a_token_is_replaced_on_its_conditions_alone
                no_token_of_an_ordinary_session_is_replaced
                until_a_new_token_is_used_a_session_has_both
                forget_tokens_leaves_the_rows
                delete_ended_removes_what_ended_before
            ]
            races: [
                of_proofs_at_once_none_is_lost
                of_proofs_that_renew_the_token_one_counts
                at_most_one_caller_ends_a_session
                at_most_one_caller_replaces_a_token
                the_first_use_of_a_renewed_token_is_told_once
                of_those_who_show_a_token_after_a_day_one_replaces_it
                of_those_who_lengthen_a_session_at_once_one_is_told_so
                of_any_number_at_once_the_newest_are_kept
                of_those_that_become_active_at_once_the_newest_are_kept
                one_at_a_time_holds_a_session
                no_session_is_inserted_beside_a_change_of_its_account
                a_sign_out_and_a_new_token_at_once_leave_nothing_alive
            ]
        }
        $crate::port! { $alone, $twice, limits,
            duties: [
                the_free_tries_are_granted_at_one_instant_and_no_more
                a_refusal_changes_nothing
                the_delays_are_those_of_the_throttle
                the_longest_durations_are_no_error
                quiet_after_the_last_block_forgets_all
                quiet_after_the_last_try_forgets_all
                a_counting_that_begins_anew_has_another_since
                a_clock_that_is_set_back_repeats_no_since
                a_free_try_does_not_block_who_asked_the_clock_earlier
                no_block_of_the_future_is_longer_than_its_rule
                a_block_of_a_clock_that_is_ahead_counts
                no_window_of_the_future_is_longer_than_its_rule
                a_window_of_a_clock_that_is_ahead_counts
                give_back_lowers_the_count_by_one_and_never_below_zero
                give_back_ends_the_block_below_the_free_tries
                give_back_ends_the_block_of_the_last_try
                give_back_leaves_the_block_of_a_later_try
                a_try_given_back_leaves_nothing_to_remember
                a_try_given_back_does_not_put_off_forgetting
                a_try_given_back_leaves_the_time_of_the_last_block
                only_the_last_try_takes_its_time_back
                give_back_of_an_old_counting_changes_nothing
                a_window_begins_with_its_first_and_is_over_after_its_length
                a_window_gets_its_slots_back
                a_slot_of_an_old_window_changes_nothing
                a_window_counts_whatever_its_limit
                a_window_without_slots_is_always_full
                forgetting_a_key_begins_anew_with_another_since
                forgetting_a_window_begins_anew_with_another_since
                purge_removes_only_what_has_nothing_left_to_remember
            ]
            races: [
                of_any_number_at_once_a_throttle_grants_its_free_tries
                of_any_number_at_once_a_window_grants_its_limit
                no_count_is_ever_lost
                what_is_given_back_at_once_is_all_given_back
            ]
        }
        $crate::port! { $alone, $twice, tickets,
            duties: [
                a_ticket_comes_back_with_what_it_carries
                a_ticket_is_consumed_once_and_in_time
                a_ticket_is_for_its_purpose_alone
                a_new_ticket_voids_those_before_it
                void_ends_those_of_the_account
                a_ticket_that_is_not_kept_is_not_there
                a_ticket_of_the_future_is_no_good
                purge_removes_expired_tickets
            ]
            races: [
                at_most_one_caller_consumes_a_ticket
            ]
        }
        $crate::port! { $alone, $twice, factors,
            duties: [
                methods_come_back_in_the_order_in_which_they_were_made
                every_kind_of_method_comes_back
                a_method_of_a_kind_that_is_not_known_comes_back_and_counts
                a_confirmation_gives_secret_and_lookup
                a_lookup_is_of_one_method_of_its_kind
                a_secret_is_rewritten_if_it_is_still_what_it_was
                a_method_is_confirmed_once_in_time_and_by_its_owner
                only_a_confirmed_method_makes_a_second_factor_due
                a_step_is_accepted_once_and_none_before_it
                a_use_without_a_step_leaves_the_step
                the_step_that_confirmed_a_method_is_not_accepted_again
                steps_are_moved_on_and_never_back
                a_method_gets_another_name_from_its_owner
                methods_are_removed_one_or_all
                purge_removes_methods_that_were_never_confirmed
                new_recovery_codes_take_the_place_of_all_before_them
                a_recovery_code_is_used_once_and_by_its_owner
                a_challenge_comes_back_as_it_was_issued
                a_challenge_belongs_to_one_session_purpose_and_kind
                only_an_unconfirmed_method_is_removed_as_one
                a_challenge_takes_the_place_of_those_before_it
                a_challenge_of_a_method_replaces_those_of_that_method
                an_open_challenge_is_found_whatever_its_age_and_tries
                a_try_is_counted_while_the_challenge_is_good
                a_challenge_is_answered_once
                a_challenge_that_is_over_keeps_nothing
                a_challenge_of_a_method_that_is_not_known_is_left_out
                an_answer_that_is_not_kept_is_not_there
                the_place_of_a_challenge_is_taken_away_once_it_was_answered
                open_challenges_tell_how_far_their_message_has_come
                purge_removes_expired_challenges
            ]
            races: [
                of_any_number_added_at_once_no_more_than_that_are
                at_most_one_caller_confirms_a_method
                of_any_number_with_one_code_one_is_accepted
                of_any_number_with_one_recovery_code_one_uses_it
                of_lists_of_codes_made_at_once_one_is_left
                of_any_number_at_once_no_more_may_try
                of_any_number_at_once_one_answers
                of_equal_lookups_confirmed_at_once_one_is_kept
                of_those_who_rewrite_a_secret_at_once_one_does
                of_any_number_at_once_one_takes_a_place_away
                who_holds_the_session_issues_alone
            ]
        }
        $crate::port! { $alone, $twice, step_up,
            duties: [
                the_challenge_asked_for_last_is_found
                tries_can_be_carried_over
                purge_unanswered_leaves_what_was_answered
                a_requirement_of_a_role_or_parent_is_set_from_what_it_was
            ]
            races: []
        }
        $crate::port! { $alone, $twice, step_up_proofs,
            duties: [
                a_proof_comes_back_in_its_session_as_it_was_made
                only_proofs_made_since_and_not_used_up_are_found
                the_guards_read_of_a_session_has_each_role_once_whatever_was_proved
                a_proof_is_used_once_and_in_time
                a_proof_is_used_in_its_own_session_while_that_lives
                purge_removes_what_is_too_old_used_or_not
            ]
            races: [
                of_any_number_with_one_proof_one_uses_it
                a_sign_out_beside_a_use_comes_before_or_after
            ]
        }
        $crate::port! { $alone, $twice, interrupted,
            duties: [
                a_request_comes_back_in_its_session_while_it_is_kept
                a_request_is_resumed_once_in_time_and_in_its_session
                a_request_of_the_future_is_not_there
                only_the_newest_of_a_session_are_kept
                purge_removes_what_has_expired
            ]
            races: [
                of_any_number_one_resumes_a_request
            ]
        }
        $crate::port! { $alone, $twice, repeatable,
            duties: [
                a_request_is_claimed_once_until_that_is_stale
                a_few_requests_of_a_session_are_noted_side_by_side
                an_answer_is_kept_for_its_own_claim_and_once
                a_claim_that_is_given_back_can_be_made_again
                a_claim_of_the_future_is_stale
                forget_leaves_nothing_of_a_session
                purge_removes_answers_sooner_than_claims
            ]
            races: [
                of_any_number_one_claims_a_request
                of_any_number_of_different_ones_a_few_are_claimed
            ]
        }
        $crate::port! { $alone, $twice, trusted_devices,
            duties: [
                a_browser_is_trusted_for_its_account_and_version_and_time
                a_browser_of_the_future_is_not_trusted
                only_the_newest_of_an_account_are_trusted
                forget_all_forgets_those_of_the_account
                purge_removes_what_is_over
            ]
            races: [
                of_any_number_trusted_at_once_no_more_than_that_are_left
            ]
        }
        $crate::port! { $alone, $twice, outbox,
            duties: [
                a_message_is_due_at_once_and_taken_as_it_was_put
                a_message_that_was_not_kept_is_not_sent
                what_providers_did_comes_back_in_order_and_by_reference
                what_awaits_a_receipt_is_kept_until_it_comes
                what_awaits_a_receipt_is_over_when_it_expires_and_when_it_is_replaced
                a_receipt_counts_once
                what_was_taken_is_not_taken_again
                no_more_are_taken_than_asked_for_and_the_longest_due_first
                what_failed_waits_for_its_time
                what_nobody_wrote_down_is_taken_again_and_counted
                what_has_expired_is_not_taken
                only_what_came_of_the_latest_attempt_is_written_down
                every_end_of_an_attempt_can_be_written_down
                the_messages_of_a_challenge_are_replaced
                what_has_expired_is_marked_once
                all_that_waits_or_was_taken_is_withdrawn
                purge_removes_what_is_over
                the_oldest_due_message_is_one_that_nobody_has_taken
            ]
            races: [
                each_message_goes_to_one_caller
                at_most_one_caller_writes_down_what_came_of_an_attempt
                what_expires_is_told_to_one_caller
                of_equal_receipts_at_once_one_counts
            ]
        }
        $crate::port! { $alone, $twice, audit,
            duties: [
                a_record_is_kept
                entries_come_newest_first_and_in_pages
                a_record_with_a_known_key_adds_to_its_row
                records_of_a_unit_are_kept_in_their_order
                records_without_a_key_never_share_a_row
                ids_rise_above_all_that_ever_were
                counts_are_taken_once_and_the_oldest_first
                counts_of_a_unit_that_is_dropped_stay
                delete_before_removes_the_oldest_and_leaves_no_hole
            ]
            races: [
                what_many_cause_at_once_is_counted_to_the_last
                what_is_counted_beside_those_who_take_it_is_not_lost
            ]
        }
        $crate::port! { $alone, $twice, keys,
            duties: [
                a_canary_that_is_there_stays
            ]
            races: [
                of_canaries_put_at_once_one_stays
            ]
        }
        $crate::port! { $alone, $twice, seen_time,
            duties: [
                the_database_has_a_clock_in_utc
                the_latest_time_stays
                only_a_time_of_the_future_is_taken_back
                all_sessions_end_whatever_their_accounts
                links_of_the_future_and_those_that_had_expired_are_void
                browsers_of_the_future_and_those_whose_time_was_over_are_forgotten
                what_is_left_of_a_limit_begins_now
                messages_of_the_future_are_due
            ]
            races: [
                of_times_noted_at_once_the_latest_stays
                of_those_who_take_a_time_back_at_once_one_is_told_so
            ]
        }
        $crate::port! { $alone, $twice, sealed,
            duties: [
                sealed_rows_come_newest_first_and_in_pages
                a_row_without_a_value_is_a_row
                replace_asks_for_the_old_value_and_changes_nothing_else
                a_value_that_is_gone_does_not_come_back
                a_replacement_that_was_not_kept_is_not_there
                a_key_is_retired_only_when_nothing_is_sealed_under_it
                a_key_that_was_not_retired_for_good_is_there
                a_retired_key_may_come_back
            ]
            races: [
                at_most_one_caller_replaces_a_value
                of_those_who_reseal_at_once_each_row_has_one_and_opens
                replacing_beside_uses_of_a_method_loses_nothing
                a_message_that_is_over_stays_wiped_whoever_replaces_it
                of_those_who_retire_a_key_at_once_one_is_told_so
            ]
        }
    };
}

/// The tests of one port.
#[doc(hidden)]
#[macro_export]
macro_rules! port {
    ($alone:path, $twice:path, $port:ident, duties: [$($duty:ident)*] races: [$($race:ident)*]) => {
        mod $port {
            use super::*;

            $(
                #[::tokio::test]
                async fn $duty() {
                    if let Some((store, _kept)) = $alone().await {
                        $crate::$port::$duty(&store).await;
                    }
                }
            )*

            $(
                #[::tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $race() {
                    if let Some((stores, _kept)) = $twice().await {
                        $crate::$port::$race(&stores).await;
                    }
                }
            )*
        }
    };
}
