//! The tests of an example application as a process of its own: one list for all of them.

/// The tests of a program, each of which starts it: killed, and pressed hard.
#[macro_export]
macro_rules! program_tests {
    ($program:expr) => {
        $crate::program_tests! { $program,
            killed_in_a_storm_of_sign_ins_on_sqlite: storm::killed_while_people_sign_in, Sqlite;
            killed_in_a_storm_of_sign_ins_on_mysql: storm::killed_while_people_sign_in, MySql;
            killed_while_codes_are_sent_on_sqlite: delivery::killed_while_codes_are_sent, Sqlite;
            two_programs_share_the_messages_on_sqlite: delivery::two_programs_share_the_messages, Sqlite;
            killed_while_codes_are_sent_on_mysql: delivery::killed_while_codes_are_sent, MySql;
            two_programs_share_the_messages_on_mysql: delivery::two_programs_share_the_messages, MySql;
            killed_while_codes_are_sent_on_mariadb: delivery::killed_while_codes_are_sent, MariaDb;
            two_programs_share_the_messages_on_mariadb: delivery::two_programs_share_the_messages, MariaDb;
            nothing_secret_shows_on_sqlite: canary::nothing_secret_shows, Sqlite;
            nothing_secret_shows_on_mysql: canary::nothing_secret_shows, MySql;
            nothing_secret_shows_on_mariadb: canary::nothing_secret_shows, MariaDb;
            slow_clients_hold_nobody_up: pressure::slow_clients_hold_nobody_up;
            what_is_too_large_is_refused: pressure::what_is_too_large_is_refused;
            two_thousand_connections_hold_nobody_up: pressure::two_thousand_connections_hold_nobody_up;
            it_explains_who_may_pass: explain::it_explains_who_may_pass;
            a_full_disk_stops_nothing_for_good: disk::a_full_disk_stops_nothing_for_good;
            a_disk_that_refuses_writes_stops_nothing_for_good: disk::a_disk_that_refuses_writes_stops_nothing_for_good;
            a_read_only_disk_is_refused_at_the_start: disk::a_read_only_disk_is_refused_at_the_start;
            an_old_file_put_back_revives_nothing: disk::an_old_file_put_back_revives_nothing;
            no_link_shows_in_the_log: log::no_link_shows_in_the_log;
            nobody_who_reads_the_log_is_waited_for: log::nobody_who_reads_the_log_is_waited_for;
            a_log_that_can_not_be_written_ends_no_request: log::a_log_that_can_not_be_written_ends_no_request;
            a_start_that_serves_nobody_leaves_nothing: second_start::a_start_that_serves_nobody_leaves_nothing;
            idle_connections_end_when_they_should: pressure::idle_connections_end_when_they_should;
            settings_are_read_as_they_are_meant: second_start::settings_are_read_as_they_are_meant;
            the_last_start_shows_the_link_that_works: second_start::the_last_start_shows_the_link_that_works;
        }
    };
    ($program:expr, $($name:ident: $module:ident::$test:ident $(, $backend:ident)?;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::$module::$test($program $(, $crate::Backend::$backend)?).await;
            }
        )*
    };
}
