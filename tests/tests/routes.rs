//! Both examples say the same of their routes, and what they say is known: a change of a guard shows here, too.

use iam_core::{Iam, Keys};
use iam_store_sqlite::SqliteStore;

const GUARDS: &str = "\
METHOD PATH GUARD
GET / public
GET /documents/{id} same parent
GET /healthz public
GET /payroll step-up for payroll within 300 s
POST /payroll step-up for payroll within 300 s, once
GET /readyz public
GET /reports role admin or auditor
POST /reports role admin or auditor
GET /transfers signed in
POST /transfers step-up for transfer within 300 s, once, approving amount and payee";

#[tokio::test]
async fn both_examples_have_the_same_routes_and_guards() {
    let store = SqliteStore::open_in_memory().await.unwrap();
    store.migrate().await.unwrap();
    let keys = Keys::danger_known_for_tests();
    let iam = Iam::builder(store, keys).build().await.unwrap();
    let on_axum = axum_app::inventory(iam.clone().into(), axum_app::Documents::default());
    let on_actix = actix_app::inventory(&iam.into());
    assert_eq!(on_axum, on_actix);
    // The family's own addresses have their tests elsewhere.
    let text = on_axum.to_string();
    let own = text.lines().filter(|line| !line.ends_with("  iam"));
    let own: Vec<_> = own.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(own.join("\n"), GUARDS);
}
