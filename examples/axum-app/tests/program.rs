//! The program itself, as a process of its own: killed, and pressed hard.

use iam_tests::{Backend, canary, delivery, disk, explain, log, pressure, second_start, storm};

const PROGRAM: &str = env!("CARGO_BIN_EXE_axum-app");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_a_storm_of_sign_ins_on_sqlite() {
    storm::killed_while_people_sign_in(PROGRAM, Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_a_storm_of_sign_ins_on_mysql() {
    storm::killed_while_people_sign_in(PROGRAM, Backend::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_codes_are_sent_on_sqlite() {
    delivery::killed_while_codes_are_sent(PROGRAM, Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_share_the_messages_on_sqlite() {
    delivery::two_programs_share_the_messages(PROGRAM, Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_codes_are_sent_on_mysql() {
    delivery::killed_while_codes_are_sent(PROGRAM, Backend::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_share_the_messages_on_mysql() {
    delivery::two_programs_share_the_messages(PROGRAM, Backend::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_codes_are_sent_on_mariadb() {
    delivery::killed_while_codes_are_sent(PROGRAM, Backend::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_share_the_messages_on_mariadb() {
    delivery::two_programs_share_the_messages(PROGRAM, Backend::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_shows_on_sqlite() {
    canary::nothing_secret_shows(PROGRAM, Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_shows_on_mysql() {
    canary::nothing_secret_shows(PROGRAM, Backend::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_shows_on_mariadb() {
    canary::nothing_secret_shows(PROGRAM, Backend::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_hold_nobody_up() {
    pressure::slow_clients_hold_nobody_up(PROGRAM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused() {
    pressure::what_is_too_large_is_refused(PROGRAM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_connections_hold_nobody_up() {
    pressure::two_thousand_connections_hold_nobody_up(PROGRAM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_explains_who_may_pass() {
    explain::it_explains_who_may_pass(PROGRAM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_nothing_for_good() {
    disk::a_full_disk_stops_nothing_for_good(PROGRAM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_refuses_writes_stops_nothing_for_good() {
    disk::a_disk_that_refuses_writes_stops_nothing_for_good(PROGRAM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_disk_is_refused_at_the_start() {
    disk::a_read_only_disk_is_refused_at_the_start(PROGRAM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_file_put_back_revives_nothing() {
    disk::an_old_file_put_back_revives_nothing(PROGRAM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_link_shows_in_the_log() {
    log::no_link_shows_in_the_log(PROGRAM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_reads_the_log_is_waited_for() {
    log::nobody_who_reads_the_log_is_waited_for(PROGRAM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_can_not_be_written_ends_no_request() {
    log::a_log_that_can_not_be_written_ends_no_request(PROGRAM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_serves_nobody_leaves_nothing() {
    second_start::a_start_that_serves_nobody_leaves_nothing(PROGRAM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_end_when_they_should() {
    pressure::idle_connections_end_when_they_should(PROGRAM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_read_as_they_are_meant() {
    second_start::settings_are_read_as_they_are_meant(PROGRAM).await;
}
