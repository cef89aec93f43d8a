//! The server's clock, and what happens when the clock was put back between two runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use iam_core::ports::{LoginIdentifier, Store};
use iam_core::protocol::{Activity, Authentication, Carrier, Login, SessionToken};
use iam_core::{
    Actor, Argon2Params, Client, Clock, Iam, Keys, ManualTime, NewAccount, PlainPassword, Readiness,
    SteadyClock, SystemClock, Timestamp, Username,
};
use iam_store_mysql::MySqlStore;
use iam_store_testkit::faults::{Faults, FaultyStore};

use crate::common::{BOTH, Database};

const PASSWORD: &str = "correct horse battery staple";

async fn program(database: &Database, faults: &Arc<Faults>, clock: SteadyClock) -> Iam {
    let store = MySqlStore::connect(&database.url()).await.unwrap();
    store.migrate().await.unwrap();
    let keys = Keys::danger_known_for_tests();
    let builder = Iam::builder(FaultyStore::new(store, Arc::clone(faults)), keys)
        .argon2(Argon2Params::danger_weak_for_tests())
        .clock(clock);
    builder.build_with_manual_worker().await.unwrap().0
}

async fn sign_in(iam: &Iam) -> SessionToken {
    let login = Login {
        identifier: &LoginIdentifier::parse("alice").unwrap(),
        password: PlainPassword::new(PASSWORD).unwrap(),
        device: None,
        trusted: None,
        carrier: Carrier::Cookie,
        stay_signed_in: false,
        replaces: None,
        client: &Client::at([192, 0, 2, 1].into()),
    };
    iam.protocol().login(login).await.unwrap().token
}

async fn is_signed_in(iam: &Iam, token: &SessionToken) -> bool {
    let client = Client::at([192, 0, 2, 1].into());
    let found = iam.protocol().authenticate(token, Activity::Background, &client).await.unwrap();
    matches!(found, Authentication::SignedIn(_))
}

#[tokio::test]
async fn the_servers_clock_is_utc_in_any_zone_and_agrees_with_this_machines() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let iam = program(&database, &Arc::default(), SteadyClock::new()).await;
        assert_eq!(iam.readiness().await.unwrap(), Readiness::Ready, "{server:?}");
        let elsewhere = database.pool(1, "SET time_zone = '+05:45'").await;
        let found = MySqlStore::from_pool(elsewhere).database_time().await.unwrap();
        let now = SystemClock.now();
        let difference = found.since(now).max(now.since(found));
        assert!(difference < Duration::from_secs(5), "{server:?}: {difference:?}");
    }
}

#[tokio::test]
async fn a_clock_put_back_between_two_runs_revives_no_session_and_readiness_tells_a_wrong_one() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let faults = Arc::new(Faults::default());
        let start = Timestamp::from_micros(1_767_225_600_000_000);
        let hour = Duration::from_hours(1);
        let at = |time| SteadyClock::of(ManualTime::new(time));
        faults.set_database_time(Some(start.plus(hour)));
        let iam = program(&database, &faults, at(start.plus(hour))).await;
        let new = NewAccount::new(Username::parse("alice").unwrap())
            .password(PlainPassword::new(PASSWORD).unwrap());
        iam.accounts(&Actor::service()).create(new).await.unwrap();
        let session = sign_in(&iam).await;
        assert!(is_signed_in(&iam, &session).await);
        iam.stopped().await.unwrap();
        drop(iam);

        faults.set_database_time(Some(start));
        let iam = program(&database, &faults, at(start)).await;
        assert!(!is_signed_in(&iam, &session).await, "{server:?}");
        let entries = MySqlStore::connect(&database.url())
            .await
            .unwrap()
            .reader()
            .await
            .unwrap()
            .audit()
            .entries(None, 99)
            .await
            .unwrap();
        assert_eq!(entries.iter().filter(|entry| entry.record.event == "sys_clock_put_back").count(), 1);
        assert!(is_signed_in(&iam, &sign_in(&iam).await).await);
        for (secs, wrong, warned) in [(4, false, false), (6, false, true), (31, true, false)] {
            faults.set_database_time(Some(start.plus(Duration::from_secs(secs))));
            let found = iam.readiness().await.unwrap();
            assert_eq!(matches!(found, Readiness::ClockWrong(_)), wrong, "{server:?} {secs}: {found:?}");
            assert_eq!(matches!(found, Readiness::ClockDiffers(_)), warned, "{server:?} {secs}: {found:?}");
        }
        // After that time, what was signed in before the clock was put back is still over.
        let later = program(&database, &faults, at(start.plus(Duration::from_secs(31)))).await;
        assert!(!is_signed_in(&later, &session).await);
        faults.down.store(true, Ordering::SeqCst);
        assert!(iam.readiness().await.is_err());
    }
}
