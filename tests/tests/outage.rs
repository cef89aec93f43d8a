//! A database server that goes away and comes back while people work: refused in time, nobody signed out, no restart.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at once")]
#![expect(clippy::print_stdout, reason = "how long it took is worth seeing with --nocapture")]

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use iam_core::ports::{Store, TokenHash};
use iam_store_mysql::MySqlStore;
use iam_tests::{Adapter, Answer, Backend, Browser, Database, Proxy, Way, World};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

async fn outage(adapter: Adapter, backend: Backend, how: Way) {
    if !backend.is_there() {
        return;
    }
    let database = Arc::new(Database::create(backend).await);
    let proxy = Proxy::to(database.server().unwrap()).await;
    let world = World::on(adapter, backend, Arc::clone(&database).by_way_of(proxy.address)).await;
    let amy = world.signed_in("amy").await;
    let status = |answer: &Answer| answer.status;
    assert_eq!(status(&amy.clone().get("/reports").await), 200);

    // People who keep asking, and what they see: when, what, how long it took.
    let phase = Arc::new(AtomicU8::new(0));
    let mut people = Vec::new();
    for _ in 0..8 {
        let (mut amy, phase) = (amy.clone(), Arc::clone(&phase));
        people.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            while phase.load(Ordering::SeqCst) < 3 {
                let (asked_in, begun) = (phase.load(Ordering::SeqCst), Instant::now());
                let answer = amy.get("/reports").await;
                let answered_in = phase.load(Ordering::SeqCst);
                seen.push((asked_in, answered_in, answer.status, begun.elapsed(), answer.set_cookies()));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            seen
        }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;

    proxy.set(how);
    phase.store(1, Ordering::SeqCst);
    let mut stranger = world.browser();
    let begun = Instant::now();
    assert_eq!(status(&stranger.get("/readyz").await), 503);
    assert!(begun.elapsed() < Duration::from_secs(4), "readyz took {:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(status(&stranger.get("/healthz").await), 200);
    assert!(begun.elapsed() < Duration::from_millis(500), "healthz took {:?}", begun.elapsed());
    let sign_in = stranger.api_sign_in("amy", iam_tests::PASSWORD).await;
    assert_eq!((status(&sign_in), sign_in.set_cookies()), (503, Vec::new()));
    tokio::time::sleep(Duration::from_secs(5)).await;

    proxy.set(Way::Open);
    phase.store(2, Ordering::SeqCst);
    let returned = Instant::now();
    while status(&amy.clone().get("/reports").await) != 200 {
        assert!(returned.elapsed() < Duration::from_secs(5), "not back after {:?}", returned.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let back = returned.elapsed();
    while status(&world.browser().api_sign_in("amy", iam_tests::PASSWORD).await) != 200 {
        assert!(
            returned.elapsed() < Duration::from_secs(5),
            "nobody signs in after {:?}",
            returned.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    phase.store(3, Ordering::SeqCst);

    let mut slowest = Duration::ZERO;
    let mut refused = 0;
    for person in people {
        for (asked_in, answered_in, status, took, cookies) in person.await.unwrap() {
            assert!(matches!(status, 200 | 503), "{status} in phase {asked_in}");
            assert!(cookies.is_empty(), "nobody is signed out: {cookies:?}");
            if asked_in == 1 && answered_in == 1 {
                assert_eq!(status, 503, "nobody is let in unseen");
            }
            if status == 503 {
                refused += 1;
                slowest = slowest.max(took);
            }
        }
    }
    assert!(refused > 0, "the outage was noticed");
    assert!(slowest < Duration::from_millis(3_300), "a refusal took {slowest:?}");
    println!("{adapter:?} {backend:?} {how:?}: {refused} refused, slowest {slowest:?}; back after {back:?}");
}

/// Asks so often at once that each connection of the pool is used.
async fn ask_often(browser: &Browser) {
    let asking = (0..24).map(|_| {
        let mut browser = browser.clone();
        tokio::spawn(async move { browser.get("/reports").await.status })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), 200);
    }
}

/// Connections that are forgotten on the way, after they lay idle for a while. The first request may be lost, or wait.
async fn forgotten(adapter: Adapter, backend: Backend, idle: Duration) {
    if !backend.is_there() {
        return;
    }
    let database = Arc::new(Database::create(backend).await);
    let proxy = Proxy::to(database.server().unwrap()).await;
    let world = World::on(adapter, backend, Arc::clone(&database).by_way_of(proxy.address)).await;
    let mut amy = world.signed_in("amy").await;
    ask_often(&amy).await;
    tokio::time::sleep(idle).await;
    forget(&proxy).await;
    let mut seen = Vec::new();
    for _ in 0..12 {
        let begun = Instant::now();
        let status = amy.get("/reports").await.status;
        seen.push((status, begun.elapsed()));
    }
    let begun = Instant::now();
    assert_eq!(world.browser().api_sign_in("amy", iam_tests::PASSWORD).await.status, 200, "{seen:?}");
    let signed_in = begun.elapsed();
    println!("{adapter:?} {backend:?} idle {idle:?}: {seen:?}, a sign-in {signed_in:?}");
    let ((status, took), later) = seen.split_first().unwrap();
    assert!(matches!(status, 200 | 503) && *took < Duration::from_millis(3_600), "{seen:?}");
    assert!(later.iter().all(|(status, _)| *status == 200), "{seen:?}");
    assert!(waited(later.iter().map(|(_, took)| *took).chain([signed_in])) <= 1, "{seen:?}, {signed_in:?}");
    if idle >= Duration::from_secs(1) {
        assert!(
            (*status, *took < Duration::from_secs(3)) == (200, true),
            "what lay idle is tested: {seen:?}"
        );
    }
    ask_often(&amy).await;
}

/// Lets a moment pass before and after, so that no connection is heard of later than it fell silent.
async fn forget(proxy: &Proxy) {
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.set(Way::Forgotten);
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// How many of these waited in vain for an answer: that takes a second at least. On a machine that is busy one may take as long.
fn waited(took: impl Iterator<Item = Duration>) -> usize {
    took.filter(|took| *took >= Duration::from_millis(950)).count()
}

/// The same, on a pool of the host's, whichever way that tests its connections.
async fn forgotten_in_a_pool_of_the_hosts(backend: Backend, tested: bool) {
    if !backend.is_there() {
        return;
    }
    let database = Arc::new(Database::create(backend).await);
    let proxy = Proxy::to(database.server().unwrap()).await;
    let database = database.by_way_of(proxy.address);
    let pool = MySqlPoolOptions::new()
        .max_connections(8)
        .test_before_acquire(tested)
        .connect_with(MySqlConnectOptions::from_str(&database.url()).unwrap())
        .await
        .unwrap();
    let store = MySqlStore::from_pool(pool);
    store.migrate().await.unwrap();
    let read = async || store.session(&TokenHash::from_bytes([1; 32])).await.is_ok();
    let reading = (0..24).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.session(&TokenHash::from_bytes([1; 32])).await.unwrap() })
    });
    for done in reading.collect::<Vec<_>>() {
        assert!(done.await.unwrap().is_none());
    }
    forget(&proxy).await;
    let mut seen = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        seen.push((read().await, begun.elapsed()));
    }
    println!("{backend:?}, a pool of the host's, tested: {tested}: {seen:?}");
    assert!(!seen[0].0 && seen[0].1 < Duration::from_millis(3_600), "{seen:?}");
    assert!(seen[1..].iter().all(|(done, _)| *done), "{seen:?}");
    assert!(waited(seen[1..].iter().map(|(_, took)| *took)) <= 1, "{seen:?}");
    store.begin().await.unwrap().commit().await.unwrap();
}

macro_rules! outages {
    ($($name:ident: $adapter:ident, $backend:ident, $how:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $name() {
            outage(Adapter::$adapter, Backend::$backend, Way::$how).await;
        }
    )*};
}

outages! {
    mysql_killed_under_axum: Axum, MySql, Killed;
    mysql_killed_under_actix: Actix, MySql, Killed;
    mysql_silent_under_axum: Axum, MySql, Silent;
    mysql_silent_under_actix: Actix, MySql, Silent;
    mariadb_killed_under_axum: Axum, MariaDb, Killed;
    mariadb_killed_under_actix: Actix, MariaDb, Killed;
    mariadb_silent_under_axum: Axum, MariaDb, Silent;
    mariadb_silent_under_actix: Actix, MariaDb, Silent;
}

macro_rules! silences {
    ($($name:ident: $adapter:ident, $backend:ident, $idle:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $name() {
            forgotten(Adapter::$adapter, Backend::$backend, Duration::from_millis($idle)).await;
        }
    )*};
}

silences! {
    mysql_connections_that_fell_silent_cost_one_time_out_under_axum: Axum, MySql, 0;
    mysql_connections_that_fell_silent_cost_one_time_out_under_actix: Actix, MySql, 0;
    mariadb_connections_that_fell_silent_cost_one_time_out_under_axum: Axum, MariaDb, 0;
    mariadb_connections_that_fell_silent_cost_one_time_out_under_actix: Actix, MariaDb, 0;
    mysql_connections_that_fell_silent_while_idle_cost_no_request: Axum, MySql, 1_500;
    mariadb_connections_that_fell_silent_while_idle_cost_no_request: Actix, MariaDb, 1_500;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_fell_silent_in_a_pool_of_the_hosts_cost_one_time_out() {
    for backend in [Backend::MySql, Backend::MariaDb] {
        for tested in [true, false] {
            forgotten_in_a_pool_of_the_hosts(backend, tested).await;
        }
    }
}
