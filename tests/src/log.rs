//! What an example application writes into its log.

use std::time::Duration;

use crate::program::Running;
use crate::{Backend, Program};

/// A set-up link shows in no line of the log, however somebody has spelled it. (Its owner is shown it outside of the log.)
pub async fn no_link_shows_in_the_log(program: &'static str) {
    let program = Program::new(program, Backend::Sqlite, std::iter::empty()).await.with("RUST_LOG", "info");
    let running = program.start();
    let said = said_until(&running, "/auth/setup/").await;
    let (_, token) = said.split_once("/auth/setup/").expect("a link is shown");
    let token = token.lines().next().unwrap().trim().to_owned();
    assert!(token.len() >= 40, "{said}");

    let (first, second) = token.split_at(20);
    let encoded = first.bytes().map(|b| format!("%{b:02X}")).collect::<Vec<_>>().concat();
    let spelled = [
        format!("/auth/setup/{token}"),
        format!("/auth/setup/{token}."),
        format!("/auth/setup/{token}),"),
        format!("/auth/setup/{token}/"),
        format!("/auth/setup//{token}"),
        format!("//auth//setup//{token}"),
        format!("/auth/setup/{first}.{second}"),
        format!("/auth/setup/{first}%2f{second}"),
        format!("/auth/setup/{encoded}{second}"),
        format!("/auth/%73etup/{first}"),
        format!("/auth/setup%2F{first}"),
        format!("/mounted/elsewhere/auth/setup/{first}"),
        format!("/auth/setup/{first}%0aINFO%20{second}?{token}"),
        format!("/reports/{token}"),
    ];
    for target in &spelled {
        for method in ["GET", "POST"] {
            let (status, _) = running.browser().send_raw(method, target).await;
            assert!(matches!(status, 200 | 303 | 400..=499), "{method} {target}: {status}");
        }
    }
    running.browser().open("/auth/login").await;
    let said = said_until(&running, "path=\"/auth/login\"}").await;
    let logged: Vec<&str> = said.lines().filter(|line| line.contains("request{")).collect();
    // What has no route some frameworks answer before anything is logged.
    assert!(logged.iter().filter(|line| line.contains("/auth/setup/***")).count() >= 10, "{said}");
    // Its owner alone is shown it.
    for line in said.lines().filter(|line| !line.trim_start().starts_with("http")) {
        let shows = |part: &str| line.contains(part);
        assert!(!shows(first) && !shows(second) && !shows(&encoded), "{line}");
    }
}

/// What a program has said, once a part of it is there: it is read by a thread of ours. All that was said before is there, too.
async fn said_until(running: &Running, part: &str) -> String {
    for _ in 0..1000 {
        let said = running.said();
        // A whole line of it.
        if said.split_once(part).is_some_and(|(_, rest)| rest.contains('\n')) {
            return said;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{part}: {}", running.said())
}
