use serde_json::json;

use super::factors::{half_way, verify, with_app};
use crate::{Adapter, Answer, Backend, Browser, PASSWORD, Point, World};

const CLEAR: &str = "clear-site-data";

/// What others add to addresses.
const STRANGE: &str = "utm_source=a&utm_source=b&fbclid=%FF&%FF=%FF&=&a=b=c&x";

fn clears(answer: &Answer) -> bool {
    let values: Vec<_> = answer.headers.get_all(CLEAR).iter().collect();
    assert!(values.len() < 2 && values.iter().all(|value| *value == "\"cache\""), "{values:?}");
    !values.is_empty()
}

/// Where a page leads once its form was sent.
fn next_of(page: &Answer) -> String {
    let (_, rest) = page.body.split_once("name=\"next\" value=\"").expect("a form with a target");
    rest.split('"').next().unwrap().replace("&#x2f;", "/")
}

async fn sign_out(browser: &mut Browser) -> Answer {
    let token = browser.open("/auth/login").await.csrf_token();
    browser.submit("/auth/logout", &[("csrf_token", &token)]).await
}

/// The back button shows nobody's pages to who comes next: by the form, by JSON, by ending one's own session, and when somebody else signs
/// in. Never with a refusal, for who stays the same, or for whoever has another site send it.
pub async fn signing_out_clears_the_pages_and_nothing_else(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    let out = sign_out(&mut amy).await;
    assert!(out.status == 303 && clears(&out), "{}", out.status);
    assert!(amy.cookies.contains_key("iam_device"), "the device stays known");
    // By JSON.
    let mut amy = world.signed_in("amy").await;
    let out = amy.post_json("/api/v1/auth/logout", &json!({})).await;
    assert!(out.status == 204 && clears(&out));
    // By ending the own session, on the page and by JSON; another one's leaves the pages here alone.
    for by_json in [false, true] {
        let (mut amy, other) = (world.signed_in("amy").await, world.signed_in("amy").await);
        let id = async |browser: &Browser| {
            let me = browser.clone().get("/api/v1/me").await.json();
            me["session"]["id"].as_str().unwrap().to_owned()
        };
        for (session, is_own) in [(id(&other).await, false), (id(&amy).await, true)] {
            let ended = if by_json {
                let (path, origin) = (format!("/api/v1/account/sessions/{session}"), amy.origin());
                amy.send("DELETE", &path, &[("origin", &origin)], Vec::new()).await
            } else {
                let token = amy.open("/auth/account").await.csrf_token();
                amy.submit("/auth/account/sessions/end", &[("session", &session), ("csrf_token", &token)])
                    .await
            };
            assert!(matches!(ended.status, 204 | 303), "{}", ended.body);
            assert_eq!(clears(&ended), is_own, "{by_json} {is_own}");
        }
    }
    // Somebody else signs in.
    let mut browser = world.signed_in("amy").await;
    assert!(!clears(&browser.sign_in("amy", PASSWORD).await), "the same person");
    let refused = browser.sign_in("bob", "wrong").await;
    assert!(refused.status == 401 && !clears(&refused));
    let other = browser.sign_in("bob", PASSWORD).await;
    assert!(other.status == 303 && clears(&other));
    let back = browser.api_sign_in("amy", PASSWORD).await;
    assert!(back.status == 200 && clears(&back));
    // Also if their second factor is still due, and also if the session before had run out.
    with_app(&world, "max").await;
    let due = browser.sign_in("max", PASSWORD).await;
    assert!(due.status == 303 && clears(&due), "{}", due.location());
    let mut browser = world.signed_in("gus").await;
    world.later(3600);
    assert!(clears(&browser.sign_in("bob", PASSWORD).await));
    assert!(!clears(&world.browser().sign_in("bob", PASSWORD).await), "nobody was here before");
    // Not by another site, and not for who has no browser.
    let mut amy = world.signed_in("amy").await;
    let forged =
        [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("accept", "text/html")];
    let refused = amy.submit_with("/auth/logout", &[], &forged).await;
    assert!(refused.status == 403 && !clears(&refused));
    let nobody = world.browser().submit_with("/auth/logout", &[], &forged).await;
    assert!(nobody.status == 303 && !clears(&nobody), "{}", nobody.status);
    let (mut client, _) = super::account::bearer(&world, "amy").await;
    let out = client.send("POST", "/api/v1/auth/logout", &[], Vec::new()).await;
    assert!(out.status == 204 && !clears(&out));
}

/// A login form that was open before this browser was signed in: in another tab, or before a click that came first.
pub async fn a_second_tab_is_led_on(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.browser();
    let stale = amy.open("/auth/login?next=/reports").await.csrf_token();
    let form = |name: &'static str, password: &'static str| {
        [("username", name), ("password", password), ("csrf_token", stale.as_str()), ("next", "/reports")]
    };
    assert_eq!(amy.submit("/auth/login", &form("amy", PASSWORD)).await.location(), "/reports");
    let session = amy.session_cookie().unwrap().to_owned();
    let page = amy.open("/reports").await;
    let again = amy.submit("/auth/login", &form(" AMY", PASSWORD)).await;
    assert_eq!((again.status, again.location()), (303, "/reports"), "{}", again.body);
    assert_eq!((amy.session_cookie(), again.set_cookies().len()), (Some(session.as_str()), 0), "it goes on");
    let title = [("title", "still here"), ("csrf_token", &page.csrf_token())];
    assert_eq!(amy.submit("/reports", &title).await.status, 201, "and so do the pages in other tabs");
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session WHERE state = 'active'").await, 1);
    // A wrong password is none, whoever is named; nothing tells whose name it is.
    for name in ["amy", "bob", "nobody"] {
        let wrong = amy.submit("/auth/login", &form(name, "wrong")).await;
        assert_eq!(wrong.status, 401, "{name}");
        assert!(wrong.body.contains("The user name or the password is not right"), "{name}");
    }
    assert_eq!(amy.get("/reports").await.status, 200, "it is still there");
    // Who names somebody else, and gives their password, is signed in as that one.
    let other = amy.submit("/auth/login", &form("gus", PASSWORD)).await;
    assert_eq!((other.status, other.location()), (303, "/reports"));
    assert_eq!(amy.get("/api/v1/me").await.json()["account"]["username"], "gus");
    // Only from a page of ours.
    for headers in [
        &[("accept", "text/html")][..],
        &[("accept", "text/html"), ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
    ] {
        for name in ["gus", "amy"] {
            let refused = amy.submit_with("/auth/login", &form(name, PASSWORD), headers).await;
            assert_eq!(refused.status, 403, "{name}");
            assert!(refused.body.contains("You were not signed in"), "{name}");
        }
    }
    // Wrong ones are counted in the session that they come with, as everywhere.
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(amy.submit("/auth/login", &form("gus", "wrong")).await.status);
    }
    assert!(statuses.contains(&401) && statuses.last() == Some(&429), "{statuses:?}");

    // With a second factor: nobody is asked for it once more, nor does the page that asks for it end.
    let app = with_app(&world, "bob").await;
    let mut bob = world.browser();
    let stale = bob.open("/auth/login?next=/reports").await.csrf_token();
    let form = [("username", "bob"), ("password", PASSWORD), ("csrf_token", stale.as_str()), ("next", "/")];
    let first = bob.submit("/auth/login", &form).await;
    assert_eq!(first.location(), "/auth/mfa/verify");
    let pending = bob.session_cookie().unwrap().to_owned();
    let again = bob.submit("/auth/login", &form).await;
    assert_eq!((again.status, again.location()), (303, "/auth/mfa/verify"));
    assert_eq!(bob.session_cookie(), Some(pending.as_str()));
    assert_eq!(verify(&mut bob, &app.code(&world, 0)).await.status, 200);
    let again = bob.submit("/auth/login", &form).await;
    assert_eq!((again.status, again.location()), (303, "/"));
    assert_eq!(bob.get("/api/v1/me").await.status, 200);
}

/// Campaigns and mail programs add to addresses what they like. What a page knows is read as strictly as before.
pub async fn what_a_page_does_not_know_in_its_address_is_ignored(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "bob").await;
    let (mut amy, mut bob) = (world.signed_in("amy").await, half_way(&world, "bob").await);
    for path in
        ["/auth/account", "/auth/reauthenticate", "/auth/account/factors/new?kind=totp", "/auth/mfa/enrol"]
    {
        let page = amy.open(&format!("{path}{}{STRANGE}", if path.contains('?') { '&' } else { '?' })).await;
        assert_eq!(page.status, 200, "{path}");
    }
    assert_eq!(bob.open(&format!("/auth/mfa/verify?{STRANGE}")).await.status, 200);
    assert_eq!(verify(&mut bob, &app.code(&world, 0)).await.status, 200);
    let many = (0..100).map(|n| format!("f{n}=1")).collect::<Vec<_>>().join("&");
    for query in [STRANGE, many.as_str(), "next=%FF", "next=/reports%FF"] {
        let page = world.browser().open(&format!("/auth/login?{query}")).await;
        assert_eq!(page.status, 200, "{query}");
        assert_eq!(next_of(&page), "", "{query}");
    }
    let page = world.browser().open(&format!("/auth/login?{STRANGE}&next=/reports")).await;
    assert_eq!(next_of(&page), "/reports");
    // Which value counts can't be told.
    for path in ["/auth/login", "/auth/reauthenticate"] {
        assert_eq!(amy.open(&format!("{path}?next=/a&next=/b")).await.status, 422, "{path}");
    }
    // A body is ours alone.
    let token = amy.open("/auth/login").await.csrf_token();
    let twice = [("username", "amy"), ("password", PASSWORD), ("csrf_token", &token), ("x", "1"), ("x", "2")];
    assert_eq!(amy.submit("/auth/login", &twice).await.status, 422);
}

/// A `next` with raw letters is written as browsers send it.
pub async fn a_next_page_in_any_script_is_found(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for (next, location) in
        [("/caf\u{e9}?\u{540d}=\u{5024}", "/caf%C3%A9?%E5%90%8D=%E5%80%A4"), ("/caf%C3%A9", "/caf%C3%A9")]
    {
        let mut amy = world.browser();
        let token = amy.open("/auth/login").await.csrf_token();
        let fields = [("username", "amy"), ("password", PASSWORD), ("csrf_token", &token), ("next", next)];
        let answer = amy.submit("/auth/login", &fields).await;
        assert_eq!((answer.status, answer.location()), (303, location));
        let page = world.browser().open("/auth/login?next=/caf%C3%A9").await;
        assert_eq!(next_of(&page), "/caf%C3%A9");
    }
}

/// Two cookies of one name come from two paths. With one value they are one; otherwise it is said what to do, as signing in does not help.
pub async fn a_session_cookie_that_comes_twice_is_told(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let amy = world.signed_in("amy").await;
    let real = amy.session_cookie().unwrap();
    let (same, other) =
        (format!("iam_session={real}; iam_session={real}"), format!("iam_session={real}; iam_session=x"));
    let as_page = async |path: &str, cookie: &str| {
        let headers = [("cookie", cookie), ("accept", "text/html")];
        world.browser().send("GET", path, &headers, Vec::new()).await
    };
    assert_eq!(as_page("/reports", &same).await.status, 200);
    assert_eq!(as_page("/reports", &other).await.location(), "/auth/login?next=/reports");
    let page = as_page("/auth/login", &other).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("two different cookies named iam_session"), "{}", page.body);
    for cookie in [same.as_str(), "iam_session=x", "a=b"] {
        assert!(!as_page("/auth/login", cookie).await.body.contains("two different cookies"), "{cookie}");
    }
}

/// What a request with these session cookies is answered, sent by a page of ours unless other headers are given.
async fn sign_out_with(
    world: &World,
    by_json: bool,
    cookie: &str,
    more: &[(&str, &str)],
    form: &str,
) -> Answer {
    let path = if by_json { "/api/v1/auth/logout" } else { "/auth/logout" };
    let mut headers = vec![("cookie", cookie), ("accept", "text/html")];
    if !by_json {
        headers.push(("content-type", "application/x-www-form-urlencoded"));
    }
    headers.extend_from_slice(more);
    world.browser().send("POST", path, &headers, form.as_bytes().to_vec()).await
}

async fn statuses(browsers: &[Browser]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for browser in browsers {
        statuses.push(browser.clone().get("/api/v1/me").await.status);
    }
    statuses
}

fn cookies_of(browsers: &[Browser]) -> String {
    let each = browsers.iter().map(|browser| format!("iam_session={}", browser.session_cookie().unwrap()));
    each.collect::<Vec<_>>().join("; ")
}

/// Whose browser has an old session cookie of another path beside its own is signed out of both: nobody can tell which is theirs.
pub async fn signing_out_with_two_session_cookies_ends_both(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let origin = world.browser().origin();
    for by_json in [false, true] {
        let mut browsers = Vec::new();
        for name in ["amy", "gus"] {
            browsers.push(world.signed_in(name).await);
        }
        let cookie = format!("iam_session=x; {}", cookies_of(&browsers));
        let out = sign_out_with(&world, by_json, &cookie, &[("origin", &origin)], "").await;
        assert_eq!(out.status, if by_json { 204 } else { 303 }, "{}", out.body);
        assert!(clears(&out));
        let cleared = "iam_session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0";
        assert!(out.set_cookies().iter().any(|line| line == cleared), "{:?}", out.headers);
        assert_eq!(statuses(&browsers).await, [401, 401], "by JSON: {by_json}");
        // However many were planted before it.
        let mut many = Vec::new();
        for _ in 0..5 {
            many.push(world.signed_in("bob").await);
        }
        let planted: Vec<_> = (0..20).map(|n| format!("iam_session=x{n}; iam_session={n:043}; ")).collect();
        let cookie = planted.concat() + &cookies_of(&many);
        sign_out_with(&world, by_json, &cookie, &[("origin", &origin)], "").await;
        assert_eq!(statuses(&many).await, [401; 5]);
    }
    assert_eq!(world.logged("authn_logout").await, 14);
}

/// A page that was open before the session was renewed signs out all the same.
pub async fn an_old_page_signs_out(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    let old = amy.open("/auth/account").await.csrf_token();
    let proof = json!({"password": PASSWORD});
    assert_eq!(amy.post_json("/api/v1/auth/reauthenticate", &proof).await.status, 200);
    let mut foreign = amy.clone().with_header("origin", "https://evil.example");
    assert_eq!(foreign.submit("/auth/logout", &[("csrf_token", &old)]).await.status, 403);
    assert_eq!(amy.submit("/auth/logout", &[("csrf_token", &old)]).await.status, 303);
    assert_eq!(amy.get("/api/v1/me").await.status, 401);
    assert_eq!(world.logged("authn_logout").await, 1);
}

/// Who signs in where they are signed in, and signs out at that moment, is signed in by that and led on with nothing that has ended.
pub async fn nobody_is_led_on_with_a_session_that_has_ended(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.browser();
    let stale = amy.open("/auth/login").await.csrf_token();
    let sign_in = [("username", "amy"), ("password", PASSWORD), ("csrf_token", &stale)];
    assert_eq!(amy.submit("/auth/login", &sign_in).await.status, 303);
    let mut held = world.faults.hold(Point::Candidate);
    let mut tab = amy.clone();
    let stale = stale.clone();
    let again = tokio::spawn(async move {
        let sign_in = [("username", "amy"), ("password", PASSWORD), ("csrf_token", &stale)];
        (tab.submit("/auth/login", &sign_in).await, tab)
    });
    held.reached().await;
    let origin = amy.origin();
    assert_eq!(amy.send("POST", "/api/v1/auth/logout", &[("origin", &origin)], Vec::new()).await.status, 204);
    drop(held);
    let (answer, mut tab) = again.await.unwrap();
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert_eq!(tab.get("/api/v1/me").await.status, 200);
    assert_eq!(world.logged("authn_login_continued").await, 0);
}

/// The browser itself must say that a page of ours sends it; with a token of a form, too, as none is that of two sessions.
pub async fn two_session_cookies_are_signed_out_by_our_own_pages_alone(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let browsers = [world.signed_in("amy").await, world.signed_in("gus").await];
    let mut visitor = world.browser();
    let token = visitor.open("/auth/login").await.csrf_token();
    let pre = visitor.cookies["iam_pre"].clone();
    let cookie = format!("iam_pre={pre}; {}", cookies_of(&browsers));
    let foreign = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
    let (form, header) = (format!("csrf_token={token}"), [("x-csrf-token", token.as_str())]);
    for by_json in [false, true] {
        for more in [&[][..], &foreign, &header, &[foreign[0], header[0]]] {
            for form in ["", &form] {
                let refused = sign_out_with(&world, by_json, &cookie, more, form).await;
                assert!(refused.status == 403 && !clears(&refused), "{by_json} {more:?} {form}");
                assert_eq!(refused.set_cookies(), Vec::<String>::new());
            }
        }
    }
    assert_eq!(statuses(&browsers).await, [200, 200]);
    assert_eq!(world.logged("malicious_csrf").await, 16);
}

/// A part of a page that a script asks for must not become a page to sign in on: at guards and at our own addresses.
pub async fn what_scripts_ask_for_gets_no_login_page(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let origin = world.browser().origin();
    let here = format!("{origin}/transfers?page=2");
    for path in ["/reports", "/auth/account"] {
        let ask = async |more: &[(&str, &str)]| {
            let mut headers = vec![("accept", "text/html, */*")];
            headers.extend_from_slice(more);
            world.browser().send("GET", path, &headers, Vec::new()).await
        };
        let page = ask(&[("sec-fetch-dest", "document")]).await;
        assert_eq!(page.status, 303, "{path}");
        for more in [("sec-fetch-dest", "empty"), ("hx-request", "true")] {
            let refused = ask(&[more]).await;
            assert_eq!(
                (refused.status, refused.header("content-type")),
                (401, Some("application/problem+json")),
                "{path}"
            );
            assert_eq!(refused.json()["code"], "unauthenticated", "{path}");
        }
        // HTMX goes where the header says, and comes back to the page that it is on; never to another site's.
        for (current, location) in [
            (here.as_str(), "/auth/login?next=/transfers%3Fpage%3D2"),
            ("https://evil.example/x", "/auth/login"),
            ("x", "/auth/login"),
        ] {
            let refused = ask(&[("hx-request", "true"), ("hx-current-url", current)]).await;
            assert_eq!(refused.header("hx-redirect"), Some(location), "{path} {current}");
        }
        assert_eq!(ask(&[("sec-fetch-dest", "empty")]).await.header("hx-redirect"), None);
    }
    // Also for what would have changed something, and for who is half way.
    let htmx = [
        ("accept", "text/html"),
        ("hx-request", "true"),
        ("hx-current-url", here.as_str()),
        ("origin", origin.as_str()),
    ];
    let refused = world.browser().send("POST", "/reports", &htmx, Vec::new()).await;
    assert_eq!(
        (refused.status, refused.header("hx-redirect")),
        (401, Some("/auth/login?next=/transfers%3Fpage%3D2"))
    );
    with_app(&world, "amy").await;
    let mut amy = half_way(&world, "amy").await;
    let due = amy.send("GET", "/reports", &htmx, Vec::new()).await;
    assert_eq!(
        (due.status, due.header("hx-redirect")),
        (401, Some("/auth/mfa/verify?next=/transfers%3Fpage%3D2"))
    );
    assert_eq!(due.json()["code"], "mfa_required");
    // Who is signed in and may not is told so in a document.
    let mut bob = world.signed_in("bob").await;
    let refused = bob.send("GET", "/reports", &htmx, Vec::new()).await;
    assert_eq!((refused.status, refused.header("hx-redirect")), (403, None));
    assert_eq!(refused.json()["code"], "forbidden");
}

/// W3C, "A Well-Known URL for Changing Passwords".
pub async fn password_managers_find_where_to_change_it(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    for browser in [&mut amy, &mut world.browser()] {
        let answer = browser.open("/.well-known/change-password").await;
        assert_eq!((answer.status, answer.location()), (303, "/auth/account"));
    }
    assert_eq!(amy.send("POST", "/.well-known/change-password", &[], Vec::new()).await.status, 405);
    // The address by which managers find out whether a site tells what is missing.
    let missing = "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200";
    assert_eq!(amy.open(missing).await.status, 404);
}
