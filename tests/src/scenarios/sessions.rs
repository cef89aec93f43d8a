use std::sync::atomic::Ordering;

use iam_core::protocol::Login;
use iam_core::{AccountStatus, Actor, ParentKey, ParentStatus, PlainPassword, RoleName};

use crate::{Adapter, Backend, PASSWORD, World};

/// SES-06: the cookie is dead from then on, and showing it again is noticed.
pub async fn signing_out_kills_the_cookie(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    let old = amy.session_cookie().unwrap().to_owned();
    let token = amy.open("/").await.csrf_token();
    assert_eq!(amy.open("/auth/logout").await.status, 405, "nothing ends by a GET");
    assert_eq!(amy.submit("/auth/logout", &[]).await.status, 403, "nor without the token");
    assert_eq!(amy.open("/reports").await.status, 200);
    let out = amy.submit("/auth/logout", &[("csrf_token", &token)]).await;
    assert_eq!((out.status, out.location()), (303, "/auth/login?signed_out=1"));
    let cleared = out.set_cookies().into_iter().find(|line| line.starts_with("iam_session=;")).unwrap();
    assert!(cleared.contains("HttpOnly; SameSite=Lax; Path=/; Max-Age=0"), "{cleared}");
    assert!(amy.open(out.location()).await.body.contains("You are signed out."));

    let mut thief = world.browser();
    thief.cookies.insert("iam_session".into(), old);
    assert_eq!(thief.get("/reports").await.status, 401);
    assert_eq!(thief.get("/reports").await.status, 401);
    assert_eq!(world.logged("authn_logout").await, 1);
    assert_eq!(world.logged("session_use_after_expire").await, 2);
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session WHERE logout_time IS NOT NULL").await, 1);
    // Doing it again does no harm.
    assert_eq!(amy.submit("/auth/logout", &[]).await.status, 303);
}

/// A new session each time, and the old token is dead with it.
pub async fn signing_in_again_replaces_the_session(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    let old = amy.session_cookie().unwrap().to_owned();
    let old_page = amy.open("/auth/login").await;
    assert!(old_page.body.contains("You are signed in as"));
    assert_eq!(amy.sign_in("gus", PASSWORD).await.status, 303);
    assert_ne!(amy.session_cookie().unwrap(), old);
    assert!(amy.open("/").await.body.contains("gus"));
    let mut thief = world.browser();
    thief.cookies.insert("iam_session".into(), old);
    assert_eq!(thief.get("/reports").await.status, 401);
    // The token of before does not count for the session of now.
    let stale = old_page.csrf_token();
    assert_eq!(amy.submit_with("/reports", &[("title", "x"), ("csrf_token", &stale)], &[]).await.status, 403);
}

/// SES-03.
pub async fn a_chosen_session_is_never_adopted(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.browser();
    let chosen = "A".repeat(43);
    amy.cookies.insert("iam_session".into(), chosen.clone());
    assert_eq!(amy.sign_in("amy", PASSWORD).await.status, 303);
    assert_ne!(amy.session_cookie().unwrap(), chosen);
    let real = amy.session_cookie().unwrap().to_owned();
    for wrong in [real[..42].to_owned(), format!("{real}A"), real.to_lowercase(), real.to_uppercase(), chosen]
    {
        let mut thief = world.browser();
        thief.cookies.insert("iam_session".into(), wrong);
        assert_eq!(thief.get("/reports").await.status, 401);
    }
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session WHERE length(token_hash) = 32").await, 1);
}

/// SES-05.
pub async fn idle_and_absolute_limits_end_sessions(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    world.later(30 * 60 - 1);
    assert_eq!(amy.get("/reports").await.status, 200);
    // That was use: half an hour more, and at most a minute.
    world.later(30 * 60 - 1);
    assert_eq!(amy.get("/reports").await.status, 200);
    world.later(31 * 60 + 1);
    assert_eq!(amy.get("/reports").await.status, 401);
    assert_eq!(world.logged("session_expired").await, 1);

    let mut idle = world.signed_in("amy").await;
    world.later(30 * 60 + 1);
    assert_eq!(idle.get("/reports").await.status, 401);

    let mut busy = world.signed_in("amy").await;
    for _ in 0..(12 * 6 - 1) {
        world.later(600);
        assert_eq!(busy.get("/reports").await.status, 200);
    }
    world.later(600);
    assert_eq!(busy.get("/reports").await.status, 401, "twelve hours are the end");
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session WHERE end_reason = 'expired'").await, 1);
}

/// A page that asks by itself keeps nobody signed in.
pub async fn background_requests_keep_nobody_signed_in(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    for _ in 0..29 {
        world.later(60);
        assert_eq!(amy.send("GET", "/reports", &[("iam-activity", "none")], Vec::new()).await.status, 200);
    }
    world.later(61);
    assert_eq!(amy.get("/reports").await.status, 401);
}

/// SES-07.
pub async fn changes_count_from_the_next_request_on(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let service = Actor::service();
    let admin = RoleName::parse("admin").unwrap();
    let account = world.account("amy").await;

    let mut amy = world.signed_in("amy").await;
    assert!(world.iam.roles(&service).revoke(account, &admin).await.unwrap());
    assert_eq!(amy.get("/reports").await.status, 403);
    world.iam.roles(&service).grant(account, &admin).await.unwrap();
    assert_eq!(amy.get("/reports").await.status, 200);

    let session = amy.get("/api/v1/me").await.json()["session"]["id"].as_str().unwrap().parse().unwrap();
    assert!(world.iam.sessions(&service).revoke(account, session).await.unwrap());
    assert_eq!(amy.get("/reports").await.status, 401);

    let mut amy = world.signed_in("amy").await;
    world.iam.accounts(&service).set_status(account, AccountStatus::Disabled).await.unwrap();
    assert_eq!(amy.get("/reports").await.status, 401);
    world.iam.accounts(&service).set_status(account, AccountStatus::Active).await.unwrap();
    assert_eq!(amy.get("/reports").await.status, 401, "what has ended stays so");

    let mut amy = world.signed_in("amy").await;
    let password = PlainPassword::new("another long password").unwrap();
    world.iam.accounts(&service).set_password(account, &password).await.unwrap();
    assert_eq!(amy.get("/reports").await.status, 401);

    let mut gus = world.signed_in("gus").await;
    let parent = world
        .iam
        .parents(&Actor::service())
        .by_key(&ParentKey::parse("globex").unwrap())
        .await
        .unwrap()
        .unwrap()
        .id;
    world
        .iam
        .parents(&service)
        .set_status(parent, ParentStatus::Active, ParentStatus::Suspended)
        .await
        .unwrap();
    assert_eq!(gus.get("/reports").await.status, 401);
    world
        .iam
        .parents(&service)
        .set_status(parent, ParentStatus::Suspended, ParentStatus::Active)
        .await
        .unwrap();
    assert_eq!(gus.get("/reports").await.status, 200);
}

/// The state between two factors exists, and no guard takes it.
pub async fn a_pending_session_opens_nothing(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    world.execute("UPDATE iam_auth_session SET state = 'pending'").await;
    assert_eq!(amy.get("/reports").await.status, 401);
    assert_eq!(amy.get("/documents/1").await.status, 401);
    assert_eq!(amy.get("/api/v1/me").await.status, 401);
    assert!(amy.open("/").await.body.contains("Nobody is signed in"));
    assert_eq!(amy.open("/reports").await.status, 303);
}

/// Sessions and counters are in the store, nowhere else.
pub async fn everything_survives_a_restart(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let amy = world.signed_in("amy").await;
    for _ in 0..5 {
        assert_eq!(world.browser().api_sign_in("bob", "wrong").await.status, 401);
    }
    let again = world.restarted().await;
    let mut same = again.browser();
    same.cookies.clone_from(&amy.cookies);
    assert_eq!(same.get("/reports").await.status, 200);
    assert_eq!(again.browser().api_sign_in("bob", PASSWORD).await.status, 429);
}

/// One read for a guarded request however many ask in it, none for another one, and a note of its use at most once a minute.
pub async fn a_guarded_request_costs_one_read(adapter: Adapter, backend: Backend) {
    // The worker looks for messages once a second, in units of its own.
    let world = World::without_worker(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    let counts = || {
        let faults = &world.faults;
        [&faults.reads, &faults.touches, &faults.units].map(|counter| counter.load(Ordering::SeqCst))
    };
    // The first use after the sign-in is noted.
    assert_eq!(amy.get("/reports").await.status, 200);
    let before = counts();
    for _ in 0..10 {
        assert_eq!(amy.get("/reports").await.status, 200);
        assert_eq!(amy.get("/documents/1").await.status, 200);
        assert_eq!(amy.get("/healthz").await.status, 200);
        assert_eq!(amy.get("/transfers").await.status, 200);
        assert_eq!(amy.get("/nowhere").await.status, 404);
    }
    let after = counts();
    assert_eq!([after[0] - before[0], after[1] - before[1], after[2] - before[2]], [30, 0, 0]);
    world.later(60);
    for _ in 0..3 {
        amy.get("/reports").await;
    }
    assert_eq!(counts()[1] - before[1], 1);
    // SES-11: visitors leave no rows.
    let sessions = world.count("SELECT count(*) FROM iam_auth_session").await;
    for _ in 0..20 {
        assert_eq!(world.browser().open("/").await.status, 200);
    }
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session").await, sessions);
    // The same by the library alone.
    let identifier = iam_core::ports::LoginIdentifier::parse("amy").unwrap();
    let client = iam_core::Client::default();
    let password = PlainPassword::new(PASSWORD).unwrap();
    let login = Login {
        identifier: &identifier,
        password,
        device: None,
        trusted: None,
        carrier: iam_core::protocol::Carrier::Cookie,
        stay_signed_in: false,
        replaces: None,
        client: &client,
    };
    assert!(world.iam.protocol().login(login).await.is_ok());
}

/// What nobody comes back to ends by itself; secrets go after a day, the trail after its retention.
pub async fn upkeep_ends_forgets_and_removes_in_time(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut bob = world.signed_in("bob").await;
    let tokens = "SELECT count(*) FROM iam_auth_session WHERE token_hash IS NOT NULL";
    let sessions = "SELECT count(*) FROM iam_auth_session";
    let upkeep = || async { world.iam.upkeep().await.unwrap() };

    world.later(1_700);
    assert_eq!(upkeep().await.sessions_ended, 0);
    assert_eq!(bob.open("/").await.status, 200, "in use");
    world.later(1_700);
    assert_eq!(upkeep().await.sessions_ended, 0, "used since");
    world.later(200);
    assert_eq!(upkeep().await.sessions_ended, 1);
    assert_eq!(world.logged("session_expired").await, 1);
    bob.open("/reports").await;
    assert_eq!(world.logged("session_use_after_expire").await, 1, "its cookie is known for a day");

    world.later(86_401);
    assert_eq!(upkeep().await.tokens_forgotten, 1);
    assert_eq!((world.count(tokens).await, world.count(sessions).await), (0, 1));
    assert!(world.logged("authn_login_success").await == 1, "the trail stays");

    world.later(400 * 86_400);
    let done = upkeep().await;
    assert_eq!(done.sessions_deleted, 1);
    assert!(done.records_deleted > 5, "{done:?}");
    assert_eq!((world.count(sessions).await, world.log().await.len()), (0, 0));
    assert_eq!(upkeep().await, iam_core::Upkeep::default(), "nothing is left to do");
}
