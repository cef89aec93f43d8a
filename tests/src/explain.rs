//! The command that says who may pass, and by what.

use crate::{Backend, Program};

/// In words, and by its exit code.
pub async fn it_explains_who_may_pass(path: &'static str) {
    // The people of the program are of role `admin` in `acme`.
    let program =
        Program::new(path, Backend::Sqlite, ["amy".to_owned()].into_iter()).await.with("RUST_LOG", "trace");
    let (_, error, code) = program.explain(&["amy", "GET", "/reports"]);
    let nobody = "explain: there is no account `amy` in the database that IAM_DATABASE_URL names. The service makes those of \
                  IAM_DEMO_USERS when it starts\n";
    assert_eq!((error.as_str(), code), (nobody, Some(2)), "nobody is made by asking");
    program.start().kill();

    let (said, error, code) = program.explain(&["Amy", "get", "/reports"]);
    assert_eq!(
        said,
        "amy at GET /reports: role admin or auditor\n\
         pass     account active: it is active\n\
         pass     parent active: its parent acme is active\n\
         pass     second factor: required by no role of its, and not by its parent\n\
         pass     role admin or auditor: it holds admin\n\
         verdict: may pass\n"
    );
    assert_eq!((error.as_str(), code), ("", Some(0)));

    let (said, _, code) = program.explain(&["amy", "GET", "/documents/7"]);
    assert!(said.starts_with("amy at GET /documents/{id}: same parent\n"), "{said}");
    let depends = "\ndepends  same parent: the object of the request must belong to acme\n\
                   verdict: may pass, depending on the request\n";
    assert!(said.ends_with(depends), "{said}");
    assert_eq!(code, Some(0));

    program.database.raw().execute("UPDATE iam_user_account SET status = 'locked'").await;
    let (said, _, code) = program.explain(&["amy", "GET", "/reports"]);
    assert!(said.contains("\nFAIL     account active: it is locked\n"), "{said}");
    assert!(said.ends_with("\nverdict: may not pass\n"), "{said}");
    assert_eq!(code, Some(1));
    let (said, _, code) = program.explain(&["amy", "GET", "/"]);
    assert_eq!((said.as_str(), code), ("amy at GET /: public\nverdict: everybody may pass\n", Some(0)));

    for (words, why) in [
        (&[][..], "explain: whom, and what?"),
        (&["amy", "/reports"], "explain: whom, and what?"),
        (&["amy", "GET", "/nothing"], "explain: there is no route GET /nothing"),
        (&["bob", "GET", "/reports"], "explain: there is no account `bob`"),
        (&["a b", "GET", "/reports"], "explain: `a b`: username: "),
        (&["amy", "GET", "/auth/login"], "explain: this address decides for itself"),
    ] {
        let (_, error, code) = program.explain(words);
        assert!(error.starts_with(why), "{words:?}: {error}");
        assert_eq!(code, Some(2), "{words:?}");
    }
}
