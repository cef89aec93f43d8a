//! What costs: rows that anyone can make, codes that are sent, hashes that are dearer than today's.

use std::net::{IpAddr, Ipv6Addr};

use iam_core::ports::LoginIdentifier;
use iam_core::protocol::{Carrier, Login};
use iam_core::{Actor, Argon2Params, Client, NewAccount, PasswordHash, PlainPassword, Username};
use serde_json::json;
use tokio::task::JoinSet;

use super::factors::{CHALLENGE, FACTORS, VERIFY, add_app, half_way, mailed, send_json, with_address};
use crate::{Adapter, Backend, Browser, PASSWORD, World};

const WRONG: &str = "not the password";

/// As `codes_are_sent_so_often_and_no_more`: for each network an hour.
const SENDS_OF_A_NETWORK: usize = 20;

/// What somebody else's program made of "password" (phc-winner-argon2): dearer than the tests' policy.
const DEARER: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

/// Tries to sign in from a network of a /48.
async fn try_from_network(world: &World, network: u16, name: &str, password: &str) {
    let address = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, 1));
    let identifier = LoginIdentifier::parse(name).unwrap();
    let login = Login {
        identifier: &identifier,
        password: PlainPassword::new(password).unwrap(),
        device: None,
        trusted: None,
        carrier: Carrier::Cookie,
        stay_signed_in: false,
        replaces: None,
        client: &Client::at(address),
    };
    assert!(world.iam.protocol().login(login).await.is_err());
}

/// AU-01, RL-07: `iam_auth_log` and `iam_rate_limit`, by who has no account.
pub async fn made_up_names_leave_few_rows(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let rows = async || {
        world.count("SELECT count(*) FROM iam_auth_log").await
            + world.count("SELECT count(*) FROM iam_auth_tally").await
    };
    let before = rows().await;
    for n in 0..300_u16 {
        try_from_network(&world, n, &format!("spook{n}"), WRONG).await;
    }
    world.iam.trail(&Actor::service()).flush().await.unwrap();
    let made = rows().await - before;
    assert!((200..=216).contains(&made), "two hundred that say from where, and a few for the rest: {made}");
    assert_eq!(world.logged("authn_login_fail").await, 300, "all are counted");
    // Names behind one address are one row, and those of somebody who is known have one each, of which the limit allows few.
    let before = rows().await;
    for n in 0..9 {
        try_from_network(&world, 1, &format!("ghost{n}"), WRONG).await;
    }
    assert_eq!(rows().await, before);
    for network in 0..20 {
        try_from_network(&world, 1000 + network, "bob", WRONG).await;
    }
    world.iam.trail(&Actor::service()).flush().await.unwrap();
    let known = world.count(
        "SELECT count(*) FROM iam_auth_log WHERE event = 'authn_login_fail' AND reason = 'wrong_password'",
    );
    assert_eq!(known.await, 5);

    let all = rows().await;

    // What is remembered of a try is forgotten: each goes with the tries, or the upkeep, of an hour later.
    let limits = "SELECT count(*) FROM iam_rate_limit";
    assert!(world.count(limits).await <= 4 * 330, "four of a try");
    world.later(3600 + 900);
    while world.iam.upkeep().await.unwrap().is_more_waiting() {}
    assert_eq!(world.count(limits).await, 0);
    // And what was counted has come into the trail, once: no row of it changes after that.
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_tally").await, 0);
    assert_eq!(rows().await, all);
    assert_eq!(world.logged("authn_login_fail").await, 309 + 5);
    let listed = "SELECT count(*) FROM iam_auth_log WHERE event = 'authn_login_fail' AND count > 1";
    assert!(world.count(listed).await > 1);
}

/// `iam_auth_session` and `iam_auth_log`, by who has one account: only so many right passwords count, and nobody else is kept out.
pub async fn good_sign_ins_of_one_account_leave_so_many_rows(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut known = world.signed_in("max").await;
    let rows = async || {
        world.count("SELECT count(*) FROM iam_auth_log").await
            + world.count("SELECT count(*) FROM iam_auth_tally").await
    };
    let records = rows().await;
    let mut statuses = Vec::new();
    for _ in 0..110 {
        statuses.push(world.browser().api_sign_in("max", PASSWORD).await.status);
    }
    assert!(statuses[..99].iter().all(|status| *status == 200), "{statuses:?}");
    assert!(statuses[99..].iter().all(|status| *status == 429), "{statuses:?}");
    world.iam.trail(&Actor::service()).flush().await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session").await, 100);
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session WHERE ended_at IS NULL").await, 10);
    let records = rows().await - records;
    assert!(
        records <= 3 * 99 + 1,
        "made, signed in, the oldest ended; and one that counts the rest: {records}"
    );

    // Who does not know the password learns nothing of it, a known browser has room of its own, and so has everybody else.
    assert_eq!(world.browser().api_sign_in("max", WRONG).await.status, 401);
    assert_eq!(known.api_sign_in("max", PASSWORD).await.status, 200);
    assert_eq!(world.browser().api_sign_in("bob", PASSWORD).await.status, 200);
    let refused = world.browser().api_sign_in("max", PASSWORD).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("600")));
    world.later(600);
    let mut max = world.browser();
    assert_eq!(max.api_sign_in("max", PASSWORD).await.status, 200);

    // Proofs of who is signed in are as many.
    let mut statuses = Vec::new();
    for _ in 0..103 {
        let proof = max.post_json("/api/v1/auth/reauthenticate", &json!({ "password": PASSWORD })).await;
        statuses.push(proof.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 100, "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429));
}

/// `iam_mfa_challenge`, `iam_mfa_method`, `iam_recovery_code`, `iam_outbox`, by who has one account.
pub async fn changes_of_an_own_account_leave_so_many_rows(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    with_address(&world, "eve", "eve@example.com").await;
    let mut eve = world.signed_in("eve").await;
    let begin = async |eve: &mut Browser| {
        let begun = eve.post_json(FACTORS, &json!({"kind": "totp", "name": "phone"})).await;
        if begun.status == 201 {
            let path = format!("{FACTORS}/{}", begun.json()["id"].as_str().unwrap());
            assert!(send_json(eve, "DELETE", &path, &json!({})).await.status < 300);
        }
        begun.status
    };
    let mut statuses = Vec::new();
    for _ in 0..63 {
        statuses.push(begin(&mut eve).await);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 60, "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429));
    assert_eq!(world.count("SELECT count(*) FROM iam_mfa_challenge").await, 60);
    assert_eq!(world.count("SELECT count(*) FROM iam_mfa_method").await, 0);
    // A day later nothing is left of what nobody answered.
    world.later(25 * 3600);
    while world.iam.upkeep().await.unwrap().is_more_waiting() {}
    assert_eq!(world.count("SELECT count(*) FROM iam_mfa_challenge").await, 0);

    let mut eve = world.signed_in("eve").await;
    let messages = world.count("SELECT count(*) FROM iam_outbox").await;
    let (_, id) = add_app(&world, &mut eve, "phone").await;
    let mut statuses = Vec::new();
    for n in 0..62 {
        let codes = eve.post_json("/api/v1/account/recovery-codes", &json!({})).await;
        statuses.push(codes.status);
        let name = json!({ "name": format!("phone {n}") });
        statuses.push(send_json(&mut eve, "PATCH", &format!("{FACTORS}/{id}"), &name).await.status);
    }
    let done = statuses.iter().filter(|status| **status < 300).count();
    assert_eq!(done, 59, "sixty with the app: {statuses:?}");
    assert!(statuses[59..].iter().all(|status| *status == 429), "{statuses:?}");
    assert!(world.count("SELECT count(*) FROM iam_outbox").await - messages <= 60);
    assert!(world.count("SELECT count(*) FROM iam_recovery_code").await <= 20);
    // A stolen session could have made all of these: its owner changes the password all the same.
    let change = json!({ "current_password": PASSWORD, "new_password": "quite another long phrase" });
    assert_eq!(eve.post_json("/api/v1/account/password", &change).await.status, 200);
}

async fn asks_for_mail(browser: &mut Browser) -> u16 {
    browser.post_json(CHALLENGE, &json!({"method": "email_otp"})).await.status
}

/// Waits for the code as well, so that the next one is not taken for it.
async fn is_sent_mail(world: &World, browser: &mut Browser) -> String {
    let known = world.codes().len();
    assert_eq!(asks_for_mail(browser).await, 200);
    mailed(world, known).await
}

async fn answers(browser: &mut Browser, code: &str) -> u16 {
    browser.post_json(VERIFY, &json!({"code": code, "method": "email_otp"})).await.status
}

/// An office, a school: whoever reads their mail makes room for the next, and nobody else does.
pub async fn many_people_behind_one_address_sign_in_by_mail(adapter: Adapter, backend: Backend) {
    const PEOPLE: usize = SENDS_OF_A_NETWORK + 5;
    let world = World::new(adapter, backend).await;
    let name = |n: usize| format!("person{n}");
    for n in 0..PEOPLE {
        with_address(&world, &name(n), &format!("{}@example.com", name(n))).await;
        let mut browser = world.signed_in(&name(n)).await;
        // Setting it up, signing in, and proving it again: each is sent a code, and each answer gives its own place back.
        let known = world.codes().len();
        let begun = browser.post_json(FACTORS, &json!({"kind": "email_otp"})).await;
        assert_eq!(begun.status, 201, "person {n}: {}", begun.body);
        let path = format!("{FACTORS}/{}/confirm", begun.json()["id"].as_str().unwrap());
        let code = mailed(&world, known).await;
        assert_eq!(browser.post_json(&path, &json!({"code": code})).await.status, 200, "person {n}");
        let mut browser = half_way(&world, &name(n)).await;
        for what in ["signs in", "proves it again"] {
            let code = is_sent_mail(&world, &mut browser).await;
            assert_eq!(answers(&mut browser, &code).await, 200, "person {n} {what}");
        }
    }

    // Twenty that nobody answers are all that there may be.
    for n in 1..SENDS_OF_A_NETWORK {
        is_sent_mail(&world, &mut half_way(&world, &name(n)).await).await;
    }
    let mut asked = half_way(&world, &name(0)).await;
    let code = is_sent_mail(&world, &mut asked).await;
    let mut next = half_way(&world, &name(SENDS_OF_A_NETWORK)).await;
    assert_eq!(asks_for_mail(&mut next).await, 429);
    // A wrong code gives nothing back. The right one, sent eight times at once, counts once, and gives back one place.
    let wrong = if code == "00000000" { "11111111" } else { "00000000" };
    assert_eq!(answers(&mut asked, wrong).await, 401);
    assert_eq!(asks_for_mail(&mut next).await, 429);
    let mut clicks = JoinSet::new();
    for _ in 0..8 {
        let (mut browser, code) = (asked.clone(), code.clone());
        clicks.spawn(async move { answers(&mut browser, &code).await });
    }
    let right = clicks.join_all().await.into_iter().filter(|status| *status == 200).count();
    assert_eq!(right, 8, "equal requests get one answer");
    is_sent_mail(&world, &mut next).await;
    let mut last = half_way(&world, &name(SENDS_OF_A_NETWORK + 1)).await;
    assert_eq!(asks_for_mail(&mut last).await, 429);

    // What is answered after the hour gives nothing back: its place was over with it. This one replaces the code before it, whose
    // place stays taken.
    world.later(3600);
    let mut late = half_way(&world, &name(2)).await;
    is_sent_mail(&world, &mut late).await;
    world.later(30);
    let code = is_sent_mail(&world, &mut late).await;
    assert_eq!(answers(&mut late, &code).await, 200);
    for n in 3..3 + SENDS_OF_A_NETWORK - 1 {
        is_sent_mail(&world, &mut half_way(&world, &name(n)).await).await;
    }
    let mut last = half_way(&world, &name(SENDS_OF_A_NETWORK + 2)).await;
    assert_eq!(asks_for_mail(&mut last).await, 429, "one of the two places was given back");
}

/// PW-06: a hash that was brought over is lowered at the first sign-in, one of a stricter program's not within a day.
pub async fn a_dearer_hash_is_lowered_and_not_back_and_forth(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let new =
        NewAccount::new(Username::parse("ivy").unwrap()).password_hash(PasswordHash::from_stored(DEARER));
    world.iam.accounts(&Actor::service()).create(new).await.unwrap();
    let stored =
        async || world.text("SELECT password_hash FROM iam_user_account WHERE username = 'ivy'").await;
    let renewed = async || world.logged("authn_password_rehash").await;
    let signs_in =
        async |at: &World| assert_eq!(at.browser().api_sign_in("ivy", "password").await.status, 200);

    // As it was brought over, where the policy says so.
    let keeps = world.restarted_with(|builder| builder.lower_imported(false)).await;
    signs_in(&keeps).await;
    assert_eq!(stored().await, DEARER);
    assert_eq!(world.browser().api_sign_in("ivy", WRONG).await.status, 401);
    assert_eq!(stored().await, DEARER, "only its owner's sign-in changes it");
    signs_in(&world).await;
    assert!(stored().await.starts_with("$argon2id$v=19$m=64,t=1,"), "{}", stored().await);
    assert_eq!(renewed().await, 1);

    // Two programs with different policies: what the stricter one raises stays so for a day.
    let strict = world.restarted_with(|builder| builder.argon2(Argon2Params::default())).await;
    for _ in 0..3 {
        signs_in(&strict).await;
        signs_in(&world).await;
        world.later(3600);
    }
    assert!(stored().await.starts_with("$argon2id$v=19$m=19456,"), "{}", stored().await);
    assert_eq!(renewed().await, 2);
    world.later(24 * 3600);
    for _ in 0..3 {
        signs_in(&world).await;
        signs_in(&strict).await;
    }
    assert_eq!(renewed().await, 4, "lowered once, raised once");
    signs_in(&world).await;
    assert_eq!(renewed().await, 4);
}
