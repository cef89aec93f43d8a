//! The SQLite store does what the ports ask of every store.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may stop at once")]

mod conformance;

use std::sync::Arc;

use conformance::Handles;
use iam_store_sqlite::SqliteStore;
use tempfile::TempDir;

/// One migrated store that nobody else sees.
async fn alone() -> SqliteStore {
    let store = SqliteStore::open_in_memory().await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// One file, opened twice.
async fn twice() -> (Handles, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("iam.db");
    let one = SqliteStore::open(&file).await.unwrap();
    one.migrate().await.unwrap();
    let two = SqliteStore::open(&file).await.unwrap();
    ([Arc::new(one), Arc::new(two)], directory)
}

macro_rules! duties {
    ($($port:ident::$duty:ident)*) => {$(
        #[tokio::test]
        async fn $duty() {
            conformance::$port::$duty(&alone().await).await;
        }
    )*};
}

macro_rules! races {
    ($($port:ident::$duty:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $duty() {
            let (stores, _directory) = twice().await;
            conformance::$port::$duty(&stores).await;
        }
    )*};
}

mod units {
    use super::*;

    duties! {
        units::a_migrated_store_is_ready
        units::commit_keeps_what_was_written
        units::dropping_a_unit_undoes_all_of_it
        units::a_read_beside_an_open_unit_neither_waits_nor_sees_it
        units::absent_is_not_an_error
        units::ids_hashes_and_names_compare_byte_by_byte
    }
    races! {
        units::cancelling_a_unit_at_any_point_undoes_all_of_it
        units::a_unit_that_reads_first_can_write_then
    }
}

mod accounts {
    use super::*;

    duties! {
        accounts::an_account_comes_back_as_it_was_added
        accounts::insert_gives_taken_for_a_username_address_or_external_id
        accounts::after_taken_the_unit_can_go_on
        accounts::an_address_is_unique_and_signs_in_only_once_verified
        accounts::a_login_candidate_has_what_a_sign_in_needs
        accounts::set_status_asks_for_the_old_one_and_raises_the_version
        accounts::set_password_raises_the_version
        accounts::rehash_asks_for_version_hash_and_an_active_account
    }
    races! {
        accounts::of_equal_accounts_added_at_once_one_is_inserted
        accounts::a_status_changes_once
    }
}

mod parents {
    use super::*;

    duties! {
        parents::a_parent_comes_back_as_it_was_added
        parents::insert_gives_taken_for_a_key
        parents::set_status_asks_for_the_old_one
    }
    races! {
        parents::of_equal_parents_added_at_once_one_is_inserted
    }
}

mod roles {
    use super::*;

    duties! {
        roles::a_role_comes_back_as_it_was_added
        roles::insert_gives_taken_for_a_name
        roles::granting_again_replaces_and_the_same_again_is_told_apart
        roles::revoke_says_whether_it_was_held
        roles::is_held_by_anyone_at_all
    }
    races! {
        roles::of_equal_grants_at_once_one_is_told_so
    }
}

mod sessions {
    use super::*;

    duties! {
        sessions::a_session_is_found_with_all_that_decides
        sessions::a_session_shows_what_changed_since
        sessions::a_session_that_has_ended_is_found
        sessions::insert_asks_for_an_active_account
        sessions::insert_asks_for_the_version
        sessions::insert_asks_for_no_suspended_parent
        sessions::a_second_session_with_the_same_token_is_an_error
        sessions::replacing_a_token_kills_the_old_one
        sessions::an_ended_session_gets_no_new_token
        sessions::a_session_ends_once
        sessions::every_reason_to_end_comes_back
        sessions::end_all_says_how_many_had_not_ended
        sessions::touch_notes_use_unless_it_was_noted_since
        sessions::touch_never_brings_an_ended_session_back
    }
    races! {
        sessions::at_most_one_caller_ends_a_session
        sessions::at_most_one_caller_replaces_a_token
        sessions::a_sign_out_and_a_new_token_at_once_leave_nothing_alive
    }
}

mod limits {
    use super::*;

    duties! {
        limits::the_free_tries_are_granted_at_one_instant_and_no_more
        limits::a_refusal_changes_nothing
        limits::the_delays_are_those_of_the_throttle
        limits::the_longest_durations_are_no_error
        limits::quiet_after_the_last_block_forgets_all
        limits::quiet_after_the_last_try_forgets_all
        limits::a_counting_that_begins_anew_has_another_since
        limits::a_clock_that_is_set_back_repeats_no_since
        limits::a_free_try_does_not_block_who_asked_the_clock_earlier
        limits::give_back_lowers_the_count_by_one_and_never_below_zero
        limits::give_back_ends_the_block_below_the_free_tries
        limits::give_back_ends_the_block_of_the_last_try
        limits::give_back_leaves_the_block_of_a_later_try
        limits::a_block_given_back_counts_no_longer_for_forgetting
        limits::give_back_of_an_old_counting_changes_nothing
        limits::a_window_begins_with_its_first_and_is_over_after_its_length
        limits::a_window_gets_its_slots_back
        limits::a_slot_of_an_old_window_changes_nothing
        limits::a_window_counts_whatever_its_limit
        limits::a_window_without_slots_is_always_full
        limits::purge_removes_only_what_has_nothing_left_to_remember
    }
    races! {
        limits::of_any_number_at_once_a_throttle_grants_its_free_tries
        limits::of_any_number_at_once_a_window_grants_its_limit
        limits::no_count_is_ever_lost
        limits::what_is_given_back_at_once_is_all_given_back
    }
}

mod keys {
    use super::*;

    duties! {
        keys::a_canary_that_is_there_stays
    }
    races! {
        keys::of_canaries_put_at_once_one_stays
    }
}
