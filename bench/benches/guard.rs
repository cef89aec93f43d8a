//! What a request pays for the layer, a guard and an extractor, without sockets; and on MySQL, what it costs this program and the server
//! beside the least that a statement costs.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that can't be set up has nothing to measure, and what it measured is for a person to read"
)]

use std::sync::Arc;

use axum::Router;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use iam_bench::{app, usage};
use iam_core::SessionCache;
use iam_tests::{Backend, Database, Faults};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection};
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// Requests of a round on MySQL, and rounds, in turns.
const REQUESTS: u32 = 5_000;
const ROUNDS: u32 = 3;

fn requests(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (router, cached, cookie) = runtime.block_on(async {
        let store = app::store(folder.path()).await;
        let iam = app::builder(store.clone(), "http://localhost:3000").build().await.unwrap();
        app::add(&iam, "amy", Some("admin")).await;
        let cookie = app::session_cookie(&iam, "amy").await;
        app::prove(&iam, &cookie).await;
        let cached = app::builder(store, "http://localhost:3000").session_cache(SessionCache::default());
        (app::router(&iam), app::router(&cached.build().await.unwrap()), cookie)
    });
    let cases = [
        ("bare route, no layer", app::bare_router(), "/open"),
        ("unguarded route", router.clone(), "/open"),
        ("requires_login", router.clone(), "/me"),
        ("requires_login, with a session cache", cached, "/me"),
        ("requires_role and CurrentUser", router.clone(), "/admin"),
        ("requires_step_up", router, "/payroll"),
    ];
    let mut group = criterion.benchmark_group("request");
    for (name, router, path) in cases {
        // Also notes the session's use, which happens once a minute.
        assert_eq!(runtime.block_on(send(&router, path, &cookie)), 200, "{name}");
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || (router.clone(), app::request(path, &cookie)),
                |(router, request)| router.oneshot(request),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

async fn send(router: &Router, path: &str, cookie: &str) -> u16 {
    router.clone().oneshot(app::request(path, cookie)).await.unwrap().status().as_u16()
}

/// Processor time of this program and of the server, which must run on this machine for that.
fn on_mysql(_: &mut Criterion) {
    if !Backend::MySql.is_there() {
        println!("\nMySQL: no server (IAM_TEST_MYSQL_URL)");
        return;
    }
    Runtime::new().unwrap().block_on(compare());
}

async fn compare() {
    let database = Database::create(Backend::MySql).await;
    let opened = database.open(&Arc::new(Faults::default())).await;
    let iam = app::builder(opened.faulty, "http://localhost:3000").build().await.unwrap();
    app::add(&iam, "amy", Some("admin")).await;
    let cookie = app::session_cookie(&iam, "amy").await;
    app::prove(&iam, &cookie).await;
    let router = app::router(&iam);
    let cached = cached(&database).await;
    let mut bare = MySqlConnection::connect(&database.url()).await.unwrap();
    let server = server(&mut bare).await;
    println!("\nMySQL: us of processor time, this program + the server, {REQUESTS} one after another");
    for round in 0..=ROUNDS {
        for path in ["/open", "/me", "/admin", "/payroll"] {
            let before = (usage::cpu(std::process::id()), server.map(usage::cpu));
            for _ in 0..REQUESTS {
                assert_eq!(send(&router, path, &cookie).await, 200, "{path}");
            }
            report(round, path, server, before);
        }
        let before = (usage::cpu(std::process::id()), server.map(usage::cpu));
        for _ in 0..REQUESTS {
            assert_eq!(send(&cached, "/me", &cookie).await, 200);
        }
        report(round, "/me, with a session cache", server, before);
        let before = (usage::cpu(std::process::id()), server.map(usage::cpu));
        for _ in 0..REQUESTS {
            let query =
                sqlx::query_scalar::<_, i64>("SELECT auth_version FROM iam_user_account WHERE id = ?");
            let _ = query.bind(&[7_u8; 16][..]).fetch_all(&mut bare).await.unwrap();
        }
        report(round, "bare SELECT by key", server, before);
    }
}

/// The same service in another process, which reads a session once a second.
async fn cached(database: &Database) -> Router {
    let opened = database.open(&Arc::new(Faults::default())).await;
    let builder = app::builder(opened.faulty, "http://localhost:3000");
    app::router(&builder.session_cache(SessionCache::default()).build().await.unwrap())
}

/// The first round finds connections and statements that were never used, and is not told.
fn report(round: u32, what: &str, server: Option<u32>, before: (usage::Cpu, Option<usage::Cpu>)) {
    let micros = |now: usage::Cpu, before: usage::Cpu| {
        (now - before).others.running.as_secs_f64() * 1e6 / f64::from(REQUESTS)
    };
    let own = micros(usage::cpu(std::process::id()), before.0);
    let server = server.zip(before.1).map(|(server, before)| micros(usage::cpu(server), before));
    if round > 0 {
        let server = server.map_or_else(|| "?".to_owned(), |server| format!("{server:.0}"));
        println!("{what:28}{own:.0} + {server}");
    }
}

/// The server's process, if it runs here.
async fn server(connection: &mut MySqlConnection) -> Option<u32> {
    let file: String =
        sqlx::query_scalar(AssertSqlSafe("SELECT @@pid_file")).fetch_one(connection).await.ok()?;
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

criterion_group!(benches, requests, on_mysql);
criterion_main!(benches);
