//! Sign-ins a second of people behind one address, beside those of as many behind an address each: what it costs that a sign-in holds
//! the row of its network.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that can't be set up has nothing to measure, and what it measured is for a person to read"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use iam_bench::app;
use iam_core::ports::LoginIdentifier;
use iam_core::protocol::{Carrier, Login};
use iam_core::{Argon2Params, Client, Iam, PlainPassword};
use iam_tests::{Backend, Database, Faults};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// People, each of whom signs in once in a round.
const PEOPLE: u32 = 200;
/// Sign-ins that are under way at once.
const AT_ONCE: u32 = 32;
/// Rounds of each kind, in turns.
const ROUNDS: u32 = 3;

#[derive(Clone, Copy)]
enum From {
    OneAddress,
    ManyAddresses,
}

impl From {
    fn client(self, n: u32) -> Client {
        let [_, _, high, low] = n.to_be_bytes();
        Client::at(IpAddr::V4(match self {
            Self::OneAddress => Ipv4Addr::LOCALHOST,
            Self::ManyAddresses => Ipv4Addr::new(10, 0, high, low),
        }))
    }
}

fn main() {
    let runtime = Runtime::new().unwrap();
    for (store, backend) in
        [("SQLite", Backend::Sqlite), ("MySQL", Backend::MySql), ("MariaDB", Backend::MariaDb)]
    {
        if !backend.is_there() {
            println!("\n{store}: no server (IAM_TEST_MYSQL_URL, IAM_TEST_MARIADB_URL)");
            continue;
        }
        for (cost, params) in [
            ("m=19456 t=2 p=1", Argon2Params::default()),
            // So that the hash is not what limits.
            ("hashes that cost nothing", Argon2Params::danger_weak_for_tests()),
        ] {
            runtime.block_on(compare(store, backend, cost, params));
        }
    }
}

async fn compare(store: &str, backend: Backend, cost: &str, params: Argon2Params) {
    let database = Database::create(backend).await;
    let opened = database.open(&Arc::new(Faults::default())).await;
    let builder = app::builder(opened.faulty, "http://localhost").argon2(params);
    let iam = builder.build().await.unwrap();
    for n in 0..PEOPLE {
        app::add(&iam, &format!("person{n}"), None).await;
    }
    println!("\n{store}, {cost}: {PEOPLE} people, {AT_ONCE} at once, sign-ins a second");
    // The first round finds connections and threads that have never done anything.
    round(&iam, From::ManyAddresses).await;
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        one.push(round(&iam, From::OneAddress).await);
        many.push(round(&iam, From::ManyAddresses).await);
    }
    for (what, rates) in [("behind one address", &one), ("behind an address each", &many)] {
        let shown: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
        println!("{what:28}{}", shown.join("  "));
    }
    let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    println!("{:28}{:.2}", "one / many, best rounds", best(&one) / best(&many));
}

/// Everybody signs in; how many did in a second.
async fn round(iam: &Iam, from: From) -> f64 {
    let next = Arc::new(AtomicU32::new(0));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (iam, next) = (iam.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= PEOPLE {
                    break;
                }
                let identifier = LoginIdentifier::parse(&format!("person{n}")).unwrap();
                let login = Login {
                    identifier: &identifier,
                    password: PlainPassword::new(app::PASSWORD).unwrap(),
                    device: None,
                    trusted: None,
                    carrier: Carrier::Cookie,
                    stay_signed_in: false,
                    replaces: None,
                    client: &from.client(n),
                };
                iam.protocol().login(login).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    f64::from(PEOPLE) / begun.elapsed().as_secs_f64()
}
