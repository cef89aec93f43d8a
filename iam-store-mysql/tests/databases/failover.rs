//! Connections that die, servers that can't write or don't answer, and units of work that lose against others.
//!
//! The tests at the end need servers that nobody else uses. `IAM_TEST_OWN_SERVER` names the program that starts and kills
//! them, and `IAM_TEST_OWN_SERVER_KINDS` of which kinds it can (`mysql mariadb`; all of them without it); `cargo xtask test` sets
//! both.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use iam_core::ports::{DeviceId, NewTrustedDevice, Store, TokenHash};
use iam_core::{Client, EndReason, SessionId, StoreError, StoreErrorKind, Timestamp};
use iam_store_mysql::MySqlStore;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use tokio::runtime::Builder;

use crate::common::{BOTH, Database, Server, needed, others_on, run_on};
use crate::rows::{account, sign_in};

const TOKEN: TokenHash = TokenHash::from_bytes([1; 32]);
const SESSION: SessionId = SessionId::from_bytes([1; 16]);

fn later(secs: u64) -> Timestamp {
    account().created_at.plus(Duration::from_secs(secs))
}

async fn with_session(database: &Database) -> MySqlStore {
    let store = MySqlStore::connect(&database.url()).await.unwrap();
    store.migrate().await.unwrap();
    sign_in(&store).await;
    store
}

/// Ends every connection to the database.
async fn kill_all(database: &Database) {
    let mut connection = database.connection().await;
    let others = others_on(&mut connection, &database.name).await.unwrap();
    for other in others {
        let _ = connection.execute(AssertSqlSafe(format!("KILL {other}"))).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_connection_that_died_costs_no_request() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        for _ in 0..5 {
            // Several connections lie idle in the pool, and all of them die.
            let reads = (0..8).map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.session(&TOKEN).await.unwrap().is_some() })
            });
            for read in reads.collect::<Vec<_>>() {
                assert!(read.await.unwrap());
            }
            kill_all(&database).await;
            assert!(store.session(&TOKEN).await.unwrap().is_some(), "a read");
            kill_all(&database).await;
            store.begin().await.unwrap().commit().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_unit_whose_connection_died_fails_as_a_whole() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        let mut unit = store.begin().await.unwrap();
        assert!(unit.sessions().end(SESSION, EndReason::Logout, later(1)).await.unwrap());
        kill_all(&database).await;
        for _ in 0..2 {
            let error = unit.sessions().end_all(account().id, EndReason::Logout, later(1)).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        }
        assert_eq!(unit.commit().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
        assert!(store.session(&TOKEN).await.unwrap().unwrap().ended.is_none());
    }
}

#[tokio::test]
async fn a_connection_to_a_server_that_can_not_write_is_not_used_again() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        with_session(&database).await;
        // The first three lead to the primary of before the failover.
        let opened = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&opened);
        let pool = MySqlPoolOptions::new()
            .max_connections(3)
            .after_connect(move |connection, _| {
                let old = counted.fetch_add(1, Ordering::SeqCst) < 3;
                Box::pin(async move {
                    let sql = if old { "SET SESSION TRANSACTION READ ONLY" } else { "DO 0" };
                    connection.execute(sql).await.map(drop)
                })
            })
            .connect_with(MySqlConnectOptions::from_str(&database.url()).unwrap())
            .await
            .unwrap();
        let store = MySqlStore::from_pool(pool);
        let write = async || -> Result<bool, StoreError> {
            let mut unit = store.begin().await?;
            let done = unit.sessions().end(SESSION, EndReason::Logout, later(1)).await?;
            unit.commit().await?;
            Ok(done)
        };
        // Of the others those that are idle by then are not used, either.
        assert_eq!(write().await.unwrap_err().kind(), StoreErrorKind::Unavailable, "{server:?}");
        let mut failed = 1;
        while let Err(error) = write().await {
            failed += 1;
            assert!(error.kind() == StoreErrorKind::Unavailable && failed <= 3, "{server:?}: {error:?}");
        }
        assert!(opened.load(Ordering::SeqCst) > 3, "{server:?}: nothing is written by way of the old ones");
    }
}

/// A store whose pool has one connection, which is idle, and how many it opened since: each of them takes this long.
async fn slow_to_open(database: &Database, takes: Duration) -> (MySqlStore, Arc<AtomicU32>) {
    let opened = Arc::new(AtomicU32::new(0));
    let slow = Arc::new(AtomicBool::new(false));
    let (counted, is_slow) = (Arc::clone(&opened), Arc::clone(&slow));
    let pool = MySqlPoolOptions::new()
        .max_connections(3)
        .test_before_acquire(false)
        .after_connect(move |_, _| {
            counted.fetch_add(1, Ordering::SeqCst);
            let takes = if is_slow.load(Ordering::SeqCst) { takes } else { Duration::ZERO };
            Box::pin(async move {
                tokio::time::sleep(takes).await;
                Ok(())
            })
        })
        .connect_with(MySqlConnectOptions::from_str(&database.url()).unwrap())
        .await
        .unwrap();
    let store = MySqlStore::from_pool(pool.clone());
    store.begin().await.unwrap().commit().await.unwrap();
    // What was used is given back a moment later.
    while pool.num_idle() < pool.size() as usize {
        tokio::task::yield_now().await;
    }
    while pool.size() > 1 {
        pool.acquire().await.unwrap().detach().close().await.unwrap();
    }
    slow.store(true, Ordering::SeqCst);
    opened.store(0, Ordering::SeqCst);
    (store, opened)
}

/// As after a restart of the server, when a name or a certificate is slow to be looked up.
#[tokio::test]
async fn a_connection_that_was_long_in_coming_is_used() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        with_session(&database).await;
        let (store, opened) = slow_to_open(&database, Duration::from_millis(1100)).await;
        kill_all(&database).await;
        assert!(store.session(&TOKEN).await.unwrap().is_some(), "{server:?}");
        assert_eq!(opened.load(Ordering::SeqCst), 1, "{server:?}: none is thrown away");
    }
}

#[tokio::test]
async fn what_had_no_time_to_answer_puts_nothing_in_doubt() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        with_session(&database).await;
        let (store, opened) = slow_to_open(&database, Duration::from_millis(2500)).await;
        let unit = store.begin().await.unwrap();
        let _other = lock_session(&database).await;
        // On a second connection, which comes late; the first one lies idle before that.
        let (touched, ()) = tokio::join!(store.touch_session(SESSION, later(60), later(0), None), async {
            while opened.load(Ordering::SeqCst) < 1 {
                tokio::task::yield_now().await;
            }
            unit.commit().await.unwrap();
        });
        assert_eq!(touched.unwrap_err().kind(), StoreErrorKind::Unavailable, "{server:?}");
        assert!(store.session(&TOKEN).await.unwrap().is_some(), "{server:?}");
        assert_eq!(opened.load(Ordering::SeqCst), 1, "{server:?}: the first one is still used");
    }
}

#[tokio::test]
async fn a_store_that_is_closed_says_what_is_still_under_way() {
    let closes = async |server| {
        let Some(database) = Database::create(server).await else { return };
        let store = with_session(&database).await;
        let unit = store.begin().await.unwrap();
        assert_eq!(store.close().await.unwrap_err().kind(), StoreErrorKind::Unavailable, "{server:?}");
        drop(unit);
        store.close().await.unwrap();
        let error = store.session(&TOKEN).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{server:?}");
    };
    tokio::join!(closes(Server::MySql), closes(Server::MariaDb));
}

/// A lock on the session's row, by somebody else.
async fn lock_session(database: &Database) -> MySqlConnection {
    let mut other = database.connection().await;
    run_on(&mut other, "START TRANSACTION; UPDATE iam_auth_session SET amr = 'x'").await;
    other
}

#[tokio::test]
async fn what_waited_in_vain_is_tried_again() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        let other = lock_session(&database).await;
        let unlocking = tokio::spawn(async move {
            // Longer than a lock is waited for once.
            tokio::time::sleep(Duration::from_millis(2400)).await;
            other.close().await.unwrap();
        });
        // A unit whose first statement it is: begun anew behind the owner's back.
        let mut unit = store.begin().await.unwrap();
        assert!(unit.sessions().end(SESSION, EndReason::Logout, later(1)).await.unwrap(), "{server:?}");
        unit.commit().await.unwrap();
        unlocking.await.unwrap();
        assert!(store.session(&TOKEN).await.unwrap().unwrap().ended.is_some());
    }
}

#[tokio::test]
async fn a_note_of_use_that_waited_in_vain_is_tried_again() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        let other = lock_session(&database).await;
        let unlocking = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(2400)).await;
            other.close().await.unwrap();
        });
        assert!(store.touch_session(SESSION, later(60), later(0), None).await.unwrap(), "{server:?}");
        unlocking.await.unwrap();
    }
}

#[tokio::test]
async fn a_lock_that_stays_is_unavailable_in_time() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        let _other = lock_session(&database).await;
        let began = Instant::now();
        let error = store.touch_session(SESSION, later(60), later(0), None).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        let mut unit = store.begin().await.unwrap();
        let error = unit.sessions().end(SESSION, EndReason::Logout, later(1)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    }
}

/// Two units that lock two rows crosswise: one of them loses, as a whole, and knows it.
#[tokio::test]
async fn a_unit_that_lost_after_it_wrote_is_undone() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        let mut unit = store.begin().await.unwrap();
        // As little as the other one has changed less is what InnoDB undoes.
        assert!(unit.sessions().end(SESSION, EndReason::Logout, later(1)).await.unwrap());
        let mut other = database.connection().await;
        run_on(
            &mut other,
            "CREATE TABLE weight (n INT PRIMARY KEY); START TRANSACTION;
             INSERT INTO weight WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900) SELECT n FROM m;
             UPDATE iam_user_account SET updated_at = '2026-02-02'",
        )
        .await;
        let crossing = tokio::spawn(async move {
            run_on(&mut other, "UPDATE iam_auth_session SET proofs = 'totp@7'; COMMIT").await;
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        let hash = iam_core::PasswordHash::from_stored("$x");
        let error = unit.accounts().set_password(account().id, &hash, later(1)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        crossing.await.unwrap();
        assert!(unit.sessions().end(SESSION, EndReason::Logout, later(1)).await.is_err(), "nothing goes on");
        assert!(unit.commit().await.is_err());
        let found = store.session(&TOKEN).await.unwrap().unwrap();
        assert_eq!((found.ended, found.proofs.to_string().as_str()), (None, "totp@7"), "{server:?}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_costs_no_connection() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        let mut connection = database.connection().await;
        let mut made = async || -> i64 {
            let (_, made): (String, String) = sqlx::query_as("SHOW GLOBAL STATUS LIKE 'Connections'")
                .fetch_one(&mut connection)
                .await
                .unwrap();
            made.parse().unwrap()
        };
        let mut least = i64::MAX;
        for _ in 0..10 {
            let before = made().await;
            for micros in 0..20 {
                let reading = store.session(&TOKEN);
                let _ = tokio::time::timeout(Duration::from_micros(micros * 20), reading).await;
                let mut unit = store.begin().await.unwrap();
                let ending = unit.sessions().end(SESSION, EndReason::Logout, later(1));
                let _ = tokio::time::timeout(Duration::from_micros(micros * 20), ending).await;
                drop(unit);
            }
            least = least.min(made().await - before);
        }
        assert!(least < 20, "{server:?}: {least} connections made for forty that went away");
        assert!(store.session(&TOKEN).await.unwrap().unwrap().ended.is_none());
    }
}

// -- a server of its own --

/// A server that nobody else uses, under a program that obeys us. It ends with its pipe.
struct OwnServer {
    url: String,
    program: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl OwnServer {
    fn start(program: &str, server: Server) -> Self {
        let mut program = Command::new(program)
            .args(["own-server", server.word()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = program.stdin.take().unwrap();
        let mut answers = BufReader::new(program.stdout.take().unwrap()).lines();
        let url = answers.next().unwrap().unwrap();
        Self { url, program, orders, answers }
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.orders, "{word}").unwrap();
        assert_eq!(self.answers.next().unwrap().unwrap(), "done", "{word}");
    }

    fn end(mut self) {
        drop(self.orders);
        assert!(self.program.wait().unwrap().success());
    }
}

/// Reads and writes without end, and how often each way they ended.
async fn load(store: &MySqlStore) -> Result<(), StoreError> {
    store.session(&TOKEN).await?;
    let mut unit = store.begin().await?;
    unit.sessions().end(SessionId::from_bytes([9; 16]), EndReason::Logout, later(1)).await?;
    unit.commit().await
}

/// Until it works again: how long that took.
async fn recovers(store: &MySqlStore) -> Duration {
    let began = Instant::now();
    while load(store).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(30));
    }
    began.elapsed()
}

/// Runs a test on a server of its own of each kind that can be started. Both at once: most of it is waiting.
fn on_own_servers(test: impl AsyncFn(Server, &mut OwnServer) + Sync) {
    let Some(program) = needed("IAM_TEST_OWN_SERVER") else { return };
    std::thread::scope(|scope| {
        for server in BOTH.into_iter().filter(|server| server.can_be_started()) {
            let (program, test) = (&program, &test);
            scope.spawn(move || {
                let mut own = OwnServer::start(program, server);
                let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
                runtime.block_on(test(server, &mut own));
                own.end();
            });
        }
    });
}

#[test]
fn a_server_that_dies_or_hangs_is_unavailable_in_time_and_found_again() {
    on_own_servers(dies_and_hangs);
}

#[test]
fn a_server_that_is_fenced_says_nothing_of_sessions_and_trusted_browsers() {
    on_own_servers(is_fenced);
}

async fn is_fenced(server: Server, own: &mut OwnServer) {
    let database = Database::of(&own.url).await;
    let store = with_session(&database).await;
    let browser = NewTrustedDevice {
        id: DeviceId::from_bytes([1; 16]),
        account: account().id,
        auth_version: account().auth_version,
        token: TOKEN,
        created_at: later(0),
        expires_at: later(1000),
        client: Client::default(),
    };
    let mut unit = store.begin().await.unwrap();
    unit.trusted_devices().trust(&browser, 10).await.unwrap();
    unit.commit().await.unwrap();
    let is_trusted = async || {
        store
            .reader()
            .await
            .unwrap()
            .trusted_devices()
            .is_trusted(&TOKEN, account().id, account().auth_version, later(1))
            .await
    };
    let session = async |token: [u8; 32]| store.session(&TokenHash::from_bytes(token)).await;
    for _ in 0..2 {
        assert!(session([1; 32]).await.unwrap().is_some() && session([2; 32]).await.unwrap().is_none());
        assert!(is_trusted().await.unwrap());
        database.run("SET GLOBAL read_only = ON").await;
        for token in [1, 2] {
            let error = session([token; 32]).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{server:?}: session {token}");
        }
        assert_eq!(is_trusted().await.unwrap_err().kind(), StoreErrorKind::Unavailable, "{server:?}");
        database.run("SET GLOBAL read_only = OFF").await;
    }
}

async fn dies_and_hangs(server: Server, own: &mut OwnServer) {
    let database = Database::of(&own.url).await;
    let store = with_session(&database).await;
    for (down, up) in [("kill", "start"), ("pause", "resume")] {
        let mut running = tokio::task::JoinSet::new();
        let stop = Arc::new(AtomicU32::new(0));
        for _ in 0..16 {
            let (store, stop) = (store.clone(), Arc::clone(&stop));
            running.spawn(async move {
                let (mut done, mut slowest) = (0, Duration::ZERO);
                while stop.load(Ordering::SeqCst) == 0 {
                    let began = Instant::now();
                    match load(&store).await {
                        Ok(()) => done += 1,
                        Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}"),
                    }
                    slowest = slowest.max(began.elapsed());
                }
                (done, slowest)
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        own.tell(down);
        let began = Instant::now();
        assert!(store.session(&TOKEN).await.is_err(), "{down}");
        let answered = began.elapsed();
        tokio::time::sleep(Duration::from_secs(3)).await;
        own.tell(up);
        let recovered = recovers(&store).await;
        stop.store(1, Ordering::SeqCst);
        let (mut done, mut slowest) = (0, Duration::ZERO);
        for (one_done, one_slowest) in running.join_all().await {
            (done, slowest) = (done + one_done, slowest.max(one_slowest));
        }
        eprintln!(
            "{server:?} {down}: answered after {answered:?}, slowest of {done} {slowest:?}, back after {recovered:?}"
        );
        assert!(answered < Duration::from_secs(4), "{down}: {answered:?}");
        assert!(recovered < Duration::from_secs(5), "{up}: {recovered:?}");
        // A read and a unit, each of which may wait.
        assert!(slowest < Duration::from_secs(10), "{down}: {slowest:?}");
    }
}
