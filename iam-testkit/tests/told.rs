//! The trail's copy in the log: it tells of what was kept, once, and of nothing that was undone.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use iam_core::{Actor, Argon2Params, Iam, Keys, NewAccount, Username};
use iam_store_sqlite::SqliteStore;
use iam_store_testkit::faults::{Faults, FaultyStore};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// How often an event was told since this was asked last.
    fn told(&self, event: &str) -> usize {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().filter(|line| line.contains("iam::audit") && line.contains(event)).count()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn the_log_tells_of_what_was_kept_and_once() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _guard = subscriber.set_default();
    let store = SqliteStore::open_in_memory().await.unwrap();
    store.migrate().await.unwrap();
    let faults = Arc::new(Faults::default());
    let behind = FaultyStore::new(store.clone(), Arc::clone(&faults));
    let iam =
        Iam::builder(behind, Keys::danger_known_for_tests()).argon2(Argon2Params::danger_weak_for_tests());
    let (iam, _worker) = iam.build_with_manual_worker().await.unwrap();
    let create = async |name: &str| {
        iam.accounts(&Actor::service()).create(NewAccount::new(Username::parse(name).unwrap())).await
    };
    create("amy").await.unwrap();
    assert_eq!(log.told("user_created"), 1);
    // Three units are undone, the fourth is kept.
    faults.conflicts.store(3, Ordering::SeqCst);
    create("bob").await.unwrap();
    assert_eq!(log.told("user_created"), 1);
    faults.conflicts.store(4, Ordering::SeqCst);
    assert!(create("cleo").await.is_err());
    assert_eq!(log.told("user_created"), 0, "nobody was made");
    // A transaction of the host's is the host's to keep.
    let prepared = iam
        .accounts(&Actor::service())
        .prepare(NewAccount::new(Username::parse("dora").unwrap()))
        .await
        .unwrap();
    let mut unit = iam_core::ports::Store::begin(&store).await.unwrap();
    iam.accounts(&Actor::service()).create_in(unit.as_mut(), &prepared).await.unwrap();
    assert_eq!(log.told("user_created"), 1);
}
