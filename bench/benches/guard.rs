//! What a request pays for the layer, a guard and an extractor, without sockets.

#![expect(clippy::unwrap_used, reason = "a benchmark that can't be set up has nothing to measure")]

use axum::Router;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use iam_bench::app;
use tokio::runtime::Runtime;
use tower::ServiceExt;

fn requests(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (router, cookie) = runtime.block_on(async {
        let store = app::store(folder.path()).await;
        let iam = app::builder(store, "http://localhost:3000").build().await.unwrap();
        app::add(&iam, "amy", Some("admin")).await;
        let cookie = app::session_cookie(&iam, "amy").await;
        app::prove(&iam, &cookie).await;
        (app::router(&iam), cookie)
    });
    let cases = [
        ("bare route, no layer", app::bare_router(), "/open"),
        ("unguarded route", router.clone(), "/open"),
        ("requires_login", router.clone(), "/me"),
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

criterion_group!(benches, requests);
criterion_main!(benches);
