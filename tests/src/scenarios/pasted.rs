use serde_json::json;

use super::factors::{CHALLENGE, FACTORS, VERIFY, half_way, mailed, verify, with_address, with_app};
use crate::app::App;
use crate::{Adapter, Answer, Backend, Browser, PASSWORD, World};

/// A code as apps show it, as mails break it, and as keyboards of other scripts write it.
fn pasted(code: &str) -> Vec<String> {
    let from = |zero: char| -> String {
        let digit = |c: char| char::from_u32(zero as u32 + c.to_digit(10).unwrap()).unwrap();
        code.chars().map(digit).collect()
    };
    let (front, back) = code.split_at(code.len() / 2);
    vec![
        format!("{front} {back}"),
        format!("{front}\u{a0}{back}"),
        format!("{front}-{back}"),
        format!("{front}\u{2013}{back}\n"),
        format!("\t{front}\u{202f}{back}\u{3000}"),
        format!("\u{feff}\u{2066}{code}\u{2069}\u{200b}"),
        from('\u{ff10}'),
        from('\u{660}'),
        from('\u{966}'),
    ]
}

async fn submit_code(browser: &mut Browser, method: &str, code: &str) -> Answer {
    let token = browser.open("/auth/mfa/verify").await.csrf_token();
    let fields = [("code", code), ("method", method), ("csrf_token", token.as_str())];
    browser.submit("/auth/mfa/verify", &fields).await
}

/// By JSON and by the form, to sign in, to set up a factor, and for a purpose: one code, whatever stands around it. Once.
pub async fn a_pasted_code_is_the_code(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    // Setting one up.
    let mut amy = world.signed_in("amy").await;
    let begun = amy.post_json(FACTORS, &json!({"kind": "totp", "name": "phone"})).await.json();
    let app = App::from_base32(begun["secret"].as_str().unwrap());
    let confirm = format!("{FACTORS}/{}/confirm", begun["id"].as_str().unwrap());
    let done = amy.post_json(&confirm, &json!({"code": pasted(&app.code(&world, 0))[0]})).await;
    assert_eq!(done.status, 200, "{}", done.body);
    // Signing in, by JSON and by the form in turn.
    for variant in 0..pasted("000000").len() {
        world.later(60);
        let code = &pasted(&app.code(&world, 0))[variant];
        let mut by_json = half_way(&world, "amy").await;
        let done = verify(&mut by_json, code).await;
        assert_eq!(done.status, 200, "{code:?}: {}", done.body);
        let mut again = half_way(&world, "amy").await;
        let plain = app.code(&world, 0);
        assert_eq!(verify(&mut again, &plain).await.status, 401, "it was used, in another spelling");
        world.later(30);
        let code = &pasted(&app.code(&world, 0))[variant];
        let done = submit_code(&mut again, "totp", code).await;
        assert_eq!((done.status, done.location()), (303, "/"), "{code:?}");
    }
    // For a purpose.
    world.later(60);
    let mut amy = half_way(&world, "amy").await;
    assert_eq!(verify(&mut amy, &app.code(&world, 0)).await.status, 200);
    world.later(30);
    assert_eq!(amy.post_json("/api/v1/auth/step-up", &json!({"purpose": "payroll"})).await.status, 200);
    let code = &pasted(&app.code(&world, 0))[7];
    assert_eq!(amy.post_json(VERIFY, &json!({"code": code})).await.status, 200);
    assert_eq!(amy.get("/payroll").await.status, 200);
    // Recovery codes, as they are copied out of a list or a document.
    let made = amy.post_json("/api/v1/account/recovery-codes", &json!({})).await.json();
    let codes: Vec<&str> =
        made["recovery_codes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    for (code, typed) in [
        (codes[0], codes[0].replace('-', "\u{2013}")),
        (codes[1], codes[1].replace('-', "\t")),
        (codes[2], format!("1. {}", codes[2])),
        (codes[3], format!(" 10.\t{}\r\n", codes[3].to_lowercase())),
        (codes[4], format!("\u{200b}{}\u{a0}", codes[4].replace('-', "\u{2011}"))),
    ] {
        let mut lost = half_way(&world, "amy").await;
        let done = submit_code(&mut lost, "recovery_code", &typed).await;
        assert_eq!(done.status, 303, "{typed:?}");
        let mut again = half_way(&world, "amy").await;
        let used = again.post_json(VERIFY, &json!({"code": code, "method": "recovery_code"})).await;
        assert_eq!(used.status, 401, "{typed:?} was it");
    }
}

/// Codes that are sent, likewise; and what can't be one is said at its field, on the page and in JSON. No try of the challenge, no row of
/// a limit, no record.
pub async fn what_can_not_be_a_code_is_no_try(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    with_address(&world, "eve", "eve@example.com").await;
    let mut eve = world.signed_in("eve").await;
    let begun = eve.post_json(FACTORS, &json!({"kind": "email_otp"})).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    let confirm = format!("{FACTORS}/{}/confirm", begun.json()["id"].as_str().unwrap());
    let code = mailed(&world, 0).await;
    for wrong in ["", "1234567", "123456789", "1234567x", "+12345678", "\u{2460}2345678"] {
        for _ in 0..2 {
            let refused = eve.post_json(&confirm, &json!({"code": wrong})).await;
            assert_eq!(
                (refused.status, &refused.json()["errors"][0]["field"]),
                (422, &json!("code")),
                "{wrong:?}"
            );
        }
    }
    assert_eq!(
        eve.post_json(&confirm, &json!({"code": pasted(&code)[0]})).await.status,
        200,
        "twelve are no try"
    );
    // The page on which an app is confirmed says it, too.
    let mut bob = world.signed_in("bob").await;
    let page = bob.open("/auth/account/factors/new?kind=totp").await;
    let token = page.csrf_token();
    let fields = [("kind", "totp"), ("name", "tablet"), ("csrf_token", token.as_str())];
    let page = bob.submit("/auth/account/factors/new", &fields).await;
    let factor =
        page.body.split_once("name=\"factor\" value=\"").unwrap().1.split('"').next().unwrap().to_owned();
    let fields =
        [("factor", factor.as_str()), ("kind", "totp"), ("code", "12345"), ("csrf_token", token.as_str())];
    let page = bob.submit("/auth/account/factors/confirm", &fields).await;
    assert_eq!(page.status, 422);
    assert!(page.body.contains("those have six digits"), "{}", page.body);

    let mut amy = half_way(&world, "amy").await;
    assert_eq!(verify(&mut amy, &app.wrong(&world)).await.status, 401, "so that the challenge is there");
    let state = async || {
        (
            world.count("SELECT CAST(sum(tries) AS SIGNED) FROM iam_mfa_challenge").await,
            world.count("SELECT CAST(sum(count) AS SIGNED) FROM iam_rate_limit").await,
            world.log().await.len(),
        )
    };
    let before = state().await;
    for wrong in ["12345", "1234567", "12345a", "123.456", "0x1234", "123456\0", "", " \u{2013} "] {
        let refused = verify(&mut amy, wrong).await;
        let error = &refused.json()["errors"][0];
        assert_eq!((refused.status, &error["field"]), (422, &json!("code")), "{wrong:?}: {}", refused.body);
        let page = submit_code(&mut amy, "totp", wrong).await;
        assert_eq!(page.status, 422, "{wrong:?}");
        let says = ["This cannot be a code of the app: those have six digits.", "Enter the code."];
        assert!(
            says.iter().any(|text| page.body.contains(text)) && page.body.contains("id=\"code-error\""),
            "{wrong:?}"
        );
    }
    for (method, wrong, says) in [
        ("recovery_code", "ABCDEF-ABCDEF", "those have 24 letters and digits"),
        ("recovery_code", "UUUUUU-UUUUUU-UUUUUU-UUUUUU", "those have 24 letters and digits"),
    ] {
        let page = submit_code(&mut amy, method, wrong).await;
        assert_eq!(page.status, 422, "{wrong:?}");
        assert!(page.body.contains(says), "{}", page.body);
        assert_eq!(amy.post_json(VERIFY, &json!({"code": wrong, "method": method})).await.status, 422);
    }
    assert_eq!(state().await, before);
    assert_eq!(verify(&mut amy, &app.code(&world, 0)).await.status, 200, "no try was used up");
    // One that was sent, by whoever signs in.
    let mut eve = half_way(&world, "eve").await;
    world.later(60);
    assert_eq!(eve.post_json(CHALLENGE, &json!({"method": "email_otp"})).await.status, 200);
    let code = mailed(&world, 1).await;
    for _ in 0..6 {
        let page = submit_code(&mut eve, "email_otp", &code[1..]).await;
        assert_eq!(page.status, 422);
        assert!(page.body.contains("those have eight digits"), "{}", page.body);
    }
    assert_eq!(submit_code(&mut eve, "email_otp", &pasted(&code)[6]).await.status, 303);
}

/// A user name or an address with what is copied along with it, on the page, by JSON and where the first administrator is made.
pub async fn a_pasted_name_signs_in(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    with_address(&world, "eve", "eve@example.com").await;
    for name in ["amy", "eve@example.com", "ＡＭＹ"] {
        for (before, after) in [
            (" ", ""),
            ("\u{3000}", ""),
            ("", "\u{a0}"),
            ("\u{200b}", "\u{200b}"),
            ("\u{feff}", "\u{2060} "),
            ("\u{200d}", "\u{200c}"),
        ] {
            let typed = format!("{before}{name}{after}");
            assert_eq!(world.browser().api_sign_in(&typed, PASSWORD).await.status, 200, "{typed:?}");
            assert_eq!(world.browser().sign_in(&typed, PASSWORD).await.status, 303, "{typed:?}");
        }
    }
    // Inside nothing is removed, and what nobody means to type is said.
    assert_eq!(world.browser().api_sign_in("a\u{200b}my", PASSWORD).await.status, 401);
    assert_eq!(world.browser().api_sign_in("a my", PASSWORD).await.status, 401);
    let tries = world.count("SELECT count(*) FROM iam_rate_limit").await;
    for wrong in [
        "amy\0",
        "\tamy",
        "amy\n",
        "a\u{202e}my",
        "\u{200e}amy",
        "amy\u{200f}",
        "\u{2066}amy\u{2069}",
        "\u{61c}amy",
    ] {
        let refused = world.browser().api_sign_in(wrong, PASSWORD).await;
        assert_eq!(
            (refused.status, &refused.json()["errors"][0]["field"]),
            (422, &json!("username")),
            "{wrong:?}"
        );
        let page = world.browser().sign_in(wrong, PASSWORD).await;
        assert_eq!(page.status, 422, "{wrong:?}");
        assert!(page.body.contains("id=\"username-error\""), "{wrong:?}");
    }
    assert_eq!(world.count("SELECT count(*) FROM iam_rate_limit").await, tries, "none was a try");
    // All spellings of a name share its limit.
    for typed in ["gus", " gus", "gus\u{a0}", "\u{3000}gus", "\u{200b}gus", "GUS"] {
        world.browser().api_sign_in(typed, "wrong").await;
    }
    assert_eq!(world.browser().api_sign_in("gus\u{2003}", "wrong").await.status, 429);
}
