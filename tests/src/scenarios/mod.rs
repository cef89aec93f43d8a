//! One function per promise.

mod account;
mod bounds;
mod costs;
mod factors;
mod guards;
mod known_devices;
mod limits;
mod login;
mod long_sessions;
mod pages;
mod passwords;
mod pasted;
mod processes;
mod races;
mod repeats;
mod requests;
mod restored;
mod sessions;
mod step_up;
mod trouble;
mod trusted_devices;

pub use account::*;
pub use bounds::*;
pub use costs::*;
pub use factors::*;
pub use guards::*;
pub use known_devices::*;
pub use limits::*;
pub use login::*;
pub use long_sessions::*;
pub use pages::*;
pub use passwords::*;
pub use pasted::*;
pub use processes::*;
pub use races::*;
pub use repeats::*;
pub use requests::*;
pub use restored::*;
pub use sessions::*;
pub use step_up::*;
pub use trouble::*;
pub use trusted_devices::*;

/// Calls a macro with the name of every scenario: the table.
#[macro_export]
macro_rules! every_scenario {
    ($run:ident, $($context:tt)*) => {
        $run! { $($context)*;
            // login
            a_page_visit_signs_in_and_comes_back
            json_signs_in_and_out
            every_failure_looks_the_same
            passwords_are_taken_whole_and_in_one_form
            an_old_hash_is_renewed
            a_damaged_hash_is_a_wrong_password
            a_bcrypt_hash_signs_in_and_is_renewed_when_nothing_is_lost
            a_pepper_comes_and_changes_without_a_reset
            a_guessable_password_is_refused_and_nothing_changes
            breached_passwords_are_asked_for_by_prefix_only
            an_account_disabled_while_its_password_is_checked_gets_nothing
            a_password_changed_while_the_old_one_is_checked_wins
            a_verified_address_signs_in_and_an_unverified_one_does_not
            the_next_page_is_always_ours
            nobody_is_led_on_to_where_people_sign_in_or_out
            // sessions
            signing_out_kills_the_cookie
            signing_in_again_replaces_the_session
            a_chosen_session_is_never_adopted
            idle_and_absolute_limits_end_sessions
            background_requests_keep_nobody_signed_in
            changes_count_from_the_next_request_on
            a_pending_session_opens_nothing
            everything_survives_a_restart
            upkeep_ends_forgets_and_removes_in_time
            a_guarded_request_costs_one_read
            // long sessions
            a_mobile_application_stays_signed_in_for_those_that_are_named
            without_a_policy_nobody_stays_signed_in
            a_ticked_box_keeps_people_signed_in
            a_ticked_box_counts_for_who_is_signed_in_already
            a_box_that_is_ticked_later_gives_what_the_policy_gives
            a_box_that_is_ticked_later_asks_for_the_second_factor_too
            a_lost_role_and_a_role_of_ours_end_the_privilege
            beyond_the_ordinary_limits_everything_is_asked_for_again
            a_token_is_replaced_once_a_day
            a_cookie_is_replaced_once_a_day_and_open_forms_go_on
            of_requests_at_once_one_brings_the_next_token
            a_copy_of_a_token_ends_the_session
            upkeep_leaves_long_sessions_their_time
            // the own account
            people_see_and_end_their_own_sessions
            what_ends_sessions_asks_for_a_fresh_proof
            people_change_their_own_password
            of_two_changes_of_a_password_one_counts
            the_oldest_of_too_many_sessions_end
            of_too_many_sessions_the_one_unused_for_longest_ends
            the_session_that_is_in_use_is_not_the_one_unused_for_longest
            the_first_administrator_comes_by_a_link
            native_clients_live_by_bearer_tokens
            a_sign_in_for_a_token_is_limited_alike
            // passwords
            every_place_that_takes_a_password_is_known
            every_place_that_takes_a_password_slows_down_alike
            a_stolen_session_slows_itself_down_and_ends
            parallel_guesses_in_a_session_are_counted_exactly
            wrong_passwords_in_sessions_count_for_their_network
            a_right_password_after_many_wrong_ones_is_told
            // known devices
            a_change_of_ones_own_keeps_the_device_known
            programs_are_known_by_a_note_of_their_own
            a_note_ends_with_a_change_made_elsewhere
            // requests that come twice
            an_answer_that_was_lost_is_given_again
            of_equal_requests_at_once_one_is_carried_out
            a_second_click_waits_for_the_first
            of_two_requests_at_once_one_wins_with_its_equals
            what_finds_no_room_is_an_ordinary_request
            an_answer_is_one_of_several
            a_form_of_before_a_daily_replacement_may_come_twice
            a_second_click_with_the_new_cookie_says_what_is_so
            what_is_not_the_same_request_is_nobodys
            a_stolen_token_of_old_is_worth_nothing
            what_failed_is_no_repeat
            only_the_first_use_of_a_new_token_is_written
            // second factors
            an_app_is_added_and_asked_for
            pages_ask_for_the_second_step
            native_clients_verify_by_bearer_tokens
            a_code_of_an_app_works_once
            of_many_right_codes_at_once_one_signs_in
            of_many_wrong_codes_at_once_five_are_looked_at
            endless_sign_ins_give_no_endless_tries
            failures_in_a_row_end_with_a_right_code_of_the_kind
            codes_come_by_mail
            codes_are_sent_so_often_and_no_more
            a_code_is_good_where_it_was_asked_for
            recovery_codes_work_once
            factors_are_changed_with_a_fresh_proof
            a_weaker_proof_changes_no_stronger_factor
            what_a_factor_proved_goes_with_it
            a_step_up_tells_of_the_session_and_changes_no_factor
            a_second_factor_is_due_for_ten_minutes
            secrets_of_factors_are_bound_to_their_rows
            mail_that_fails_delays_nobody
            codes_are_sent_again_when_nobody_has_them
            a_mail_server_that_hangs_holds_nobody_up
            what_is_late_or_replaced_is_not_sent
            messages_that_nobody_sends_are_seen
            changes_are_told_to_their_owner
            // step-up
            a_purpose_asks_for_a_proof_of_its_own
            native_clients_step_up_by_bearer_tokens
            a_page_is_sent_to_prove_and_comes_back
            a_stopped_form_goes_on_once
            what_can_not_be_kept_says_so
            without_a_factor_one_is_to_be_set_up
            a_proof_is_bound_to_what_is_approved
            of_many_requests_on_one_proof_one_passes
            questions_have_a_limit
            every_proof_opens_what_it_was_made_for
            no_shortcut_opens_a_purpose
            a_proof_belongs_to_session_account_parent_and_version
            a_failing_store_opens_no_purpose
            // requirements of a second factor
            a_required_factor_is_due_after_the_grace
            a_stolen_password_sets_up_no_first_factor
            an_invitation_leads_to_the_first_factor
            // trusted browsers
            no_browser_is_trusted_unless_that_is_allowed
            a_trusted_browser_is_not_asked_again
            a_browser_is_trusted_for_its_account_alone
            trust_ends_with_every_change
            a_trusted_browser_proves_nothing
            only_a_factor_on_a_browser_makes_it_trusted
            a_trusted_browser_satisfies_a_requirement
            people_forget_their_trusted_browsers
            // guards
            roles_are_asked_for
            somebody_elses_document_looks_like_a_missing_one
            refusals_say_what_was_asked_for
            forged_requests_are_refused
            forms_of_ours_need_their_token
            signing_out_asks_where_it_comes_from
            an_upgrade_is_unsafe_whatever_its_method
            path_tricks_open_nothing
            // limits
            guessing_an_account_is_slowed_down
            names_without_an_account_are_slowed_down_alike
            parallel_guesses_are_counted_exactly
            a_network_that_fails_too_often_has_to_wait
            a_hundred_people_behind_one_address_get_in
            the_owner_gets_in_while_a_stranger_guesses
            devices_of_an_account_share_a_budget
            two_names_of_an_account_share_a_limit_which_shows
            a_success_does_not_put_off_forgetting
            a_success_gives_back_its_own_try_only
            a_sign_in_after_failures_is_told_apart_whatever_completes_it
            repeated_refusals_share_a_row
            a_flood_of_refusals_costs_few_writes
            refusals_are_not_lost_while_nothing_can_be_written
            // bounds
            made_up_names_leave_few_rows
            good_sign_ins_of_one_account_leave_so_many_rows
            changes_of_an_own_account_leave_so_many_rows
            many_people_behind_one_address_sign_in_by_mail
            a_dearer_hash_is_lowered_and_not_back_and_forth
            // requests
            json_is_strict_and_names_the_field
            bodies_are_bounded
            what_is_approved_is_what_is_paid
            encoded_bodies_are_refused_by_name
            the_token_of_a_form_in_chunks_counts
            broken_credentials_are_nobody
            methods_are_answered_exactly
            family_pages_have_their_headers_and_host_pages_their_own
            // what people type and paste
            a_pasted_code_is_the_code
            what_can_not_be_a_code_is_no_try
            a_pasted_name_signs_in
            // pages of ours
            signing_out_clears_the_pages_and_nothing_else
            a_second_tab_is_led_on
            what_a_page_does_not_know_in_its_address_is_ignored
            a_next_page_in_any_script_is_found
            a_session_cookie_that_comes_twice_is_told
            signing_out_with_two_session_cookies_ends_both
            an_old_page_signs_out
            nobody_is_led_on_with_a_session_that_has_ended
            two_session_cookies_are_signed_out_by_our_own_pages_alone
            what_scripts_ask_for_gets_no_login_page
            password_managers_find_where_to_change_it
            // restored backups
            a_restored_backup_revives_nothing
            // processes
            changes_count_in_every_process_at_once
            limits_hold_over_all_processes
            thirty_sign_ins_over_all_processes_leave_ten_sessions
            // races
            a_slow_note_of_use_brings_no_session_back
            a_slow_renewal_brings_no_session_back
            a_slow_change_of_password_brings_no_session_back
            a_renewal_beside_a_sign_in_leaves_no_session_behind
            // trouble
            a_failing_store_is_nobodys_denial
            what_can_not_be_audited_does_not_happen
            units_that_lose_are_tried_again
            too_many_passwords_at_once_are_refused_in_time
            no_unit_of_work_is_open_while_hashing
            who_hangs_up_is_counted_all_the_same
        }
    };
}
