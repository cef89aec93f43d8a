//! A process that is still connected to the primary of before, which another one has replaced: nobody is let in, nobody is
//! signed out, and it finds the new one by itself.
//!
//! Both servers are the tests' own. `IAM_TEST_OWN_SERVER` names the program that starts them; `cargo xtask test` sets it to
//! itself.

#![expect(clippy::print_stdout, reason = "how long it took is worth seeing with --nocapture")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use iam_tests::{Adapter, Answer, Backend, Browser, Database, OwnServer, Proxy, World};

/// The same browser, led to another process.
fn led_to(world: &World, browser: &Browser) -> Browser {
    let mut other = world.browser();
    other.cookies = browser.cookies.clone();
    other
}

fn seen(answer: &Answer) -> (u16, Vec<String>) {
    (answer.status, answer.set_cookies())
}

/// Asks so often at once that each connection of the pool is used.
async fn many(browser: &Browser) -> Vec<u16> {
    let asking = (0..24).map(|_| {
        let mut browser = browser.clone();
        tokio::spawn(async move { browser.get("/reports").await.status })
    });
    let mut statuses = Vec::new();
    for asked in asking.collect::<Vec<_>>() {
        statuses.push(asked.await.unwrap_or_default());
    }
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

async fn stale_primary(adapter: Adapter, backend: Backend) {
    let Some([old, new]) = OwnServer::pair(backend) else { return };
    new.follow(&old).await;
    let database = Arc::new(Database::on(&old.url()).await);
    let proxy = Proxy::to(old.place()).await;
    let here = World::on(adapter, backend, Arc::clone(&database).by_way_of(proxy.address)).await;
    let (mut amy, mut bob) = (here.signed_in("amy").await, here.signed_in("bob").await);
    assert_eq!(many(&amy).await, [200]);
    assert_eq!(bob.get("/").await.status, 200);

    // Another process is led to the new primary. There amy signs out, and gus in.
    old.fence().await;
    new.take_over(&old).await;
    let there = here.beside_on(adapter, Arc::new(database.at(&new.url()))).await;
    let mut elsewhere = led_to(&there, &amy);
    let token = elsewhere.open("/").await.csrf_token();
    assert_eq!(elsewhere.submit("/auth/logout", &[("csrf_token", &token)]).await.status, 303);
    let mut gus = led_to(&here, &there.signed_in("gus").await);

    // Here everything still leads to the old one: what it says of sessions does not count, be there one or none.
    for round in 0..3 {
        assert_eq!(
            seen(&amy.get("/reports").await),
            (503, vec![]),
            "round {round}: signed out on the new primary"
        );
        assert_eq!(seen(&gus.get("/reports").await), (503, vec![]), "round {round}: unknown to the old one");
        assert_eq!(seen(&bob.get("/reports").await), (503, vec![]), "round {round}: nobody can tell");
    }
    assert_eq!(many(&amy).await, [503]);
    assert_eq!(seen(&here.browser().api_sign_in("amy", iam_tests::PASSWORD).await), (503, vec![]));

    // New connections lead to the new one; whatever was there before still leads to the old one.
    proxy.lead_to(new.place());
    let begun = Instant::now();
    assert_eq!(amy.get("/reports").await.status, 401, "the first request finds it");
    let found = begun.elapsed();
    assert!(found < Duration::from_secs(3), "no time-out was waited for: {found:?}");
    assert_eq!(many(&gus).await, [200]);
    assert_eq!(bob.get("/").await.status, 200);
    assert_eq!(many(&amy.clone()).await, [401]);
    println!("{adapter:?} {backend:?}: the new primary is found after {found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mysql_stale_primary_lets_nobody_in_under_axum() {
    stale_primary(Adapter::Axum, Backend::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mariadb_stale_primary_lets_nobody_in_under_actix() {
    stale_primary(Adapter::Actix, Backend::MariaDb).await;
}
