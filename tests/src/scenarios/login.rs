use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use iam_core::ports::{HashMemory, HashVerdict, PasswordScheme};
use iam_core::{
    AccountStatus, Actor, BreachCheckFailed, BreachedPasswords, EmailAddress, Error, NewAccount, ParentKey,
    ParentStatus, PepperRing, PlainPassword, Problem, Username,
};

use super::factors::{half_way, with_app};
use crate::{Adapter, Backend, PASSWORD, World};

/// A page leads to the login page and back to where the person wanted to go, and the trail tells of it.
pub async fn a_page_visit_signs_in_and_comes_back(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.browser();
    let away = amy.open("/reports?year=2026&q=a%20b").await;
    assert_eq!(away.status, 303);
    assert_eq!(away.location(), "/auth/login?next=/reports%3Fyear%3D2026%26q%3Da%2520b");
    let page = amy.open(away.location()).await;
    assert_eq!(page.status, 200);
    assert!(amy.session_cookie().is_none(), "no session before signing in");
    let token = page.csrf_token();
    let fields = [
        ("username", "Amy"),
        ("password", PASSWORD),
        ("csrf_token", &token),
        ("next", "/reports?year=2026&q=a%20b"),
    ];
    let back = amy.submit("/auth/login", &fields).await;
    assert_eq!((back.status, back.location()), (303, "/reports?year=2026&q=a%20b"));
    assert!(back.set_cookies().iter().all(|line| line.contains("HttpOnly; SameSite=Lax; Path=/")));
    let reports = amy.open(back.location()).await;
    assert_eq!(reports.status, 200);
    assert!(reports.body.contains("amy"));
    assert_eq!(world.logged("authn_login_success").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session WHERE logout_time IS NULL AND client_address = '127.0.0.1'").await, 1);
}

/// The JSON twins do the same.
pub async fn json_signs_in_and_out(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.browser();
    let answer = amy.api_sign_in("amy", PASSWORD).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["status"], "authenticated");
    let me = amy.get("/api/v1/me").await.json();
    assert_eq!(me["account"]["username"], "amy");
    assert_eq!(me["account"]["parent"], "acme");
    assert_eq!(me["account"]["roles"], serde_json::json!(["admin"]));
    assert_eq!(me["session"]["amr"], serde_json::json!(["pwd"]));
    // The token of the answer is the new session's.
    let token = answer.json()["csrf_token"].as_str().unwrap().to_owned();
    let out = amy.send("POST", "/api/v1/auth/logout", &[("x-csrf-token", &token)], Vec::new()).await;
    assert_eq!(out.status, 204);
    assert_eq!(amy.get("/api/v1/me").await.status, 401);
    assert_eq!(world.logged("authn_logout").await, 1);
}

/// LG-01: nothing about an account shows until its password was right, and a status not even then.
pub async fn every_failure_looks_the_same(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let service = Actor::service();
    for (name, status) in [("dee", AccountStatus::Disabled), ("lou", AccountStatus::Locked)] {
        let account = world.add(name, &[], None).await;
        world.iam.accounts(&service).set_status(account, status).await.unwrap();
    }
    world.add("sue", &[], Some("initech")).await;
    let parent = world
        .iam
        .parents(&Actor::service())
        .by_key(&ParentKey::parse("initech").unwrap())
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
    world.iam.accounts(&service).create(NewAccount::new(Username::parse("sso").unwrap())).await.unwrap();

    let mut page = None;
    let mut json = None;
    let cases = [
        ("amy", "wrong password here"),
        ("nobody", PASSWORD),
        ("not a name", PASSWORD),
        ("nobody@example.com", PASSWORD),
        ("dee", PASSWORD),
        ("lou", PASSWORD),
        ("sue", PASSWORD),
        ("sso", PASSWORD),
    ];
    for (name, password) in cases {
        // Its own address for each, so that the limit of one does not answer for the next.
        world.later(120);
        let answer = world.browser().sign_in(name, password).await;
        assert_eq!(answer.status, 401, "{name}");
        assert!(answer.set_cookies().iter().all(|line| !line.starts_with("iam_session")), "{name}");
        let comparable = answer.comparable().replace(&format!("value=\"{name}\""), "value=\"*\"");
        assert_eq!(*page.get_or_insert(comparable.clone()), comparable, "{name}");
        let answer = world.browser().api_sign_in(name, password).await;
        assert_eq!(*json.get_or_insert(answer.comparable()), answer.comparable(), "{name}");
    }
    let log = world.log().await;
    let reasons: Vec<_> =
        log.iter().filter(|e| e.event == "authn_login_fail").map(|e| e.reason.clone().unwrap()).collect();
    for reason in [
        "wrong_password",
        "unknown_account",
        "account_disabled",
        "account_locked",
        "parent_suspended",
        "no_password",
    ] {
        assert!(reasons.iter().any(|known| known == reason), "{reason} in {reasons:?}");
    }
    assert!(
        log.iter()
            .filter(|e| e.event == "authn_login_fail")
            .all(|e| e.address.as_deref() == Some("127.0.0.1"))
    );
    for named in [
        "SELECT count(*) FROM iam_auth_log WHERE reason LIKE '%nobody%' OR identifier LIKE '%nobody%'",
        "SELECT count(*) FROM iam_auth_tally WHERE reason LIKE '%nobody%' OR identifier LIKE '%nobody%'",
    ] {
        assert_eq!(world.count(named).await, 0, "people type passwords into the name's field");
    }
}

/// PW-02, PW-05: no cut, no trim, one form of the same characters.
pub async fn passwords_are_taken_whole_and_in_one_form(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let service = Actor::service();
    let long = "x".repeat(1023);
    let account = world.account("max").await;
    let set = |text: String| {
        let iam = &world.iam;
        let service = &service;
        async move {
            iam.accounts(service).set_password(account, &PlainPassword::new(&text).unwrap()).await.unwrap();
        }
    };
    let mut max = world.browser();
    set(format!("{long}a")).await;
    assert_eq!(max.api_sign_in("max", &format!("{long}b")).await.status, 401);
    assert_eq!(max.api_sign_in("max", &long[..72]).await.status, 401);
    assert_eq!(max.api_sign_in("max", &format!("{long}a")).await.status, 200);
    let too_long = max.api_sign_in("max", &format!("{long}ab")).await;
    assert_eq!(too_long.status, 422);
    assert_eq!(too_long.json()["errors"][0]["field"], "password");
    set("cafe\u{301} with friends".into()).await;
    assert_eq!(max.api_sign_in("max", "caf\u{e9} with friends").await.status, 200);
    assert_eq!(max.api_sign_in("max", "caf\u{e9} with friends ").await.status, 401);
}

/// A hash below today's policy is replaced when its owner signs in.
pub async fn an_old_hash_is_renewed(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    world
        .execute(
            "UPDATE iam_user_account SET password_hash =
             '$argon2id$v=19$m=32,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$0000000000000000000000000000000000000000000'
             WHERE username = 'max'",
        )
        .await;
    assert_eq!(world.browser().api_sign_in("max", PASSWORD).await.status, 401);
    // What somebody else's program made of "password" (phc-winner-argon2).
    world
        .execute(
            "UPDATE iam_user_account SET password_hash =
             '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4'
             WHERE username = 'max'",
        )
        .await;
    assert_eq!(world.browser().api_sign_in("max", "password").await.status, 200);
    // Stronger than the test's policy: kept, as the password was set within a day.
    assert_eq!(world.logged("authn_password_rehash").await, 0);
    world
        .execute(
            "UPDATE iam_user_account SET password_hash =
             '$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8'
             WHERE username = 'max'",
        )
        .await;
    assert_eq!(world.browser().api_sign_in("max", "password").await.status, 200);
    assert_eq!(world.logged("authn_password_rehash").await, 1);
    let stored = world.text("SELECT password_hash FROM iam_user_account WHERE username = 'max'").await;
    assert!(stored.starts_with("$argon2id$v=19$m=64,"), "{stored}");
    assert_eq!(world.browser().api_sign_in("max", "password").await.status, 200);
}

/// PW-07: what no scheme can use, or what would cost too much, is a failure like any other.
pub async fn a_damaged_hash_is_a_wrong_password(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for sql in [
        "UPDATE iam_user_account SET password_hash = '' WHERE username = 'max'",
        // Bytes that are no text: SQLite wants them called so, a server takes them as they are.
        match backend {
            Backend::Sqlite => {
                "UPDATE iam_user_account SET password_hash = CAST(x'ff6e6f' AS TEXT) WHERE username = 'max'"
            }
            _ => "UPDATE iam_user_account SET password_hash = x'ff6e6f' WHERE username = 'max'",
        },
        "UPDATE iam_user_account SET password_hash = '$argon2id$' WHERE username = 'max'",
        "UPDATE iam_user_account SET password_hash = 'plain' WHERE username = 'max'",
        "UPDATE iam_user_account SET password_hash = '$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4' WHERE username = 'max'",
    ] {
        world.execute(sql).await;
        world.later(600);
        assert_eq!(world.browser().api_sign_in("max", PASSWORD).await.status, 401, "{sql}");
    }
}

/// bcrypt hashes of other programs (made with libxcrypt): verified as their makers did, renewed only if bcrypt saw all of it.
pub async fn a_bcrypt_hash_signs_in_and_is_renewed_when_nothing_is_lost(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let stored = "SELECT password_hash FROM iam_user_account WHERE username = 'max'";
    world
        .execute(
            "UPDATE iam_user_account SET password_hash = '$2b$04$/OK.fbVrR/bpIqNJ5ianF.lNQZmw/i8jdaiRlIIxuWE2NgFFvlK7O'
             WHERE username = 'max'",
        )
        .await;
    assert_eq!(world.browser().api_sign_in("max", "correct horse batterie").await.status, 401);
    assert_eq!(world.browser().api_sign_in("max", "correct horse battery").await.status, 200);
    assert_eq!(world.logged("authn_password_rehash").await, 1);
    assert!(world.text(stored).await.starts_with("$argon2id$"));
    assert_eq!(world.browser().api_sign_in("max", "correct horse battery").await.status, 200);
    // 80 times x: bcrypt has never seen what comes after the 72nd byte.
    world
        .execute(
            "UPDATE iam_user_account SET password_hash = '$2b$04$/OK.fbVrR/bpIqNJ5ianF.sN11/lzpb5GU9j41HYJjV7Mu/n0isdC'
             WHERE username = 'max'",
        )
        .await;
    let typed = |count: usize, rest: &str| format!("{}{rest}", "x".repeat(count));
    for (password, status) in [
        (typed(80, ""), 200),
        (typed(72, "something else"), 200),
        (typed(72, ""), 200),
        (typed(71, "y"), 401),
    ] {
        assert_eq!(world.browser().api_sign_in("max", &password).await.status, status, "{password}");
        assert!(world.text(stored).await.starts_with("$2b$04$"), "{password} is not bound");
    }
    assert_eq!(world.logged("authn_password_rehash").await, 1);
    for sql in [
        "UPDATE iam_user_account SET password_hash = '$2b$31$/OK.fbVrR/bpIqNJ5ianF.lNQZmw/i8jdaiRlIIxuWE2NgFFvlK7O' WHERE username = 'max'",
        "UPDATE iam_user_account SET password_hash = '$2x$04$/OK.fbVrR/bpIqNJ5ianF.lNQZmw/i8jdaiRlIIxuWE2NgFFvlK7O' WHERE username = 'max'",
        "UPDATE iam_user_account SET password_hash = '$2b$04$/OK.fbVrR/bpIqNJ5ianF.lNQZmw/i8jdaiRlIIxuWE2NgFFvlKé' WHERE username = 'max'",
    ] {
        world.execute(sql).await;
        world.later(600);
        assert_eq!(world.browser().api_sign_in("max", "correct horse battery").await.status, 401, "{sql}");
    }
}

/// PW-08: hashes without a pepper, or under an old key, sign in and are renewed; one whose key is gone does not sign in.
pub async fn a_pepper_comes_and_changes_without_a_reset(adapter: Adapter, backend: Backend) {
    let old = "3:Zk8s0Qh3vXn6Wb1yTg5LrJ2mPd7cFu9aEo4iKxVtBqY=";
    let both = format!("7:q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM3Kf0mZ0=,{old}");
    let stored = "SELECT password_hash FROM iam_user_account WHERE username = 'max'";
    let world = World::new(adapter, backend).await;
    assert!(world.text(stored).await.starts_with("$argon2id$"));
    let peppered = |ring: &str| PepperRing::parse(ring).unwrap();
    let first = world.restarted_with(|builder| builder.password_pepper(peppered(old))).await;
    for _ in 0..2 {
        assert_eq!(first.browser().api_sign_in("max", PASSWORD).await.status, 200);
        assert!(world.text(stored).await.starts_with("$iam-pepper$k=3$argon2id$"));
    }
    let second = world.restarted_with(|builder| builder.password_pepper(peppered(&both))).await;
    assert_eq!(second.browser().api_sign_in("max", "wrong password here").await.status, 401);
    assert_eq!(second.browser().api_sign_in("max", PASSWORD).await.status, 200);
    assert!(world.text(stored).await.starts_with("$iam-pepper$k=7$argon2id$"));
    assert_eq!(world.logged("authn_password_rehash").await, 2);
    // The processes that do not have the key yet.
    for world in [&world, &first] {
        assert_eq!(world.browser().api_sign_in("max", PASSWORD).await.status, 401);
    }
    assert!(world.log().await.iter().any(|entry| entry.reason.as_deref() == Some("unusable_hash")));
}

/// PW-03: the refusal says which rule, and the old password stays.
pub async fn a_guessable_password_is_refused_and_nothing_changes(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let amy = world.account("amy").await;
    for (text, problem) in [
        ("short", Problem::TooShort { min: 15 }),
        ("aaaaaaaaaaaaaaa", Problem::TooCommon),
        ("PasswordPassword1", Problem::TooCommon),
        ("amyamyamyamyamyamy", Problem::MadeOfContext),
        ("acmeacmeacmeacme", Problem::MadeOfContext),
        ("localhostlocalhost", Problem::MadeOfContext),
    ] {
        let password = PlainPassword::new(text).unwrap();
        match world.iam.accounts(&Actor::service()).set_password(amy, &password).await {
            Err(Error::Invalid(invalid)) => {
                assert_eq!((invalid.field, invalid.problem), ("password", problem), "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(world.logged("authn_password_change").await, 0);
    assert_eq!(world.browser().api_sign_in("amy", PASSWORD).await.status, 200);
}

/// Knows one password, and hangs when it is told to.
#[derive(Debug, Default)]
struct Breaches {
    asked: Mutex<Vec<String>>,
    hangs: AtomicBool,
}

#[derive(Debug, Clone, Default)]
struct SharedBreaches(Arc<Breaches>);

#[async_trait::async_trait]
impl BreachedPasswords for SharedBreaches {
    async fn range(&self, prefix: &str) -> Result<String, BreachCheckFailed> {
        self.0.asked.lock().unwrap().push(prefix.to_owned());
        if self.0.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok("9A4A24AF245D7F9CCB25AB6C7F9CC66632B:7\r\n003D68EB55068C33ACE09247EE4C639306B:3\r\n".to_owned())
    }
}

/// PW-04: the service learns five digits; without its answer the password is taken, and the trail says so.
pub async fn breached_passwords_are_asked_for_by_prefix_only(adapter: Adapter, backend: Backend) {
    let breaches = SharedBreaches::default();
    let service = breaches.clone();
    let world = World::with(adapter, backend, |builder| builder.breached_passwords(service)).await;
    let max = world.account("max").await;
    let set = async |text: &str| {
        world.iam.accounts(&Actor::service()).set_password(max, &PlainPassword::new(text).unwrap()).await
    };
    match set("a breached password").await {
        Err(Error::Invalid(invalid)) => assert_eq!(invalid.problem, Problem::Breached),
        other => panic!("{other:?}"),
    }
    set("a brand new password").await.unwrap();
    assert_eq!(world.logged("breach_check_skipped").await, 0);
    assert!(breaches.0.asked.lock().unwrap().iter().all(|asked| asked.len() == 5));
    breaches.0.hangs.store(true, Ordering::SeqCst);
    let begun = std::time::Instant::now();
    set("another brand new one").await.unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(world.logged("breach_check_skipped").await, 1);
    assert_eq!(world.browser().api_sign_in("max", "another brand new one").await.status, 200);
}

/// Accepts every password, after it was told to go on.
#[derive(Debug)]
struct Parked {
    arrived: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Parked {
    fn new() -> (Self, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (arrived, has_arrived) = mpsc::channel();
        let (tell, go_on) = mpsc::channel();
        (Self { arrived, go_on: Mutex::new(go_on) }, has_arrived, tell)
    }
}

impl PasswordScheme for Parked {
    fn prefixes(&self) -> &[&'static str] {
        &["$parked$"]
    }

    fn verify(&self, _: &[u8], _: &str, _: &mut HashMemory) -> HashVerdict {
        self.arrived.send(()).unwrap();
        self.go_on.lock().unwrap().recv().unwrap();
        HashVerdict::Match { outdated: true }
    }
}

const PARK_MAX: &str = "UPDATE iam_user_account SET password_hash = '$parked$' WHERE username = 'max'";

/// Nothing that was read before the hash may be stale after it.
pub async fn an_account_disabled_while_its_password_is_checked_gets_nothing(
    adapter: Adapter,
    backend: Backend,
) {
    let (scheme, arrived, go_on) = Parked::new();
    let world = World::with_scheme(adapter, backend, scheme).await;
    world.execute(PARK_MAX).await;
    let mut max = world.browser();
    let attempt = tokio::spawn(async move { max.api_sign_in("max", PASSWORD).await });
    tokio::task::spawn_blocking(move || arrived.recv().unwrap()).await.unwrap();
    let account = world.account("max").await;
    world.iam.accounts(&Actor::service()).set_status(account, AccountStatus::Disabled).await.unwrap();
    go_on.send(()).unwrap();
    assert_eq!(attempt.await.unwrap().status, 401);
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session").await, 0);
    assert_eq!(world.logged("authn_login_fail").await, 1);
    let stored = world.text("SELECT password_hash FROM iam_user_account WHERE username = 'max'").await;
    assert_eq!(stored, "$parked$", "the re-hash is conditional, too");
}

/// The same for a password that was changed meanwhile.
pub async fn a_password_changed_while_the_old_one_is_checked_wins(adapter: Adapter, backend: Backend) {
    let (scheme, arrived, go_on) = Parked::new();
    // Two threads: one is parked, the other makes the new hash.
    let world = World::with(adapter, backend, |builder| {
        builder.password_scheme(scheme).hashing(iam_core::HashingConfig {
            threads: 2,
            queue: 16,
            max_wait: std::time::Duration::from_mins(1),
        })
    })
    .await;
    world.execute(PARK_MAX).await;
    let mut max = world.browser();
    let attempt = tokio::spawn(async move { max.api_sign_in("max", PASSWORD).await });
    tokio::task::spawn_blocking(move || arrived.recv().unwrap()).await.unwrap();
    let new = PlainPassword::new("a brand new password").unwrap();
    let account = world.account("max").await;
    world.iam.accounts(&Actor::service()).set_password(account, &new).await.unwrap();
    go_on.send(()).unwrap();
    assert_eq!(attempt.await.unwrap().status, 401);
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session").await, 0);
    assert_eq!(world.browser().api_sign_in("max", "a brand new password").await.status, 200);
}

/// An address signs in only once somebody has proved that it is theirs.
pub async fn a_verified_address_signs_in_and_an_unverified_one_does_not(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let address = |text| EmailAddress::parse(text).unwrap();
    let eve =
        NewAccount::new(Username::parse("eve").unwrap()).password(PlainPassword::new(PASSWORD).unwrap());
    world
        .iam
        .accounts(&Actor::service())
        .create(eve.verified_email(address("eve@example.com")))
        .await
        .unwrap();
    let mut uma =
        NewAccount::new(Username::parse("uma").unwrap()).password(PlainPassword::new(PASSWORD).unwrap());
    uma.email = Some((address("uma@example.com"), false));
    world.iam.accounts(&Actor::service()).create(uma).await.unwrap();
    assert_eq!(world.browser().api_sign_in("EVE@Example.com", PASSWORD).await.status, 200);
    assert_eq!(world.browser().api_sign_in("uma@example.com", PASSWORD).await.status, 401);
    assert_eq!(world.browser().api_sign_in("uma", PASSWORD).await.status, 200);
    let taken = NewAccount::new(Username::parse("eve2").unwrap()).verified_email(address("eve@example.com"));
    assert!(world.iam.accounts(&Actor::service()).create(taken).await.is_err());
}

/// WEB-02: no `next` leads away.
pub async fn the_next_page_is_always_ours(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for next in [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "https:evil.example",
        "/%2f/evil.example",
        "/%09/evil.example",
        "javascript:alert(1)",
        "\\\\evil.example",
        "/\r\nSet-Cookie: a=b",
        "evil.example",
        "",
        "//évil.example",
        &format!("/{}", "a".repeat(2048)),
    ] {
        let mut amy = world.browser();
        let token = amy.open("/auth/login").await.csrf_token();
        let fields = [("username", "amy"), ("password", PASSWORD), ("csrf_token", &token), ("next", next)];
        let answer = amy.submit("/auth/login", &fields).await;
        assert_eq!((answer.status, answer.location()), (303, "/"), "{next:?}");
        assert!(answer.set_cookies().iter().all(|line| line.starts_with("iam_")), "{next:?}");
    }
}

/// Who signs in to go on to where people sign in, or out, has arrived: nobody is shown that page again, or an error.
pub async fn nobody_is_led_on_to_where_people_sign_in_or_out(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for next in [
        "/auth/logout",
        "/auth/login",
        "/auth/login?next=/reports",
        "/auth/%6cogout",
        "/x/../auth/logout/",
        "/api/v1/auth/logout",
        "/api/v1/auth/login",
    ] {
        let mut amy = world.browser();
        let page =
            amy.open(&format!("/auth/login?next={}", next.replace('%', "%25").replace('?', "%3F"))).await;
        assert!(page.body.contains("name=\"next\" value=\"\""), "{next}: {}", page.body);
        let token = page.csrf_token();
        let fields = [("username", "amy"), ("password", PASSWORD), ("csrf_token", &token), ("next", next)];
        for _ in 0..2 {
            // The second time they are signed in already.
            let answer = amy.submit("/auth/login", &fields).await;
            assert_eq!((answer.status, answer.location()), (303, "/"), "{next}");
        }
    }
    let mut amy = world.browser();
    let token = amy.open("/auth/login").await.csrf_token();
    let fields =
        [("username", "amy"), ("password", PASSWORD), ("csrf_token", &token), ("next", "/auth/account")];
    assert_eq!(amy.submit("/auth/login", &fields).await.location(), "/auth/account", "elsewhere they are");
    // And after what is asked for on the way.
    let token = amy.open("/auth/reauthenticate?next=/auth/logout").await.csrf_token();
    let fields = [("password", PASSWORD), ("csrf_token", &token), ("next", "/auth/logout")];
    assert_eq!(amy.submit("/auth/reauthenticate", &fields).await.location(), "/auth/account");
    let app = with_app(&world, "bob").await;
    let mut bob = half_way(&world, "bob").await;
    let token = bob.open("/auth/mfa/verify?next=/auth/logout").await.csrf_token();
    let code = app.code(&world, 0);
    let fields =
        [("code", code.as_str()), ("method", "totp"), ("csrf_token", &token), ("next", "/auth/logout")];
    assert_eq!(bob.submit("/auth/mfa/verify", &fields).await.location(), "/");
}
