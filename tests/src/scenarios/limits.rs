use std::sync::Arc;
use std::sync::atomic::Ordering;

use iam_core::{Actor, EmailAddress, NewAccount, PlainPassword, Username};
use tokio::sync::Barrier;

use super::factors::{half_way, verify, with_address, with_app};
use crate::{Adapter, Backend, PASSWORD, World};

const WRONG: &str = "not the password";

/// RL-01: five tries, then growing delays, never for ever; whatever form of the name.
pub async fn guessing_an_account_is_slowed_down(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for name in ["bob", "BOB", " bob ", "\u{ff42}\u{ff4f}\u{ff42}", "Bob"] {
        assert_eq!(world.browser().api_sign_in(name, WRONG).await.status, 401, "{name}");
    }
    let refused = world.browser().api_sign_in("bob", PASSWORD).await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, Some("1")),
        "even the right one is not looked at"
    );
    let page = world.browser().sign_in("bob", PASSWORD).await;
    assert_eq!(page.status, 429);
    assert!(page.body.contains("1 second") && page.body.contains("value=\"bob\""));
    for delay in ["2", "4", "8"] {
        let wait: u64 = delay.parse().unwrap();
        world.later(wait / 2);
        assert_eq!(world.browser().api_sign_in("bob", WRONG).await.status, 401);
        let refused = world.browser().api_sign_in("bob", WRONG).await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some(delay)));
    }
    world.later(8);
    assert_eq!(world.browser().api_sign_in("bob", PASSWORD).await.status, 200);
    // A quiet while forgets, and then the next five are counted again.
    world.later(3600);
    for _ in 0..5 {
        assert_eq!(world.browser().api_sign_in("bob", WRONG).await.status, 401);
    }
    assert_eq!(world.browser().api_sign_in("bob", WRONG).await.status, 429);
}

/// A name that nobody has is treated alike, to the letter.
pub async fn names_without_an_account_are_slowed_down_alike(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut answers = Vec::new();
    for name in ["bob", "nobody"] {
        for _ in 0..5 {
            assert_eq!(world.browser().api_sign_in(name, WRONG).await.status, 401);
        }
        let refused = world.browser().api_sign_in(name, WRONG).await;
        assert_eq!(refused.status, 429);
        answers.push(refused.comparable());
        world.later(120);
    }
    assert_eq!(answers[0], answers[1]);
}

/// RL-02: forty at once, five are looked at.
pub async fn parallel_guesses_are_counted_exactly(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let start = Arc::new(Barrier::new(40));
    let tries: Vec<_> = (0..40)
        .map(|_| {
            let (mut browser, start) = (world.browser(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                browser.api_sign_in("bob", WRONG).await.status
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for attempt in tries {
        statuses.push(attempt.await.unwrap());
    }
    let count = |status| statuses.iter().filter(|s| **s == status).count();
    assert_eq!((count(401), count(429)), (5, 35), "{statuses:?}");
    assert_eq!(world.logged("authn_login_fail").await, 5);
}

/// Ten failures a minute, a hundred an hour; successes neither count nor reset.
pub async fn a_network_that_fails_too_often_has_to_wait(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for n in 0..10 {
        assert_eq!(world.browser().api_sign_in(&format!("name{n}"), WRONG).await.status, 401, "{n}");
        if n % 4 == 0 {
            assert_eq!(world.browser().api_sign_in("amy", PASSWORD).await.status, 200);
        }
    }
    let refused = world.browser().api_sign_in("gus", PASSWORD).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("60")));
    for minute in 1..10 {
        world.later(60);
        for n in 0..10 {
            assert_eq!(world.browser().api_sign_in(&format!("name{minute}-{n}"), WRONG).await.status, 401);
        }
    }
    world.later(60);
    let refused = world.browser().api_sign_in("gus", PASSWORD).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("3000")), "the hour is full");
    world.later(3000);
    assert_eq!(world.browser().api_sign_in("gus", PASSWORD).await.status, 200);
}

/// An office, a school, a carrier's gateway.
pub async fn a_hundred_people_behind_one_address_get_in(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for n in 0..100 {
        world.add(&format!("person{n}"), &[], None).await;
    }
    let start = Arc::new(Barrier::new(100));
    let tries: Vec<_> = (0..100)
        .map(|n| {
            let (mut browser, start) = (world.browser(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                browser.api_sign_in(&format!("person{n}"), PASSWORD).await.status
            })
        })
        .collect();
    for attempt in tries {
        assert_eq!(attempt.await.unwrap(), 200);
    }
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session").await, 100);
    assert_eq!(world.logged("authn_login_success").await, 100);
}

/// RL-06: by the note of an earlier sign-in on the device.
pub async fn the_owner_gets_in_while_a_stranger_guesses(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut bob = world.signed_in("bob").await;
    let token = bob.open("/").await.csrf_token();
    bob.submit("/auth/logout", &[("csrf_token", &token)]).await;
    for _ in 0..30 {
        world.browser().api_sign_in("bob", WRONG).await;
        world.later(1);
    }
    assert_eq!(world.browser().api_sign_in("bob", PASSWORD).await.status, 429, "a new device has to wait");
    assert_eq!(bob.api_sign_in("bob", PASSWORD).await.status, 200, "the owner's does not");
    // Nor does a network full of failures.
    for n in 0..10 {
        world.browser().api_sign_in(&format!("spook{n}"), WRONG).await;
    }
    assert_eq!(world.browser().api_sign_in("amy", PASSWORD).await.status, 429);
    assert_eq!(bob.api_sign_in("bob", PASSWORD).await.status, 200);
    world.later(120);
    // It has tries of its own, no more than others, and counts for its account alone.
    let mut thief = world.browser();
    thief.cookies.insert("iam_device".into(), bob.cookies["iam_device"].clone());
    for _ in 0..5 {
        assert_eq!(thief.clone().api_sign_in("bob", WRONG).await.status, 401);
    }
    assert_eq!(thief.clone().api_sign_in("bob", PASSWORD).await.status, 429);
    world.later(120);
    for _ in 0..5 {
        assert_eq!(thief.clone().api_sign_in("gus", WRONG).await.status, 401);
    }
    assert_eq!(thief.api_sign_in("gus", WRONG).await.status, 429);
}

/// Who collects device cookies (by signing in again and again) gets no further with many than with one.
pub async fn devices_of_an_account_share_a_budget(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut devices = Vec::new();
    for _ in 0..14 {
        devices.push(world.signed_in("bob").await);
    }
    // Good sign-ins don't use it up.
    for _ in 0..60 {
        assert_eq!(devices[0].api_sign_in("bob", PASSWORD).await.status, 200);
    }
    let mut statuses = Vec::new();
    for device in &mut devices {
        for _ in 0..4 {
            statuses.push(device.api_sign_in("bob", WRONG).await.status);
        }
    }
    let (looked_at, refused) = statuses.split_at(50);
    assert!(looked_at.iter().all(|status| *status == 401), "{statuses:?}");
    // Devices count as strangers now, and a network with fifty failures is none that strangers get in from.
    assert!(refused.iter().all(|status| *status == 429), "{statuses:?}");
    world.later(3600);
    assert_eq!(devices[0].api_sign_in("bob", PASSWORD).await.status, 200);
}

/// LG-05 has its price: one budget for all names of an account tells that they are of one account. Whoever finds out knew both names
/// already, and pays for it with failures of their network. A name and an address of two accounts share nothing, and neither does an
/// address that was never verified.
pub async fn two_names_of_an_account_share_a_limit_which_shows(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    with_address(&world, "eve", "eve@example.com").await;
    let unverified = NewAccount::new(Username::parse("ida").unwrap())
        .password(PlainPassword::new(PASSWORD).unwrap())
        .unverified_email(EmailAddress::parse("ida@example.com").unwrap());
    world.iam.accounts(&Actor::service()).create(unverified).await.unwrap();
    for (address, name, told) in [
        ("eve@example.com", "eve", 429),
        ("eve@example.com", "bob", 401),
        ("ida@example.com", "ida", 401),
        ("nobody@example.com", "nobody", 401),
    ] {
        for n in 0..6 {
            let answer = world.browser().api_sign_in(address, WRONG).await;
            assert_eq!(answer.status, if n < 5 { 401 } else { 429 }, "{address}, {n}");
        }
        assert_eq!(world.browser().api_sign_in(name, WRONG).await.status, told, "{address} and {name}");
        world.later(3600);
    }
}

/// A guesser must not learn from the limits that the owner has signed in meanwhile.
pub async fn a_success_does_not_put_off_forgetting(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut seen = Vec::new();
    for name in ["bob", "nobody"] {
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(world.browser().api_sign_in(name, WRONG).await.status);
        }
        world.later(200);
        if name == "bob" {
            assert_eq!(world.browser().api_sign_in("bob", PASSWORD).await.status, 200);
        }
        world.later(100);
        for _ in 0..6 {
            statuses.push(world.browser().api_sign_in(name, WRONG).await.status);
        }
        seen.push(statuses);
        world.later(3600);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], [401, 401, 401, 401, 401, 401, 401, 401, 401, 429]);
}

/// RL-05.
pub async fn a_success_gives_back_its_own_try_only(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for _ in 0..4 {
        assert_eq!(world.browser().api_sign_in("bob", WRONG).await.status, 401);
    }
    for _ in 0..3 {
        assert_eq!(world.browser().api_sign_in("bob", PASSWORD).await.status, 200);
    }
    assert_eq!(world.logged("authn_login_successafterfail").await, 3);
    assert_eq!(world.browser().api_sign_in("bob", WRONG).await.status, 401);
    assert_eq!(world.browser().api_sign_in("bob", WRONG).await.status, 429);
}

/// AU-02: wrong passwords before a sign-in are told of with the second factor that completes it, and not before.
pub async fn a_sign_in_after_failures_is_told_apart_whatever_completes_it(
    adapter: Adapter,
    backend: Backend,
) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let logged = async || {
        (world.logged("authn_login_success").await, world.logged("authn_login_successafterfail").await)
    };
    let (before, _) = logged().await;
    for _ in 0..2 {
        assert_eq!(world.browser().api_sign_in("amy", WRONG).await.status, 401);
    }
    let mut browser = half_way(&world, "amy").await;
    assert_eq!(logged().await, (before, 0), "nobody is signed in yet");
    assert_eq!(verify(&mut browser, &app.code(&world, 0)).await.status, 200);
    assert_eq!(logged().await, (before, 1));
    // Once the failures are forgotten it is as any other.
    world.later(3600);
    let mut browser = half_way(&world, "amy").await;
    assert_eq!(verify(&mut browser, &app.code(&world, 0)).await.status, 200);
    assert_eq!(logged().await, (before + 1, 1));
}

/// AU-01: strangers can't fill the disk.
pub async fn repeated_refusals_share_a_row(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for _ in 0..5 {
        world.browser().api_sign_in("bob", WRONG).await;
    }
    for _ in 0..25 {
        assert_eq!(world.browser().api_sign_in("bob", WRONG).await.status, 429);
    }
    let log = world.log().await;
    let rows: Vec<_> = log.iter().filter(|entry| entry.event == "excess_rate_limit_exceeded").collect();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].count, rows[0].reason.as_deref()), (25, Some("login.account")));
}

/// Nor keep the one writer busy: refusals are counted, and written together.
pub async fn a_flood_of_refusals_costs_few_writes(adapter: Adapter, backend: Backend) {
    let world = World::without_worker(adapter, backend).await;
    let mut bob = world.signed_in("bob").await;
    let units = || world.faults.units.load(Ordering::SeqCst);
    let before = units();
    assert_eq!(bob.open("/reports").await.status, 403);
    assert_eq!(units() - before, 1, "the first is written before it is answered");
    for _ in 0..300 {
        assert_eq!(bob.open("/reports").await.status, 403);
    }
    assert_eq!(units() - before, 1, "the worker writes the rest, once a second");
    assert_eq!(world.logged("authz_fail").await, 301);
    assert_eq!(units() - before, 2);
}

/// What could not be written is kept until it can be.
pub async fn refusals_are_not_lost_while_nothing_can_be_written(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut bob = world.signed_in("bob").await;
    world.faults.audit.store(true, Ordering::SeqCst);
    for _ in 0..20 {
        assert_eq!(bob.open("/reports").await.status, 403);
    }
    assert!(world.iam.trail(&Actor::service()).flush().await.is_err());
    world.faults.audit.store(false, Ordering::SeqCst);
    assert_eq!(world.logged("authz_fail").await, 20);
}
