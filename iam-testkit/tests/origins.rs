//! Where a request to the family's own addresses comes from: each that changes something asks, whatever cookies come with it. New ones are
//! found here by themselves.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use std::collections::BTreeSet;

use iam_core::Actor;
use iam_testkit::{PASSWORD, PEER, TestIam};
use iam_web::{Closing, WebRequest};

/// Fields that would do for most of the forms.
const FORM: &str =
    "username=alice&password=x&new_password=x&current_password=x&code=123456&method=totp&kind=totp&name=x";

/// The status, and whether a cookie is set or taken away.
async fn send(test: &TestIam, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, bool) {
    let web = test.web();
    let endpoints = web.auth_endpoints();
    let (_, endpoint) =
        endpoints.into_iter().find(|(pattern, _)| iam_web::path_matches(pattern, path)).unwrap();
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    let request = WebRequest {
        method: method.to_owned(),
        target: path.to_owned(),
        headers: headers.collect(),
        body: body.to_owned().into(),
    };
    let context = web.context(Ok(PEER.ip()));
    let answer = context.handle(endpoint, &request).await;
    let sets = match context.close(answer.status, |_| true) {
        Closing::Append(headers) => headers.iter().any(|(name, value)| {
            // A form is bound to a cookie of its own, for anybody.
            *name == "set-cookie" && !value.starts_with("iam_pre=")
        }),
        Closing::Replace(_) => true,
    };
    (answer.status, sets)
}

#[tokio::test]
async fn every_endpoint_that_changes_something_asks_where_it_comes_from() {
    let test = TestIam::new().await;
    let alice = test.signed_in("alice").role("auditor").await;
    let over = test.signed_in("bob").await;
    test.iam().sessions(&Actor::service()).revoke(over.account(), over.session()).await.unwrap();
    let cookies = [
        alice.cookie(),
        over.cookie(),
        format!("iam_session={}", "A".repeat(43)),
        format!("iam_pre={0}; iam_device={0}; iam_trusted=totp.{0}", "A".repeat(43)),
    ];
    let mut asked = BTreeSet::new();
    for (pattern, _) in test.web().auth_endpoints() {
        let path = pattern.replace("{id}", &"A".repeat(43)).replace("{token}", &"A".repeat(43));
        assert!(!path.contains('{'), "{path}: what stands there is not known");
        let is_json = path.starts_with("/api");
        let login = format!(r#"{{"username":"alice","password":"{PASSWORD}"}}"#);
        let (content_type, body) = match path.as_str() {
            "/api/v1/auth/login" => ("application/json", login.as_str()),
            _ if is_json => ("application/json", r#"{"code":"123456","method":"totp"}"#),
            _ => ("application/x-www-form-urlencoded", FORM),
        };
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            for cookie in &cookies {
                for from in [
                    &[("origin", "https://evil.example")][..],
                    &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
                    &[("origin", "null")],
                    &[],
                ] {
                    let own = [("cookie", cookie.as_str()), ("content-type", content_type)];
                    let (status, sets) = send(&test, method, &path, &[&own, from].concat(), body).await;
                    if status == 405 {
                        continue;
                    }
                    let what = format!("{method} {path} {cookie} {from:?}");
                    // Nobody is signed in, or there is nothing: that comes first.
                    assert!(matches!(status, 401 | 403 | 404), "{what}: {status}");
                    assert!(status == 403 || *cookie != cookies[0], "{what}: {status}");
                    assert!(!sets, "{what}");
                    asked.insert(path.clone());
                }
            }
        }
    }
    assert!(asked.len() > 25, "{asked:?}");
    let own = [("cookie", cookies[0].as_str()), ("origin", "http://localhost")];
    assert_eq!(send(&test, "POST", "/api/v1/auth/logout", &own, "").await, (204, true), "she was signed in");
}
