//! What the rows look like, and what is made of rows that nobody can read.

use std::time::Duration;

use iam_core::ports::{
    ChallengeId, Changed, Delivery, GrantSource, Inserted, LimitKey, LoginIdentifier, MessageId, NewMessage,
    NewSession, Proof, ProofMethod, Proofs, Reservation, RoleGrant, SessionState, Settled, Store, TokenHash,
};
use iam_core::{
    Account, AccountId, AccountStatus, Channel, Client, EndReason, Role, RoleId, RoleName, SessionId,
    StoreErrorKind, Throttle, Timestamp, Username,
};
use iam_store_mysql::MySqlStore;

use crate::common::{BOTH, Database};

const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

pub(crate) fn account() -> Account {
    Account::new(AccountId::from_bytes([1; 16]), Username::parse("alice").unwrap(), NOW)
}

fn session(n: u8) -> NewSession {
    NewSession {
        id: SessionId::from_bytes([n; 16]),
        account: account().id,
        auth_version: account().auth_version,
        token: TokenHash::from_bytes([n; 32]),
        state: SessionState::Active,
        proofs: Proofs::of(Proof::new(ProofMethod::Password, NOW)),
        tries: 1,
        login_at: NOW,
        long: false,
        client: Client::at([192, 0, 2, 1].into()).user_agent(b"test"),
    }
}

/// Account 1 with a session whose token is 1.
pub(crate) async fn sign_in(store: &MySqlStore) {
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.accounts().insert(&account(), None).await.unwrap(), Inserted::Done);
    assert_eq!(unit.sessions().insert(&session(1)).await.unwrap(), Changed::Done);
    unit.commit().await.unwrap();
}

async fn with_session(database: &Database) -> MySqlStore {
    let store = MySqlStore::connect(&database.url()).await.unwrap();
    store.migrate().await.unwrap();
    sign_in(&store).await;
    store
}

#[tokio::test]
async fn the_session_row_has_the_specifications_columns() {
    type Row = (String, Option<String>, Option<String>, String, String);
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        let row = async || {
            let sql = "SELECT CAST(login_time AS CHAR), CAST(logout_time AS CHAR), end_reason, client_address, user_agent
                FROM iam_auth_session";
            sqlx::query_as::<_, Row>(sql).fetch_one(&mut database.connection().await).await.unwrap()
        };
        let (now, address, agent) =
            ("2026-01-01 00:00:00.000000".to_owned(), "192.0.2.1".to_owned(), "test".to_owned());
        assert_eq!(row().await, (now.clone(), None, None, address.clone(), agent.clone()));
        let mut unit = store.begin().await.unwrap();
        assert!(unit.sessions().end(SessionId::from_bytes([1; 16]), EndReason::Logout, NOW).await.unwrap());
        unit.commit().await.unwrap();
        assert_eq!(row().await, (now.clone(), Some(now), Some("logout".to_owned()), address, agent));
    }
}

#[tokio::test]
async fn only_a_logout_has_a_logout_time() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        let mut unit = store.begin().await.unwrap();
        assert_eq!(unit.sessions().end_all(account().id, EndReason::Revoked, NOW).await.unwrap(), 1);
        unit.commit().await.unwrap();
        let row: (bool, bool) =
            sqlx::query_as("SELECT ended_at IS NULL, logout_time IS NULL FROM iam_auth_session")
                .fetch_one(&mut database.connection().await)
                .await
                .unwrap();
        assert_eq!(row, (false, true));
    }
}

#[tokio::test]
async fn a_status_of_a_newer_program_is_read_and_allows_nothing() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        let newer = "ALTER TABLE iam_user_account DROP CONSTRAINT iam_user_account_status;
            UPDATE iam_user_account SET status = 'gone'";
        database.run(newer).await;
        let found = store.session(&TokenHash::from_bytes([1; 32])).await.unwrap().unwrap();
        assert_eq!(found.account_status, AccountStatus::Unknown, "{server:?}");
    }
}

#[tokio::test]
async fn what_can_not_be_read_is_corrupt_and_no_panic() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        let token = TokenHash::from_bytes([1; 32]);
        // As a row looks after a fault, or that a much newer program wrote.
        let damage = [
            (
                "UPDATE iam_user_account SET username = x'61ff'",
                "UPDATE iam_user_account SET username = 'alice'",
            ),
            (
                "SET foreign_key_checks = 0;
                 UPDATE iam_user_account SET parent_id = x'09090909090909090909090909090909'",
                "UPDATE iam_user_account SET parent_id = NULL",
            ),
            (
                "SET SESSION sql_mode = ''; UPDATE iam_auth_session SET login_time = '0000-00-00'",
                "UPDATE iam_auth_session SET login_time = '2026-01-01'",
            ),
        ];
        for (damaged, repaired) in damage {
            database.run(damaged).await;
            let error = store.session(&token).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{server:?} {damaged}: {error:?}");
            database.run(repaired).await;
            assert!(store.session(&token).await.unwrap().is_some(), "{repaired}");
        }
    }
}

#[tokio::test]
async fn an_end_for_a_reason_unheard_of_is_an_end() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        for end in [
            "UPDATE iam_auth_session SET ended_at = '1970-01-01 00:00:00.000001', end_reason = 'unheard of'",
            "ALTER TABLE iam_auth_session DROP CONSTRAINT iam_auth_session_end;
             UPDATE iam_auth_session SET end_reason = NULL",
        ] {
            database.run(end).await;
            let found = store.session(&TokenHash::from_bytes([1; 32])).await.unwrap().unwrap();
            assert_eq!(found.ended, Some((Timestamp::from_micros(1), EndReason::Other)));
        }
    }
}

#[tokio::test]
async fn a_hash_that_is_no_text_is_one_that_nothing_matches() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        database.run("UPDATE iam_user_account SET password_hash = x'246172ff'").await;
        let alice = LoginIdentifier::parse("alice").unwrap();
        let candidate =
            store.reader().await.unwrap().accounts().login_candidate(&alice).await.unwrap().unwrap();
        assert_eq!(candidate.password.unwrap().expose(), "$ar\u{fffd}");
    }
}

#[tokio::test]
async fn names_are_neither_folded_nor_padded() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        for other in ["Alice", "alice ", "ALICE", "alic\u{e9}"] {
            let name = Username::from_stored(other);
            assert!(
                store.reader().await.unwrap().accounts().by_username(&name).await.unwrap().is_none(),
                "{other:?}"
            );
        }
        // What was written by somebody else does not collide either.
        database
            .run(
                "INSERT INTO iam_user_account (id, username, status, auth_version, created_at, updated_at)
                 VALUES (x'02020202020202020202020202020202', 'alice ', 'active', 1, '2026-01-01', '2026-01-01')",
            )
            .await;
        assert_eq!(
            store.reader().await.unwrap().accounts().by_username(&account().username).await.unwrap(),
            Some(account())
        );
    }
}

#[tokio::test]
async fn limits_count_on_after_a_restart() {
    let rule = Throttle {
        free: 2,
        first_delay: Duration::from_mins(1),
        max_delay: Duration::from_mins(1),
        forget_after: Duration::from_hours(1),
    };
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        with_session(&database).await;
        for count in 1..=2 {
            let store = MySqlStore::connect(&database.url()).await.unwrap();
            let mut unit = store.begin().await.unwrap();
            let done = unit.limits().reserve(&LimitKey::from_bytes([1; 32]), &rule, NOW).await.unwrap();
            assert!(matches!(done, Reservation::Granted(slot) if slot.count == count));
            unit.commit().await.unwrap();
        }
        let store = MySqlStore::connect(&database.url()).await.unwrap();
        let mut unit = store.begin().await.unwrap();
        let done = unit.limits().reserve(&LimitKey::from_bytes([1; 32]), &rule, NOW).await.unwrap();
        assert_eq!(done, Reservation::Refused(NOW.plus(Duration::from_mins(1))));
    }
}

/// Message `n` of account 1.
fn message(n: u8) -> NewMessage {
    NewMessage {
        id: MessageId::from_bytes([n; 16]),
        account: account().id,
        challenge: Some(ChallengeId::from_bytes([n; 16])),
        channel: Channel::Email,
        sealed: vec![n; 100],
        created_at: NOW,
        expires_at: NOW.plus(Duration::from_mins(5)),
    }
}

async fn put(store: &MySqlStore, messages: std::ops::RangeInclusive<u8>) {
    let mut unit = store.begin().await.unwrap();
    for n in messages {
        unit.outbox().put(&message(n)).await.unwrap();
    }
    unit.commit().await.unwrap();
}

#[tokio::test]
async fn what_is_over_has_no_sealed_message() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        put(&store, 1..=5).await;
        let mut unit = store.begin().await.unwrap();
        assert_eq!(unit.outbox().claim(NOW, NOW, 5).await.unwrap().len(), 5);
        let outbox = unit.outbox();
        for (n, settled) in [
            (1, Settled::Over(Delivery::Accepted)),
            (2, Settled::Over(Delivery::Refused)),
            (3, Settled::Again(NOW)),
        ] {
            assert!(outbox.settle(MessageId::from_bytes([n; 16]), 1, settled, NOW).await.unwrap());
        }
        assert_eq!(outbox.replace(ChallengeId::from_bytes([4; 16]), NOW).await.unwrap(), 1);
        unit.commit().await.unwrap();
        let rows = async || {
            let sql = "SELECT HEX(LEFT(id, 1)) FROM iam_outbox WHERE sealed IS NOT NULL ORDER BY id";
            sqlx::query_scalar::<_, String>(sql).fetch_all(&mut database.connection().await).await.unwrap()
        };
        assert_eq!(rows().await, ["03", "05"], "{server:?}");
        let mut unit = store.begin().await.unwrap();
        let expired = unit.outbox().expire(NOW.plus(Duration::from_mins(5)), 9).await.unwrap();
        unit.commit().await.unwrap();
        assert!(expired.len() == 2 && rows().await.is_empty(), "{server:?}");
    }
}

// -- two units at once --

/// Workers on one outbox pass each other by.
#[tokio::test]
async fn who_takes_messages_waits_for_nobody() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        put(&store, 1..=4).await;
        // New ones, and then those whose worker died.
        for stale_before in [NOW, NOW.plus(Duration::from_secs(1))] {
            let mut one = store.begin().await.unwrap();
            let mut other = store.begin().await.unwrap();
            let mut ids = Vec::new();
            for unit in [&mut one, &mut other] {
                let claiming = unit.outbox().claim(NOW.plus(Duration::from_secs(2)), stale_before, 2);
                let claimed = tokio::time::timeout(Duration::from_secs(1), claiming).await.unwrap().unwrap();
                assert_eq!(claimed.len(), 2, "{server:?}");
                ids.extend(claimed.into_iter().map(|claimed| claimed.message.id));
            }
            one.commit().await.unwrap();
            other.commit().await.unwrap();
            ids.sort_unstable();
            assert_eq!(ids, [1, 2, 3, 4].map(|n| message(n).id));
            // As if they had been taken when they were made.
            database.run("UPDATE iam_outbox SET claimed_at = created_at").await;
        }
    }
}

/// A session is inserted while its account is being locked: the one comes before the other as a whole.
#[tokio::test]
async fn a_session_waits_for_a_change_of_its_account_and_then_sees_it() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        let mut locking = store.begin().await.unwrap();
        let (active, locked) = (AccountStatus::Active, AccountStatus::Locked);
        assert!(locking.accounts().set_status(account().id, active, locked, NOW).await.unwrap());
        let other = store.clone();
        let inserting = tokio::spawn(async move {
            let mut unit = other.begin().await.unwrap();
            let done = unit.sessions().insert(&session(2)).await.unwrap();
            unit.commit().await.unwrap();
            done
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!inserting.is_finished(), "it waits");
        locking.commit().await.unwrap();
        assert_eq!(inserting.await.unwrap(), Changed::Stale);
    }
}

/// Two sign-ins of one account that both renew its hash at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sign_ins_of_one_account_at_once_do_not_lock_each_other_out() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        let mut tasks = tokio::task::JoinSet::new();
        for n in 2..66 {
            let store = store.clone();
            tasks.spawn(async move {
                let mut unit = store.begin().await.unwrap();
                assert_eq!(unit.sessions().insert(&session(n)).await.unwrap(), Changed::Done);
                let hash = iam_core::PasswordHash::from_stored("$x");
                let version = account().auth_version;
                let rehash =
                    iam_core::ports::Rehash { old: &hash, new: &hash, unchanged_since: None, at: NOW };
                unit.accounts().rehash(account().id, version, &rehash).await.unwrap();
                unit.commit().await.unwrap();
            });
        }
        tasks.join_all().await;
    }
}

/// Whether a role is held stays so until the unit is over: of two programs that start at once, one makes the
/// administrator.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_found_a_role_unheld_is_the_first_to_give_it() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = with_session(&database).await;
        let role = Role::new(RoleId::from_bytes([1; 16]), RoleName::parse("admin").unwrap());
        let mut unit = store.begin().await.unwrap();
        assert_eq!(unit.roles().insert(&role, NOW).await.unwrap(), Inserted::Done);
        unit.commit().await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for n in 2..10_u8 {
            let (store, role) = (store.clone(), role.id);
            tasks.spawn(async move {
                let mut unit = store.begin().await.unwrap();
                if unit.roles().is_held(role).await.unwrap() {
                    return false;
                }
                let name = Username::parse(&format!("admin-{n}")).unwrap();
                let account = Account::new(AccountId::from_bytes([n; 16]), name, NOW);
                assert_eq!(unit.accounts().insert(&account, None).await.unwrap(), Inserted::Done);
                let grant = RoleGrant {
                    account: account.id,
                    role,
                    source: GrantSource::LOCAL,
                    granted_by: None,
                    granted_at: NOW,
                    expires_at: None,
                };
                assert!(unit.roles().grant(&grant).await.unwrap());
                unit.commit().await.unwrap();
                true
            });
        }
        let first = tasks.join_all().await.into_iter().filter(|first| *first).count();
        assert_eq!(first, 1, "{server:?}");
    }
}
