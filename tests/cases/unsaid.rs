//! Forms of which nobody says how long they are: HTTP/1.1 with `Transfer-Encoding: chunked`, HTTP/2 without `Content-Length`.

use std::future::Future;

use iam_core::ProofMethod;
use iam_testkit::TestIam;

/// A `POST` of a form, whose body comes in pieces and without a length.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

/// The handlers give back what they read:
///
/// | path | guard |
/// |---|---|
/// | `/login` | signed in |
/// | `/once` | step-up for `transfer` by password, once |
/// | `/approving` | the same, approving `amount` |
pub(crate) async fn check<F, Fut>(test: &TestIam, token: impl AsyncFn(String) -> String, send: F)
where
    F: Fn(Sent) -> Fut,
    Fut: Future<Output = (u16, String)>,
{
    let alice = test.signed_in("alice").await;
    let token = token(alice.cookie()).await;
    let post = |path, body: &str, more: &[(&'static str, &str)]| {
        let mut headers = vec![
            ("cookie", alice.cookie()),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ];
        headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        send(Sent { path, headers, body: body.to_owned() })
    };
    let origin = alice.origin();
    let own: &[(&str, &str)] = &[("origin", &origin)];
    let page: &[(&str, &str)] = &[("origin", &origin), ("accept", "text/html")];

    // The token counts, and within the same bounds.
    let form = format!("title=x&csrf_token={token}");
    assert_eq!(post("/login", &form, &[]).await, (200, form.clone()));
    assert_eq!(post("/login", "title=x", &[]).await.0, 403);
    assert_eq!(post("/login", "title=x&csrf_token=x", &[]).await.0, 403);
    let large = format!("{form}&more={}", "x".repeat(16 * 1024));
    assert_eq!(post("/login", &large, &[]).await.0, 413);
    let packed = post("/login", &form, &[("content-encoding", "br")]).await;
    assert_eq!(packed.0, 415, "{}", packed.1);
    // Where it need not be looked for, a body may be as large as the host likes.
    assert_eq!(post("/login", &large, own).await, (200, large.clone()));
    alice.proves_by("transfer", ProofMethod::Password).await;
    assert_eq!(post("/once", &large, own).await, (200, large.clone()), "all of it is handed on");

    // A form that is stopped is kept and goes on once, as one of a known length.
    let (status, answer) = post("/once", "amount=1", page).await;
    assert!(status == 303 && answer.contains("/auth/mfa/verify?resume="), "{status} {answer}");
    let (status, answer) = post("/once", &large, page).await;
    assert_eq!(status, 401, "too large to be kept: {answer}");
    let (status, answer) = post("/approving", "amount=17", own).await;
    assert!(status == 401 && answer.contains("\"17\""), "{status} {answer}");
    assert_eq!(post("/approving", &large, own).await.0, 413);
    let id = "019b76da-a800-7000-8000-0000000000ff";
    alice.proves_by("transfer", ProofMethod::Password).await;
    let resumed = post("/once", &format!("amount=1&csrf_token={token}.{id}"), own).await;
    assert_eq!(resumed.0, 409, "it goes on with what was sent before, or never was: {}", resumed.1);
}
