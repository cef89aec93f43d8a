use std::sync::Arc;

use iam_core::{Actor, RoleName};
use tokio::sync::Barrier;

use crate::{Adapter, Backend, Browser, PASSWORD, World};

const WRONG: &str = "not the password";

/// Two processes, one on each adapter.
async fn both(adapter: Adapter, backend: Backend) -> [World; 2] {
    let one = World::new(adapter, backend).await;
    let other = match adapter {
        Adapter::Axum => Adapter::Actix,
        Adapter::Actix => Adapter::Axum,
    };
    let two = one.beside(other).await;
    [one, two]
}

/// The same browser, led to the other process.
fn led_to(world: &World, browser: &Browser) -> Browser {
    let mut other = world.browser();
    other.cookies = browser.cookies.clone();
    other
}

/// SES-07: what one process does counts in the other on the very next request.
pub async fn changes_count_in_every_process_at_once(adapter: Adapter, backend: Backend) {
    let [one, two] = both(adapter, backend).await;
    let amy = one.signed_in("amy").await;
    let (mut here, mut there) = (amy.clone(), led_to(&two, &amy));
    assert_eq!((here.open("/reports").await.status, there.open("/reports").await.status), (200, 200));

    let (account, admin) = (one.account("amy").await, RoleName::parse("admin").unwrap());
    for round in 0..20 {
        let (by, seen_by) = if round % 2 == 0 { (&one, &mut there) } else { (&two, &mut here) };
        assert!(by.iam.roles(&Actor::service()).revoke(account, &admin).await.unwrap());
        assert_eq!(seen_by.open("/reports").await.status, 403, "round {round}");
        by.iam.roles(&Actor::service()).grant(account, &admin).await.unwrap();
        assert_eq!(seen_by.open("/reports").await.status, 200, "round {round}");
    }

    // A sign-out in one is a dead cookie in the other.
    let token = here.open("/").await.csrf_token();
    assert_eq!(here.submit("/auth/logout", &[("csrf_token", &token)]).await.status, 303);
    assert_eq!(there.get("/reports").await.status, 401);
    let mut amy = two.signed_in("amy").await;
    assert_eq!(led_to(&one, &amy).open("/reports").await.status, 200);
    let token = amy.open("/").await.csrf_token();
    let mut elsewhere = led_to(&one, &amy);
    assert_eq!(
        elsewhere.submit("/auth/logout", &[("csrf_token", &token)]).await.status,
        303,
        "a token of either"
    );
    assert_eq!(amy.get("/reports").await.status, 401);
}

/// RL-02: a limit that is reached half through one and half through the other holds exactly.
pub async fn limits_hold_over_all_processes(adapter: Adapter, backend: Backend) {
    let worlds = both(adapter, backend).await;
    let start = Arc::new(Barrier::new(40));
    let tries: Vec<_> = (0..40)
        .map(|n| {
            let (mut browser, start) = (worlds[n % 2].browser(), Arc::clone(&start));
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

    // And of a network, one after the other.
    for n in 0..5 {
        let name = format!("spook{n}");
        assert_eq!(worlds[n % 2].browser().api_sign_in(&name, WRONG).await.status, 401);
    }
    for world in &worlds {
        assert_eq!(world.browser().api_sign_in("gus", PASSWORD).await.status, 429);
    }
}

/// SES-08: of thirty sign-ins of one account at the same time, half in one process and half in the other, ten sessions live.
pub async fn thirty_sign_ins_over_all_processes_leave_ten_sessions(adapter: Adapter, backend: Backend) {
    let worlds = both(adapter, backend).await;
    // Devices that are known: how many strangers may try at once is another limit.
    let mut devices = Vec::new();
    for n in 0..30 {
        let mut device = led_to(&worlds[n % 2], &worlds[0].signed_in("bob").await);
        device.cookies.remove("iam_session");
        devices.push(device);
    }
    // Which of two of the same instant is the older is left to chance.
    worlds[0].later(1);
    let start = Arc::new(Barrier::new(devices.len()));
    let tries: Vec<_> = devices
        .into_iter()
        .map(|mut device| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                (device.api_sign_in("bob", PASSWORD).await.status, device)
            })
        })
        .collect();
    let mut devices = Vec::new();
    for attempt in tries {
        let (status, device) = attempt.await.unwrap();
        assert_eq!(status, 200);
        devices.push(device);
    }
    let mut alive = 0;
    for device in devices {
        let here = led_to(&worlds[0], &device).get("/api/v1/me").await.status;
        let there = led_to(&worlds[1], &device).get("/api/v1/me").await.status;
        assert_eq!(here, there);
        alive += usize::from(here == 200);
    }
    assert_eq!(alive, 10);
    let live = "SELECT count(*) FROM iam_auth_session WHERE ended_at IS NULL";
    assert_eq!(worlds[0].count(live).await, 10);
}
