//! What a start leaves behind that serves nobody; and what one says of its settings.

use std::time::Duration;

use crate::{Backend, PASSWORD, Program};

/// A second start where a service runs already fails, and that is all: the first one's set-up link is as good as before, and neither that
/// start nor a command is in the audit trail as the start of a service.
pub async fn a_start_that_serves_nobody_leaves_nothing(path: &'static str) {
    let program = Program::new(path, Backend::Sqlite, ["amy".to_owned()].into_iter()).await;
    let running = program.start();
    let link = loop {
        let said = running.said();
        let token =
            said.split_once("/auth/setup/").and_then(|(_, rest)| Some(rest.split_once('\n')?.0.to_owned()));
        match token {
            Some(token) => break format!("/auth/setup/{token}"),
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let raw = program.database.raw();
    let starts = "SELECT count(*) FROM iam_auth_log WHERE event = 'sys_startup'";
    let before = raw.count("SELECT count(*) FROM iam_auth_log").await;
    assert_eq!(raw.count(starts).await, 1);

    let (said, code) = program.start_at(running.address);
    assert!(code != Some(0) && said.contains("IAM_LISTEN"), "{said}");
    assert_eq!(raw.count("SELECT count(*) FROM iam_auth_log").await, before);
    assert_eq!(running.browser().get(&link).await.status, 200, "the link is as good as before");

    for words in [
        &["--routes"][..],
        &["explain", "amy", "GET", "/reports"],
        &["require-factor", "role", "auditor", "7d"],
        &["lift-factor", "role", "auditor"],
        &["reset-factors", "amy"],
        &["rotate-keys"],
        &["create-admin"],
    ] {
        let (_, said, code) = program.run(words);
        assert_eq!(code, Some(0), "{words:?}: {said}");
        assert_eq!(raw.count(starts).await, 1, "{words:?}");
    }
    assert_eq!(running.browser().get(&link).await.status, 404, "but create-admin makes another one");
}

/// Who starts the service again, where another address is free or after it was stopped, finds a link that works where they look for it; that
/// one from before works no more is said there.
pub async fn the_last_start_shows_the_link_that_works(path: &'static str) {
    let program = Program::new(path, Backend::Sqlite, ["amy".to_owned()].into_iter()).await;
    let shown = async || {
        let running = program.start();
        loop {
            let said = running.said();
            let link = said
                .split_once("/auth/setup/")
                .and_then(|(before, rest)| Some((before, rest.split_once('\n')?.0)));
            if let Some((before, token)) = link {
                assert!(before.contains("One that was shown before is void now:"), "{said}");
                break (format!("/auth/setup/{token}"), running);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (first, running) = shown().await;
    assert_eq!(running.browser().get(&first).await.status, 200);
    let (second, other) = shown().await;
    for service in [&running, &other] {
        assert_eq!(service.browser().get(&first).await.status, 404);
        assert_eq!(service.browser().get(&second).await.status, 200);
    }
}

/// A line break behind a value leads to no other database and makes no other password; a name that nothing reads is said.
pub async fn settings_are_read_as_they_are_meant(path: &'static str) {
    let program = Program::new(path, Backend::Sqlite, std::iter::empty()).await;
    let url = program.database.url();
    let program = program
        .with("IAM_DATABASE_URL", format!("{url}\n"))
        .with("IAM_ADMIN_USERNAME", "root\n")
        .with("IAM_ADMIN_PASSWORD", format!("{PASSWORD}\r\n"))
        .with("IAM_SESION_TIMEOUT", "1m");
    let running = program.start();
    assert_eq!(running.browser().api_sign_in("root", PASSWORD).await.status, 200);
    assert_eq!(program.database.raw().count("SELECT count(*) FROM iam_user_account").await, 1);
    let said = running.said();
    assert!(
        said.contains("IAM_SESION_TIMEOUT is set, and nothing reads it: is IAM_SESSION_TIMEOUT meant?"),
        "{said}"
    );
}
