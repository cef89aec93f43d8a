use serde_json::json;

use super::factors::{VERIFY, half_way, verify, with_app};
use super::step_up::STEP_UP;
use crate::{Adapter, Backend, PASSWORD, World};

/// Forgets what was counted. The server keeps so many texts, of all databases, and no more.
async fn count_anew(world: &World) {
    world.execute("TRUNCATE TABLE performance_schema.events_statements_summary_by_digest").await;
}

/// What the store has asked since, one line each, and how many those were.
async fn asked(world: &World) -> (i64, String) {
    let all = world
        .text(
            "SELECT CAST(JSON_ARRAYAGG(JSON_ARRAY(COUNT_STAR, DIGEST_TEXT)) AS BINARY)
             FROM performance_schema.events_statements_summary_by_digest
             WHERE SCHEMA_NAME = DATABASE() AND DIGEST_TEXT NOT LIKE '%performance_schema%'",
        )
        .await;
    let asked: Vec<(i64, String)> = serde_json::from_str(&all).unwrap();
    let lines: Vec<String> = asked.iter().map(|(count, text)| format!("{count} x {text}")).collect();
    (asked.iter().map(|(count, _)| count).sum(), lines.join("\n"))
}

/// What `docs/ARCHITECTURE.md` says of statements, counted by the server.
pub async fn requests_cost_so_many_statements(adapter: Adapter, backend: Backend) {
    let world = World::without_worker(adapter, backend).await;
    let app = with_app(&world, "bob").await;
    // What is asked for the first time on a connection is prepared there, and counters are made once.
    let mut costs = Vec::new();
    for _ in 0..3 {
        costs.clear();
        world.later(60);
        let mut browser = world.browser();
        count_anew(&world).await;
        assert_eq!(browser.api_sign_in("amy", PASSWORD).await.status, 200);
        costs.push(("a sign-in by password", 12, asked(&world).await));

        // Its first use is written down, and then that of each minute.
        world.later(5);
        assert_eq!(browser.get("/reports").await.status, 200);
        world.later(5);
        count_anew(&world).await;
        assert_eq!(browser.get("/reports").await.status, 200);
        costs.push(("a guarded request", 1, asked(&world).await));

        let mut browser = half_way(&world, "bob").await;
        assert_eq!(verify(&mut browser, &app.code(&world, 0)).await.status, 200);
        world.later(60);
        let question = browser.post_json(STEP_UP, &json!({ "purpose": "transfers:send" })).await;
        assert_eq!(question.status, 200, "{}", question.body);
        count_anew(&world).await;
        let done = browser.post_json(VERIFY, &json!({ "code": app.code(&world, 0) })).await;
        assert_eq!(done.status, 200, "{}", done.body);
        costs.push(("the answer to a step-up by an app", 36, asked(&world).await));
        world.later(60);
    }
    let wrong: Vec<String> = costs
        .iter()
        .filter(|(_, most, (count, _))| count > most)
        .map(|(what, most, (count, lines))| format!("{what}: {count} statements, not {most}\n{lines}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
