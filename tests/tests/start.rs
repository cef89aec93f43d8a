//! What a service is told at its start, rather than at somebody's sign-in.

#![expect(clippy::unwrap_used, reason = "a test may stop at once")]

use iam_axum::settings::IamSettings;
use iam_core::{Actor, Error, Iam, KeyRing, Keys, NewAccount, PepperRing, Username};
use iam_store_sqlite::SqliteStore;

const OLD: &str = "0:3Kf0mZ0q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM=";
const NEW: &str = "1:Zk8s0Qh3vXn6Wb1yTg5LrJ2mPd7cFu9aEo4iKxVtBqY=";
const OTHER: &str = "0:q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM3Kf0mZ0=";
const SECRET: &str = "mD0vR4uT8yH2kN6qW1zS5xC9bF3gJ7lPaEoIiUtYrQw=";
/// The same id as [`OTHER`].
const THIRD: &str = "0:hX7cV1nB5mL9kJ3gF6dS0aP4oI8uY2tReWqZzMwNbQs=";

async fn store() -> SqliteStore {
    let store = SqliteStore::open_in_memory().await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn start(store: &SqliteStore, ring: &str) -> Result<Iam, String> {
    start_with(store, ring, None).await
}

async fn start_with(store: &SqliteStore, ring: &str, pepper: Option<&str>) -> Result<Iam, String> {
    let keys = Keys { secret: Keys::danger_known_for_tests().secret, ring: KeyRing::parse(ring).unwrap() };
    let mut builder = Iam::builder(store.clone(), keys);
    if let Some(pepper) = pepper {
        builder = builder.password_pepper(PepperRing::parse(pepper).unwrap());
    }
    builder.build().await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn every_key_that_something_may_be_sealed_under_must_be_there() {
    let store = store().await;
    start(&store, OLD).await.unwrap();
    for wrong in [OTHER, NEW, &format!("{NEW},{OTHER}")] {
        let refused = start(&store, wrong).await.unwrap_err();
        assert!(refused.contains("key 0") && refused.contains("MFA_ENCRYPTION_KEY"), "{refused}");
    }
    // A new key in front of the old one is how to change it; from then on both are needed.
    start(&store, &format!("{NEW},{OLD}")).await.unwrap();
    start(&store, &format!("{OLD},{NEW}")).await.unwrap();
    let refused = start(&store, OLD).await.unwrap_err();
    assert!(refused.contains("key 1"), "{refused}");
}

/// PW-08: a store that has seen a pepper key is of no use without it.
#[tokio::test]
async fn every_pepper_key_must_be_there() {
    let store = store().await;
    start(&store, OLD).await.unwrap();
    // The ids of the two kinds of keys have nothing to do with each other.
    start_with(&store, OLD, Some(OTHER)).await.unwrap();
    for wrong in [None, Some(THIRD), Some(NEW)] {
        let refused = start_with(&store, OLD, wrong).await.unwrap_err();
        assert!(refused.contains("pepper key 0") && refused.contains("IAM_PASSWORD_PEPPER"), "{refused}");
    }
    start_with(&store, OLD, Some(&format!("{NEW},{OTHER}"))).await.unwrap();
    let refused = start_with(&store, OLD, Some(OTHER)).await.unwrap_err();
    assert!(refused.contains("pepper key 1"), "{refused}");
    let sealing = OLD.replace("0:", "2147483648:");
    assert!(start(&store, &sealing).await.unwrap_err().contains("MFA_ENCRYPTION_KEY"));
}

#[tokio::test]
async fn an_administrators_name_that_is_taken_names_its_setting() {
    let store = store().await;
    let settings = IamSettings::from_lookup(|name| match name {
        "IAM_ADMIN_USERNAME" => Some("root".to_owned()),
        "IAM_ADMIN_PASSWORD" => Some("a long pass phrase".to_owned()),
        _ => None,
    })
    .unwrap();
    let iam = start(&store, OLD).await.unwrap();
    let somebody = NewAccount::new(Username::parse("root").unwrap());
    iam.accounts(&Actor::service()).create(somebody).await.unwrap();
    let refused = settings.bootstrap(&iam).await.unwrap_err();
    assert!(matches!(refused, Error::Misconfigured(_)), "{refused:?}");
    assert!(refused.to_string().contains("IAM_ADMIN_USERNAME"), "{refused}");
}

/// What the settings could not see by themselves is found when the account is made, and named.
#[tokio::test]
async fn settings_bring_the_pepper_and_name_a_refused_password() {
    let store = store().await;
    let settings = IamSettings::from_lookup(|name| {
        let value = match name {
            "IAM_SECRET_KEY" => SECRET,
            "MFA_ENCRYPTION_KEY" => OLD,
            "IAM_PASSWORD_PEPPER" => NEW,
            "IAM_ADMIN_USERNAME" => "root",
            "IAM_BASE_URL" => "http://127.0.0.1:3000",
            "IAM_ADMIN_PASSWORD" => "127.0.0.1-127.0.0.1",
            _ => return None,
        };
        Some(value.to_owned())
    })
    .unwrap();
    let iam = settings.builder(store.clone()).unwrap().build().await.unwrap();
    let refused = settings.bootstrap(&iam).await.unwrap_err();
    assert!(matches!(refused, Error::Misconfigured(_)), "{refused:?}");
    assert!(refused.to_string().contains("IAM_ADMIN_PASSWORD: password: is made of a name"), "{refused}");
    assert!(start(&store, OLD).await.unwrap_err().contains("IAM_PASSWORD_PEPPER"));
}
