//! Whole sign-ins, by two programs at once: limits are exact, and the flows' own order of locks lets them through.

use iam_core::ports::LoginIdentifier;
use iam_core::protocol::{Carrier, Login};
use iam_core::{
    Actor, Argon2Params, Client, Error, Iam, Keys, LoginLimits, NewAccount, PlainPassword, Username, Window,
};
use iam_store_mysql::MySqlStore;
use tokio::task::JoinSet;

use crate::common::{BOTH, Database};

const PASSWORD: &str = "correct horse battery staple";

async fn program(database: &Database, limits: LoginLimits) -> Iam {
    let store = MySqlStore::connect(&database.url()).await.unwrap();
    store.migrate().await.unwrap();
    let keys = Keys::danger_known_for_tests();
    Iam::builder(store, keys)
        .argon2(Argon2Params::danger_weak_for_tests())
        .login_limits(limits)
        .base_url("https://app.example".parse().unwrap())
        .build()
        .await
        .unwrap()
}

async fn sign_in(iam: &Iam, password: &str) -> Result<(), Error> {
    let identifier = LoginIdentifier::parse("alice").unwrap();
    let client = Client::at([192, 0, 2, 1].into());
    let password = PlainPassword::new(password).unwrap();
    let login = Login {
        identifier: &identifier,
        password,
        device: None,
        trusted: None,
        carrier: Carrier::Cookie,
        stay_signed_in: false,
        replaces: None,
        client: &client,
    };
    iam.protocol().login(login).await.map(drop)
}

/// How many sign-ins ended which way: in, wrong, throttled, and otherwise.
async fn at_once(programs: &[Iam; 2], count: usize, password: &'static str) -> [usize; 4] {
    let mut tasks = JoinSet::new();
    for n in 0..count {
        let iam = programs[n % 2].clone();
        tasks.spawn(async move { sign_in(&iam, password).await });
    }
    let mut ends = [0; 4];
    for end in tasks.join_all().await {
        ends[match end {
            Ok(()) => 0,
            Err(Error::Credentials) => 1,
            Err(Error::Throttled { .. }) => 2,
            Err(error) => {
                eprintln!("{error:?}");
                3
            }
        }] += 1;
    }
    ends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_wrong_passwords_at_once_only_the_free_tries_are_looked_at() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let limits = LoginLimits::default();
        let free = usize::try_from(limits.account.free).unwrap();
        let programs = [program(&database, limits).await, program(&database, limits).await];
        let new = NewAccount::new(Username::parse("alice").unwrap())
            .password(PlainPassword::new(PASSWORD).unwrap());
        programs[0].accounts(&Actor::service()).create(new).await.unwrap();
        let [signed_in, wrong, throttled, failed] = at_once(&programs, 200, "not the password at all").await;
        assert_eq!((signed_in, wrong), (0, free), "{server:?}");
        assert_eq!((throttled, failed), (200 - free, 0), "{server:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_right_passwords_at_once_none_fails() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let mut limits = LoginLimits::default();
        limits.account.free = u32::MAX;
        limits.address_in_flight = Window { limit: 1000, ..limits.address_in_flight };
        let programs = [program(&database, limits).await, program(&database, limits).await];
        let new = NewAccount::new(Username::parse("alice").unwrap())
            .password(PlainPassword::new(PASSWORD).unwrap());
        programs[0].accounts(&Actor::service()).create(new).await.unwrap();
        let ends = at_once(&programs, 100, PASSWORD).await;
        assert_eq!(ends, [100, 0, 0, 0], "{server:?}");
    }
}
