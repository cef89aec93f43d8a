//! Callers with runtimes of their own, as the workers of a server have.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use iam_core::Readiness;
use iam_core::ports::{Store, TokenHash};
use iam_store_mysql::MySqlStore;
use tokio::runtime::{Builder, Runtime};

use crate::common::{BOTH, Database, others_on};
use crate::rows::sign_in;

const TOKEN: TokenHash = TokenHash::from_bytes([1; 32]);

/// What a worker does.
type Order = Box<dyn FnOnce(&Runtime, &MySqlStore) + Send>;

/// A thread with a runtime of one thread, which ends with its last order.
fn worker(store: MySqlStore) -> (mpsc::Sender<Order>, thread::JoinHandle<()>) {
    let (orders, ordered) = mpsc::channel::<Order>();
    let thread = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        for order in ordered {
            order(&runtime, &store);
        }
    });
    (orders, thread)
}

/// Reads at once, so many that each connection of the pool is used.
async fn reads(store: &MySqlStore) {
    let reads = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.session(&TOKEN).await.unwrap().is_some() })
    });
    for read in reads.collect::<Vec<_>>() {
        assert!(read.await.unwrap());
    }
}

#[test]
fn a_worker_that_stands_still_or_ends_stalls_nobody_else() {
    let main = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for server in BOTH {
        let Some(database) = main.block_on(Database::create(server)) else { continue };
        let store = main.block_on(async {
            let store = MySqlStore::connect(&database.url()).await.unwrap();
            store.migrate().await.unwrap();
            sign_in(&store).await;
            store
        });
        let (one, first) = worker(store.clone());
        let (other, second) = worker(store.clone());

        // The first one opens the connections, with a transaction on one of them, and then computes.
        let (tell, told) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let order: Order = Box::new(move |runtime, store| {
            let unit = runtime.block_on(async {
                reads(store).await;
                store.begin().await.unwrap()
            });
            tell.send(()).unwrap();
            // Its thread stands still, and so does its runtime.
            released.recv().unwrap();
            runtime.block_on(unit.commit()).unwrap();
        });
        one.send(order).unwrap();
        told.recv().unwrap();
        let before = main.block_on(connections(&database));
        let (tell, told) = mpsc::channel();
        let order: Order = Box::new(move |runtime, store| {
            let began = Instant::now();
            let mut slowest = Duration::ZERO;
            while began.elapsed() < Duration::from_secs(4) {
                let asked = Instant::now();
                runtime.block_on(reads(store));
                slowest = slowest.max(asked.elapsed());
            }
            tell.send(slowest).unwrap();
        });
        other.send(order).unwrap();
        let slowest = told.recv().unwrap();
        assert!(slowest < Duration::from_secs(1), "{server:?}: {slowest:?}");

        // The first one goes on and ends, and its connections live on.
        release.send(()).unwrap();
        drop(one);
        first.join().unwrap();
        let (tell, told) = mpsc::channel();
        let order: Order = Box::new(move |runtime, store| {
            runtime.block_on(reads(store));
            tell.send(()).unwrap();
        });
        other.send(order).unwrap();
        told.recv().unwrap();
        assert_eq!(main.block_on(connections(&database)), before, "{server:?}");
        drop(other);
        second.join().unwrap();
    }
}

/// The connections of the store, by their numbers.
async fn connections(database: &Database) -> Vec<u64> {
    let mut connection = database.connection().await;
    let mut found = others_on(&mut connection, &database.name).await.unwrap();
    found.sort_unstable();
    found
}

#[test]
fn a_store_outlives_the_runtime_that_it_was_connected_on() {
    let here = Builder::new_current_thread().enable_all().build().unwrap();
    for server in BOTH {
        let Some(database) = here.block_on(Database::create(server)) else { continue };
        let first = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let store = first.block_on(async {
            let store = MySqlStore::connect(&database.url()).await.unwrap();
            store.migrate().await.unwrap();
            sign_in(&store).await;
            reads(&store).await;
            store
        });
        drop(first);
        here.block_on(async {
            reads(&store).await;
            store.begin().await.unwrap().commit().await.unwrap();
            assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
        });
    }
}
