//! What both adapters must say of the same step-up guards.

use std::time::Duration;

use iam_core::ProofMethod::{self, EmailOtp, Password, RecoveryCode, SmsOtp, Totp};
use iam_testkit::{SignedInPerson, TestIam};

/// Path, what was proved for the purpose `p` and by what, and whether that opens it.
pub(crate) const CASES: &[(&str, Option<ProofMethod>, bool)] = &[
    ("/default", None, false),
    ("/default", Some(Totp), true),
    ("/default", Some(SmsOtp), false),
    ("/default", Some(EmailOtp), false),
    ("/default", Some(RecoveryCode), false),
    ("/default", Some(Password), false),
    ("/password", Some(Password), true),
    ("/password", Some(Totp), false),
    ("/mail", Some(EmailOtp), true),
    ("/mail", Some(RecoveryCode), true),
    ("/mail", Some(Password), false),
    ("/nothing", Some(Totp), false),
    ("/other-purpose", Some(Totp), false),
    ("/short", Some(Totp), false),
    ("/twice", None, false),
    ("/twice", Some(Totp), true),
    ("/once-and-once", Some(Totp), true),
    ("/role-or-proof", None, false),
    ("/role-or-proof", Some(Totp), true),
];

/// Somebody who has proved that half a minute ago.
pub(crate) async fn who(test: &TestIam, n: usize, by: Option<ProofMethod>) -> SignedInPerson {
    let person = test.signed_in(&format!("person-{n}")).await;
    if let Some(kind) = by {
        person.proves_by("p", kind).await;
    }
    test.later(Duration::from_secs(30));
    person
}

/// That a program that sets its routes up so does not start, and says why.
#[expect(clippy::expect_used, reason = "what goes wrong fails the test")]
pub(crate) fn stops<T>(with: &str, set_up: impl FnOnce() -> T) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(set_up())));
    let panicked = outcome.expect_err("it starts");
    let message = panicked.downcast_ref::<String>().expect("a text");
    assert!(message.contains(with), "{message}");
}
