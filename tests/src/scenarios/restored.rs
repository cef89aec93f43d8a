use iam_core::{Actor, Restoration};
use serde_json::json;

use super::factors::{half_way, verify, with_app};
use super::trusted_devices::{comes, trusted, trusting};
use crate::{Adapter, Backend, PASSWORD, World};

/// The state of a backup from before all sessions ended and the last codes were used.
async fn put_back(world: &World) {
    world.execute("UPDATE iam_auth_session SET ended_at = NULL, end_reason = NULL, logout_time = NULL").await;
    world.execute("UPDATE iam_mfa_method SET last_step = last_step - 100").await;
}

async fn restored(world: &World) -> Restoration {
    let mut restoration = world.iam.restoration();
    let mut batches = 0;
    while restoration.is_more_waiting() {
        world.iam.restored(&mut restoration, &Actor::service()).await.unwrap();
        batches += 1;
        assert!(batches < 100, "it comes to an end");
    }
    restoration
}

/// A session that was signed out, a browser, a device, a link and a used code: all of them are good again by a backup, and none once it
/// was made safe.
pub async fn a_restored_backup_revives_nothing(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, trusting).await;
    let app = with_app(&world, "amy").await;
    let amy = trusted(&world, &app, "amy").await;
    assert_eq!(amy.clone().post_json("/api/v1/auth/logout", &json!({})).await.status, 204);
    assert_eq!(amy.clone().get("/reports").await.status, 401);
    let code = app.code(&world, 0);
    assert_eq!(verify(&mut half_way(&world, "amy").await, &code).await.status, 200);
    assert_eq!(verify(&mut half_way(&world, "amy").await, &code).await.status, 401, "used");
    world.iam.setup(&Actor::service()).issue_token().await.unwrap().expect("a link");
    // Begun and not confirmed, waiting to be sent, due: whatever there is.
    let mut max = world.signed_in("max").await;
    let begun = max.post_json("/api/v1/account/factors", &json!({"kind": "totp", "name": "phone"})).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    let _due = half_way(&world, "amy").await;

    put_back(&world).await;
    assert_eq!(amy.clone().get("/reports").await.status, 200, "what it is about");
    assert_eq!(verify(&mut half_way(&world, "amy").await, &code).await.status, 200, "and this");
    assert_eq!(comes(&amy, "amy", PASSWORD).await, "authenticated", "and this");
    put_back(&world).await;

    let done = restored(&world).await;
    assert_eq!(
        (done.accounts, done.links_voided, done.browsers_forgotten, done.methods_removed),
        (4, 1, 1, 1)
    );
    assert!(done.sessions_ended >= 4 && done.challenges_voided >= 1, "{done:?}");
    assert_eq!(amy.clone().get("/reports").await.status, 401);
    assert_eq!(max.get("/api/v1/me").await.status, 401);
    assert_eq!(comes(&amy, "amy", PASSWORD).await, "mfa_required", "the browser is a stranger");
    for steps in [-1, 0, 1] {
        let code = app.code(&world, steps);
        assert_eq!(verify(&mut half_way(&world, "amy").await, &code).await.status, 401, "{steps}");
    }
    let raised = "SELECT count(*) FROM iam_user_account WHERE auth_version >= 1767225600000000";
    assert_eq!(world.count(raised).await, 4, "above every version that was ever given out");
    let alive = "SELECT count(*) FROM iam_auth_session WHERE ended_at IS NULL AND state = 'active'";
    assert_eq!(world.count(alive).await, 0);
    let links = "SELECT count(*) FROM iam_ticket";
    assert_eq!(world.count(links).await, 0);
    assert_eq!(world.logged("store_restored").await, 4);

    // Within a minute the app goes on, and so does everybody.
    world.later(90);
    let mut again = half_way(&world, "amy").await;
    assert_eq!(verify(&mut again, &app.code(&world, 0)).await.status, 200);
    assert_eq!(again.get("/reports").await.status, 200);
    // Once more does no harm, but to sessions since.
    let done = restored(&world).await;
    assert_eq!(
        (done.accounts, done.links_voided, done.browsers_forgotten, done.methods_removed),
        (4, 0, 0, 0)
    );
    assert_eq!(again.get("/reports").await.status, 401);
    let _ = world.signed_in("bob").await;
}
