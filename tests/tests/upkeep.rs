//! Upkeep of a large store: in a time that is bounded, by units that are small, beside everything else.

#![expect(clippy::unwrap_used, reason = "a test may stop at once")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use iam_core::ports::Store;
use iam_core::{Argon2Params, Iam, Keys, ManualClock, Timestamp};
use iam_tests::{Backend, Database, Faults};

const SESSIONS: i64 = 100_000;

/// Digits, on every database.
const DIGITS: &str = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5
    UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";

/// Sessions of an active account, of one that was switched off, and sign-ins without their second factor.
fn fill(backend: Backend, digits: usize) -> String {
    let (random, time) = match backend {
        Backend::Sqlite => ("randomblob", "1767225600000000"),
        _ => ("RANDOM_BYTES", "TIMESTAMP '2026-01-01 00:00:00'"),
    };
    let names = ["a", "b", "c", "d", "e"];
    let from: Vec<_> = names.iter().take(digits).map(|name| format!("{DIGITS} {name}")).collect();
    format!(
        "INSERT INTO iam_auth_session (id, account_id, token_hash, state, auth_version, amr, login_time, last_seen_at)
         SELECT {random}(16), u.id, {random}(32), CASE WHEN a.d = 0 THEN 'pending' ELSE 'active' END, 1, 'pwd', {time}, {time}
         FROM iam_user_account u, {} WHERE u.username = CASE WHEN b.d = 0 THEN 'off' ELSE 'amy' END",
        from.join(", ")
    )
}

/// An identity layer without a worker on a store with two accounts and so many sessions that everybody has left.
async fn world(backend: Backend, database: &Database, digits: usize) -> (Iam, Arc<Faults>, Arc<dyn Store>) {
    let faults = Arc::new(Faults::default());
    let opened = database.open(&faults).await;
    let time = if backend == Backend::Sqlite { "1" } else { "NOW()" };
    for (n, name, status) in [(1, "amy", "active"), (2, "off", "disabled")] {
        let sql = format!(
            "INSERT INTO iam_user_account (id, username, status, auth_version, created_at, updated_at)
             VALUES (x'{}', '{name}', '{status}', 1, {time}, {time})",
            format!("{n:02}").repeat(16)
        );
        opened.raw.execute(sql.leak()).await;
    }
    opened.raw.execute(fill(backend, digits).leak()).await;
    let keys = Keys::danger_known_for_tests();
    let clock = ManualClock::new(Timestamp::from_micros(1_767_225_600_000_000 + 3_600_000_000));
    let builder =
        Iam::builder(opened.faulty, keys).argon2(Argon2Params::danger_weak_for_tests()).clock(clock);
    (builder.build_with_manual_worker().await.unwrap().0, faults, opened.store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_idle_sessions_end_in_few_rounds() {
    let database = Database::create(Backend::Sqlite).await;
    let (iam, faults, store) = world(Backend::Sqlite, &database, 5).await;
    let one = iam.upkeep().await.unwrap();
    assert_eq!((one.sessions_ended, one.is_more_waiting()), (20, true), "a batch of each kind");

    // Others write meanwhile.
    let upkeep = tokio::spawn({
        let iam = iam.clone();
        async move {
            let (mut ended, mut rounds) = (0, 0);
            loop {
                rounds += 1;
                let done = iam.upkeep_for(Duration::from_secs(10)).await.unwrap();
                ended += done.sessions_ended;
                if !done.is_more_waiting() {
                    return (ended, rounds);
                }
            }
        }
    });
    let (begun, before, mut others, mut slowest) =
        (Instant::now(), faults.units.load(Ordering::SeqCst), 0, Duration::ZERO);
    while !upkeep.is_finished() {
        let asked = Instant::now();
        store.begin().await.unwrap().commit().await.unwrap();
        slowest = slowest.max(asked.elapsed());
        others += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (ended, rounds) = upkeep.await.unwrap();
    let units = faults.units.load(Ordering::SeqCst) - before;
    println!(
        "{rounds} rounds, {units} units in {:?}; {others} others, the slowest in {slowest:?}",
        begun.elapsed()
    );
    assert_eq!(ended, u64::try_from(SESSIONS).unwrap() - 20);
    // Small ones; and what came back short was not asked again for each of them.
    assert!((4_999..5_200).contains(&units), "{units}");
    assert!(others > 10, "{others}");
    assert_eq!(iam.upkeep().await.unwrap(), iam_core::Upkeep::default(), "nothing is left to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upkeep_on_a_server_does_not_stop_after_a_few_batches() {
    for backend in [Backend::MySql, Backend::MariaDb] {
        if !backend.is_there() {
            continue;
        }
        let database = Database::create(backend).await;
        let (iam, _, _store) = world(backend, &database, 3).await;
        let begun = Instant::now();
        let (mut ended, mut rounds) = (0, 0);
        loop {
            rounds += 1;
            let done = iam.upkeep_for(Duration::from_secs(10)).await.unwrap();
            ended += done.sessions_ended;
            if !done.is_more_waiting() {
                break;
            }
        }
        println!("{backend:?}: {ended} sessions in {rounds} rounds, {:?}", begun.elapsed());
        assert!(ended == 1_000 && rounds <= 10, "{ended} {rounds}");
    }
}
