use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tokio::task::JoinSet;

use iam_core::HashingConfig;
use iam_core::ports::{HashMemory, HashVerdict, PasswordScheme};

use crate::{Adapter, Backend, Faults, PASSWORD, World};

/// 503, never 200 and never 401; the cookie stays; what needs no identity goes on.
pub async fn a_failing_store_is_nobodys_denial(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    let cookie = amy.session_cookie().unwrap().to_owned();
    world.faults.down.store(true, Ordering::SeqCst);
    for path in ["/reports", "/documents/1", "/api/v1/me", "/"] {
        for answer in [amy.get(path).await, amy.open(path).await] {
            assert_eq!(answer.status, 503, "{path}");
            assert!(answer.set_cookies().is_empty(), "{path}");
            assert!(answer.header("retry-after").is_some(), "{path}");
            assert!(!answer.body.contains("as the test asked"), "{path}: no inner text");
        }
    }
    assert_eq!(world.browser().api_sign_in("amy", PASSWORD).await.status, 503);
    assert_eq!(world.browser().get("/reports").await.status, 401, "without a cookie nothing needs the store");
    assert_eq!(amy.get("/healthz").await.status, 200);
    assert_eq!(amy.get("/readyz").await.status, 503);
    world.faults.down.store(false, Ordering::SeqCst);
    assert_eq!(amy.get("/readyz").await.status, 200);
    assert_eq!(amy.session_cookie(), Some(cookie.as_str()));
    assert_eq!(amy.get("/reports").await.status, 200);
    // A use that can't be noted shortens the session, and refuses nobody.
    world.faults.touch.store(true, Ordering::SeqCst);
    world.later(120);
    assert_eq!(amy.get("/reports").await.status, 200);
}

/// AU-03.
pub async fn what_can_not_be_audited_does_not_happen(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    let sessions = world.count("SELECT count(*) FROM iam_auth_session").await;
    world.faults.audit.store(true, Ordering::SeqCst);
    let mut gus = world.browser();
    let page = gus.sign_in("gus", PASSWORD).await;
    assert_eq!(page.status, 503);
    assert!(gus.session_cookie().is_none());
    assert_eq!(world.browser().api_sign_in("gus", PASSWORD).await.status, 503);
    assert_eq!(world.browser().api_sign_in("gus", "wrong").await.status, 503);
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session").await, sessions);
    let account = world.account("amy").await;
    let role = iam_core::RoleName::parse("admin").unwrap();
    assert!(world.iam.roles(&iam_core::Actor::service()).revoke(account, &role).await.is_err());
    assert_eq!(amy.get("/reports").await.status, 200, "the role is as it was");
    let token = amy.open("/").await.csrf_token();
    assert_eq!(amy.submit("/auth/logout", &[("csrf_token", &token)]).await.status, 503);
    world.faults.audit.store(false, Ordering::SeqCst);
    assert_eq!(amy.get("/reports").await.status, 200, "nobody was signed out either");
}

/// Says that it has begun, and waits until its channel is closed.
#[derive(Debug)]
struct Stuck(mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>);

impl PasswordScheme for Stuck {
    fn prefixes(&self) -> &[&'static str] {
        &["$stuck$"]
    }

    fn verify(&self, _: &[u8], _: &str, _: &mut HashMemory) -> HashVerdict {
        self.0.send(()).unwrap();
        let _ = self.1.lock().unwrap().recv();
        HashVerdict::Mismatch
    }
}

/// DOS-01: the queue is bounded, and a refusal costs nobody a try.
pub async fn too_many_passwords_at_once_are_refused_in_time(adapter: Adapter, backend: Backend) {
    let (begun, has_begun) = mpsc::channel();
    let (hold, stuck) = mpsc::channel();
    let world = World::with(adapter, backend, |builder| {
        builder.password_scheme(Stuck(begun, Mutex::new(stuck))).hashing(HashingConfig {
            threads: 1,
            queue: 20,
            max_wait: Duration::from_mins(1),
        })
    })
    .await;
    for n in 0..26 {
        world.add(&format!("p{n}"), &[], None).await;
    }
    world.execute("UPDATE iam_user_account SET password_hash = '$stuck$' WHERE username = 'max'").await;
    let mut max = world.browser();
    let first = tokio::spawn(async move { max.api_sign_in("max", PASSWORD).await.status });
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();

    // The one thread is busy: twenty wait, six are told so at once.
    let mut tries = JoinSet::new();
    for n in 0..26 {
        let mut browser = world.browser();
        tries.spawn(async move { browser.api_sign_in(&format!("p{n}"), PASSWORD).await });
    }
    for _ in 0..6 {
        let answer = tries.join_next().await.unwrap().unwrap();
        assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("busy")));
        assert_eq!(answer.header("retry-after"), Some("60"));
    }
    // What was not looked at is not counted as a try, however often.
    for _ in 0..7 {
        assert_eq!(world.browser().api_sign_in("gus", PASSWORD).await.status, 503);
    }
    assert_eq!(world.browser().get("/healthz").await.status, 200);
    drop(hold);
    assert_eq!(first.await.unwrap(), 401);
    while let Some(answer) = tries.join_next().await {
        assert_eq!(answer.unwrap().status, 200);
    }
}

/// Hanging up hides nothing: the failure counts, and what was reserved is given back.
pub async fn who_hangs_up_is_counted_all_the_same(adapter: Adapter, backend: Backend) {
    let (begun, has_begun) = mpsc::channel();
    let (hold, stuck) = mpsc::channel();
    let world = World::with_scheme(adapter, backend, Stuck(begun, Mutex::new(stuck))).await;
    world.execute("UPDATE iam_user_account SET password_hash = '$stuck$' WHERE username = 'max'").await;
    let mut max = world.browser();
    let attempt = tokio::spawn(async move { max.api_sign_in("max", PASSWORD).await.status });
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
    attempt.abort();
    assert!(attempt.await.unwrap_err().is_cancelled());
    drop(hold);
    while world.logged("authn_login_fail").await == 0 {
        tokio::task::yield_now().await;
    }
    // Of the network's three counters the two of failures stand at one, and nothing is in flight any more.
    assert_eq!(
        world.count("SELECT CAST(sum(count) AS SIGNED) FROM iam_rate_limit").await,
        3,
        "and one try of the account's"
    );
}

/// Asserts inside the hash that no unit is open.
#[derive(Debug)]
struct Watching(Arc<Mutex<Option<Arc<Faults>>>>, mpsc::Sender<usize>);

impl PasswordScheme for Watching {
    fn prefixes(&self) -> &[&'static str] {
        &["$watching$"]
    }

    fn verify(&self, _: &[u8], _: &str, _: &mut HashMemory) -> HashVerdict {
        let faults = self.0.lock().unwrap().clone().unwrap();
        self.1.send(faults.open_units.load(Ordering::SeqCst)).unwrap();
        HashVerdict::Match { outdated: false }
    }
}

/// A hash takes long; a transaction that waits for it would hold up everybody.
pub async fn no_unit_of_work_is_open_while_hashing(adapter: Adapter, backend: Backend) {
    let faults = Arc::new(Mutex::new(None));
    let (seen, open_units) = mpsc::channel();
    let world = World::with_scheme(adapter, backend, Watching(Arc::clone(&faults), seen)).await;
    *faults.lock().unwrap() = Some(Arc::clone(&world.faults));
    world.execute("UPDATE iam_user_account SET password_hash = '$watching$' WHERE username = 'max'").await;
    assert_eq!(world.browser().api_sign_in("max", PASSWORD).await.status, 200);
    assert_eq!(open_units.try_recv(), Ok(0));
}

/// A deadlock is nobody's business: the unit of work is tried again, three times.
pub async fn units_that_lose_are_tried_again(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let lose = |units| world.faults.conflicts.store(units, Ordering::SeqCst);
    for units in 1..=3 {
        lose(units);
        let mut bob = world.browser();
        assert_eq!(bob.api_sign_in("bob", PASSWORD).await.status, 200, "{units} lost");
        lose(units);
        assert_eq!(world.browser().api_sign_in("max", "not the password").await.status, 401, "{units} lost");
        lose(units);
        let origin = bob.origin();
        let left = bob.send("POST", "/api/v1/auth/logout", &[("origin", &origin)], Vec::new()).await;
        assert_eq!(left.status, 204, "{units} lost");
        world.later(600);
    }
    assert_eq!((world.logged("authn_login_success").await, world.logged("authn_login_fail").await), (3, 3));
    assert_eq!(world.logged("authn_logout").await, 3, "each once");
    lose(4);
    assert_eq!(world.browser().api_sign_in("bob", PASSWORD).await.status, 503);
    lose(0);
    assert_eq!(world.browser().api_sign_in("bob", PASSWORD).await.status, 200, "nothing stays counted");
}
