//! A database server that goes away and comes back while people work: refused in time, nobody signed out, no restart.

#![expect(clippy::unwrap_used, reason = "a test may stop at once")]
#![expect(clippy::print_stdout, reason = "how long it took is worth seeing with --nocapture")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use iam_tests::{Adapter, Answer, Backend, Database, World};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the way to the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Everything passes.
    Open,
    /// Connections break, and new ones are refused, as when a server was killed.
    Killed,
    /// Nothing comes through any more and nobody says so, as when a cable was pulled.
    Silent,
}

/// A way to a server that can be closed.
struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
}

impl Proxy {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, state) = watch::channel(Way::Open);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(client, server.clone(), state.clone()));
            }
        });
        Self { address, way }
    }

    fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn carry(mut client: TcpStream, server: String, mut way: watch::Receiver<Way>) {
    loop {
        let now = *way.borrow_and_update();
        match now {
            Way::Killed => return,
            // Held open, and nothing said, until there is a way again; by then nobody waits for it.
            Way::Silent => {
                if way.changed().await.is_err() {
                    return;
                }
            }
            Way::Open => break,
        }
    }
    let mut server = TcpStream::connect(&server).await.unwrap();
    loop {
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            changed = way.changed() => {
                let now = *way.borrow_and_update();
                match (changed.is_ok(), now) {
                    (true, Way::Open) => {}
                    (true, Way::Silent) => {
                        // What was under way is lost; the connection stays until somebody gives it up.
                        while way.changed().await.is_ok() && *way.borrow_and_update() == Way::Silent {}
                        return;
                    }
                    _ => return,
                }
            }
        }
    }
}

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
