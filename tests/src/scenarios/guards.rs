use std::time::Duration;

use tokio::time::timeout;

use crate::{Adapter, Backend, World};

/// 401 to a program, the login page for a person, 403 for who is signed in: never a redirect.
pub async fn roles_are_asked_for(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut nobody = world.browser();
    let api = nobody.get("/reports").await;
    assert_eq!((api.status, api.json()["code"].as_str()), (401, Some("unauthenticated")));
    assert_eq!(api.header("www-authenticate"), Some("Bearer"));
    assert_eq!(nobody.send("GET", "/reports", &[("accept", "*/*")], Vec::new()).await.status, 401);
    assert_eq!(nobody.send("HEAD", "/reports", &[], Vec::new()).await.status, 401);
    let posted = nobody.submit("/reports", &[("title", "x")]).await;
    assert_eq!(posted.status, 401, "a POST is not redirected");
    assert!(posted.body.contains("href=\"&#x2f;auth&#x2f;login\""));

    let mut bob = world.signed_in("bob").await;
    for path in ["/reports", "/documents/2"] {
        let page = bob.open(path).await;
        assert_eq!((page.status, page.location()), (403, ""), "{path}");
        assert!(page.body.contains("bob") && page.body.contains("Sign out"));
        assert_eq!(bob.get(path).await.json()["code"], "forbidden");
    }
    assert_eq!(world.logged("authz_fail").await, 4);
    for (name, status) in [("amy", 200), ("gus", 200), ("max", 403)] {
        assert_eq!(world.signed_in(name).await.get("/reports").await.status, status, "{name}");
    }
}

/// TN-02.
pub async fn somebody_elses_document_looks_like_a_missing_one(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut bob = world.signed_in("bob").await;
    assert!(bob.open("/documents/1").await.body.contains("The plans of acme"));
    let others = bob.open("/documents/2").await;
    assert_eq!(others.status, 403);
    for path in ["/documents/3", "/documents/zz", "/documents/-1", "/documents/99999999999999999999"] {
        assert_eq!(bob.open(path).await.comparable(), others.comparable(), "{path}");
    }
    assert!(world.signed_in("gus").await.open("/documents/2").await.body.contains("The plans of globex"));
    // No parent matches nothing, not even an object without one.
    let mut max = world.signed_in("max").await;
    for path in ["/documents/1", "/documents/2", "/documents/3"] {
        assert_eq!(max.get(path).await.status, 403, "{path}");
    }
    assert_eq!(world.browser().get("/documents/1").await.status, 401);
}

/// Whoever reads the audit trail sees what was asked for and not met.
pub async fn refusals_say_what_was_asked_for(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut bob = world.signed_in("bob").await;
    assert_eq!(bob.get("/reports").await.status, 403);
    assert_eq!(bob.get("/documents/2").await.status, 403);
    let refusals = world.log().await.into_iter().filter(|entry| entry.event == "authz_fail");
    let mut asked: Vec<_> = refusals.map(|entry| entry.reason.unwrap_or_default()).collect();
    asked.sort();
    assert_eq!(asked, ["role admin or auditor", "same parent"]);
}

/// CSRF-01 on a host's own guarded route.
pub async fn forged_requests_are_refused(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    let origin = amy.origin();
    let token = amy.open("/reports").await.csrf_token();
    let theirs = world.signed_in("gus").await.open("/reports").await.csrf_token();
    let visitors = world.browser().open("/auth/login").await.csrf_token();
    let title = [("title", "x")];

    for headers in [
        &[("origin", origin.as_str())][..],
        &[("sec-fetch-site", "same-origin")],
        &[("origin", "null"), ("sec-fetch-site", "same-origin")],
        &[("x-csrf-token", token.as_str())],
    ] {
        assert_eq!(amy.submit_with("/reports", &title, headers).await.status, 201, "{headers:?}");
    }
    let mut refused = 0;
    for headers in [
        &[][..],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", &format!("{origin}0"))],
        &[("origin", &origin.replace("http:", "https:"))],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("x-csrf-token", "")],
        &[("x-csrf-token", theirs.as_str())],
        &[("x-csrf-token", visitors.as_str())],
        &[("x-csrf-token", token.as_str()), ("x-csrf-token", token.as_str())],
        &[("referer", origin.as_str())],
    ] {
        let answer = amy.submit_with("/reports", &title, headers).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (403, Some("csrf")), "{headers:?}");
        refused += 1;
    }
    assert_eq!(world.logged("malicious_csrf").await, refused);

    // A form's own field counts where the headers say nothing, and the handler still gets the form.
    let answer = amy.submit_with("/reports", &[("title", "Quarter"), ("csrf_token", &token)], &[]).await;
    assert_eq!(answer.status, 201);
    assert!(answer.body.contains("Added: Quarter"));
    for wrong in [theirs.as_str(), visitors.as_str(), ""] {
        let fields = [("title", "x"), ("csrf_token", wrong)];
        assert_eq!(amy.submit_with("/reports", &fields, &[]).await.status, 403);
    }
    let large = "x".repeat(17 * 1024);
    let fields = [("title", large.as_str()), ("csrf_token", &token)];
    assert_eq!(amy.submit_with("/reports", &fields, &[]).await.status, 403, "too large to be looked at");
    // With an Authorization header the cookie does not count at all.
    let headers = [("authorization", "Bearer x"), ("origin", origin.as_str())];
    assert_eq!(amy.submit_with("/reports", &title, &headers).await.status, 401);
}

async fn login(
    browser: &mut crate::Browser,
    fields: Vec<(&str, String)>,
    headers: &[(&str, &str)],
) -> crate::Answer {
    let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    browser.submit_with("/auth/login", &fields, headers).await
}

/// CSRF-01 on the family's own forms and JSON.
pub async fn forms_of_ours_need_their_token(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.browser();
    let page = amy.open("/auth/login").await;
    let token = page.csrf_token();
    let others = world.browser().open("/auth/login").await.csrf_token();
    let fields = |token: &str| {
        vec![
            ("username", "amy".to_owned()),
            ("password", crate::PASSWORD.to_owned()),
            ("csrf_token", token.to_owned()),
        ]
    };
    for wrong in ["", "x", others.as_str()] {
        let origin = amy.origin();
        let answer = login(&mut amy, fields(wrong), &[("origin", &origin)]).await;
        assert_eq!(answer.status, 403, "{wrong}");
        assert!(answer.body.contains("value=\"amy\""), "what was typed is kept");
        assert!(amy.session_cookie().is_none());
    }
    assert_eq!(login(&mut amy, fields(&token), &[("origin", "https://evil.example")]).await.status, 403);
    assert_eq!(login(&mut amy, fields(&token), &[]).await.status, 303, "the token alone is enough");

    let body = serde_json::json!({"username": "gus", "password": crate::PASSWORD}).to_string().into_bytes();
    let json = ("content-type", "application/json");
    let mut gus = world.browser();
    let refused = gus.send("POST", "/api/v1/auth/login", &[json], body.clone()).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (403, Some("csrf")));
    let token = gus.get("/api/v1/auth/csrf").await.json()["csrf_token"].as_str().unwrap().to_owned();
    let answer = gus.send("POST", "/api/v1/auth/login", &[json, ("x-csrf-token", &token)], body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        gus.send("POST", "/api/v1/auth/logout", &[("x-csrf-token", &token)], Vec::new()).await.status,
        403
    );
    assert_eq!(gus.get("/api/v1/me").await.status, 200);
}

/// Without a session, too: a page of somebody else's takes no cookie away.
pub async fn signing_out_asks_where_it_comes_from(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let live = world.signed_in("amy").await;
    let mut over = world.signed_in("bob").await;
    let token = over.open("/").await.csrf_token();
    assert_eq!(over.clone().submit("/auth/logout", &[("csrf_token", &token)]).await.status, 303);
    let mut unknown = world.browser();
    unknown.cookies.insert("iam_session".to_owned(), "A".repeat(43));
    let mut broken = world.browser();
    broken.cookies.insert("iam_session".to_owned(), "x".to_owned());
    let mut others = world.browser();
    others.cookies.insert("theme".to_owned(), "dark".to_owned());
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (name, browser) in
        [("live", live), ("over", over.clone()), ("unknown", unknown), ("broken", broken), ("others", others)]
    {
        for headers in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
            &[("origin", "null")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[],
        ] {
            for (path, body) in
                [("/auth/logout", ""), ("/auth/logout", "csrf_token=x"), ("/api/v1/auth/logout", "")]
            {
                let mut browser = browser.clone();
                let mut headers = headers.to_vec();
                headers.push(form);
                let answer = browser.send("POST", path, &headers, body.into()).await;
                let what = format!("{name}: {path} {headers:?} {body:?}");
                assert_eq!((answer.status, answer.set_cookies()), (403, Vec::new()), "{what}");
            }
        }
        // From a page of ours it is carried out, whatever the cookie was worth.
        let (mut by_form, mut by_json) = (browser.clone(), browser);
        let out = by_json.post_json("/api/v1/auth/logout", &serde_json::json!({})).await;
        assert_eq!(out.status, 204, "{name}");
        assert!(by_json.session_cookie().is_none(), "{name}");
        assert_eq!(by_form.submit("/auth/logout", &[]).await.status, 303, "{name}: its session is over");
        assert!(by_form.session_cookie().is_none(), "{name}");
    }
    // A browser that says nothing of itself has the token of the page that it shows, though the session went meanwhile.
    assert_eq!(over.submit_with("/auth/logout", &[("csrf_token", &token)], &[]).await.status, 303);
    // There is nothing to forge where no cookie comes, and nothing to take away.
    for headers in [&[form][..], &[form, ("origin", "https://evil.example")]] {
        let out = world.browser().send("POST", "/auth/logout", headers, Vec::new()).await;
        assert_eq!((out.status, out.set_cookies()), (303, Vec::new()));
        let out = world.browser().send("POST", "/api/v1/auth/logout", headers, Vec::new()).await;
        assert_eq!((out.status, out.set_cookies()), (204, Vec::new()));
    }
}

/// A browser opens a connection to anybody for any page, cookies included, and asks nobody whether the page may.
pub async fn an_upgrade_is_unsafe_whatever_its_method(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let amy = world.signed_in("amy").await;
    let upgrade =
        [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")];
    // A guard, and an extractor where there is none.
    for path in ["/reports", "/"] {
        let mut foreign = 0;
        for headers in [
            &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")][..],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "same-origin")],
            &[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
            &[],
        ] {
            let headers = [&upgrade[..], headers].concat();
            let answer = amy.handshake(path, &headers).await;
            assert_eq!(answer.0, 403, "{path} {headers:?}: {}", answer.1);
            assert!(answer.1.contains("\"csrf\""), "{}", answer.1);
            foreign += 1;
        }
        assert_eq!(foreign, 7);
        for headers in [&upgrade[1..], &[("upgrade", "h2c")]] {
            assert_eq!(amy.handshake(path, headers).await.0, 403, "{path} {headers:?}");
        }
        // Only an upgrade is one.
        let proxied = [("connection", "upgrade"), ("upgrade-insecure-requests", "1")];
        assert_eq!(amy.handshake(path, &proxied).await.0, 200, "as many a proxy sends it");
    }
    assert_eq!(world.logged("malicious_csrf").await, 18);
    // Our own pages are no sockets, and answer at once what is taken for one.
    let nobody = world.browser();
    for path in ["/auth/login", "/api/v1/auth/csrf"] {
        let answer = timeout(Duration::from_secs(8), nobody.handshake(path, &upgrade)).await;
        assert_eq!(answer.expect("an answer in time").0, 200, "{path}");
    }
    // Nobody who is signed in is forged; and a page can't be shown in place of a connection.
    let headers = [&upgrade[..], &[("origin", "https://evil.example"), ("accept", "text/html")]].concat();
    assert_eq!(nobody.handshake("/reports", &headers).await.0, 401);
    // No browser sends a bearer token by itself.
    let body = serde_json::json!({"username": "amy", "password": crate::PASSWORD, "token": true});
    let token = world.browser().post_json("/api/v1/auth/login", &body).await.json()["session_token"].clone();
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    for origin in [&[][..], &[("origin", "https://evil.example")]] {
        let headers = [&upgrade[..], &[("authorization", bearer.as_str())], origin].concat();
        assert_eq!(nobody.handshake("/reports", &headers).await.0, 200, "{origin:?}");
    }
    let origin = amy.origin();
    for site in [&[][..], &[("sec-fetch-site", "same-origin")]] {
        let headers = [&upgrade[..], &[("origin", origin.as_str())], site].concat();
        assert_eq!(amy.handshake("/reports", &headers).await.0, 200, "{headers:?}");
    }
}

/// RB-02.
pub async fn path_tricks_open_nothing(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for path in [
        "/reports",
        "/reports/",
        "//reports",
        "/./reports",
        "/x/../reports",
        "/%72eports",
        "/reports%2f",
        "/reports%20",
        "/reports;x",
        "/reports;",
        "/REPORTS",
        "/reports?x",
        "/reports/.",
        "/reports%00",
        "/%2freports",
        "/reports%3f",
        "/reports#x",
        "/documents/1",
        "/documents/1/",
        "/documents//1",
        "/documents/1%2f",
        "/documents/01",
        "/documents/+1",
        "/documents/1;",
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE"] {
            let answer = world.browser().send(method, path, &[], Vec::new()).await;
            assert!(matches!(answer.status, 400..=499), "{method} {path}: {}", answer.status);
        }
    }
    // As no proper client sends them; and as somebody who is signed in, but may not.
    let max = world.signed_in("max").await;
    for target in [
        "/./reports",
        "/x/../reports",
        "/reports/../reports",
        "/../reports",
        "/..;/reports",
        "/reports/..",
        "/%2e/reports",
        "/x/%2e%2e/reports",
        "//reports",
        "///reports//",
        "/\\reports",
        "http://localhost/reports",
        "http://localhost//reports",
        "/documents/../reports",
        "/documents/1/../1",
        "/documents/%31",
        "/auth/../reports",
        "/auth/login/../../reports",
        "*",
        "/healthz/../reports",
    ] {
        for browser in [&world.browser(), &max] {
            for method in ["GET", "HEAD", "POST"] {
                let (status, body) = browser.send_raw(method, target).await;
                assert!(matches!(status, 0 | 303 | 400..=499), "{method} {target}: {status}");
                assert!(
                    !body.contains("Reports</h1>") && !body.contains("The plans of"),
                    "{method} {target}: {body}"
                );
            }
        }
    }
}
