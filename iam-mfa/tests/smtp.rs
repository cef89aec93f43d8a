//! `Smtp` against a server that follows a script: what comes of a message, whatever the server does and whenever.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use iam_core::ports::{Accepted, Message, OtpSender, SendError};
use iam_mfa::{Smtp, SmtpBuilder};
use serde_json::json;
use tokio::net::TcpListener;

#[path = "../../tests/src/mail_server.rs"]
#[expect(dead_code, unreachable_pub, reason = "the rest is for tests of whole programs, which share it")]
mod mail_server;

use mail_server::{Act, MailServer as Server, STEPS};

fn smtp(server: &Server) -> SmtpBuilder {
    Smtp::from_url(&server.url()).from("Acme <no-reply@acme.example>")
}

fn code() -> Message {
    message("bob@globex.example", &json!({ "code": { "code": "01234567", "minutes": 5 } }))
}

fn message(to: &str, content: &serde_json::Value) -> Message {
    serde_json::from_value(json!({ "to": to, "username": "bob", "content": content })).unwrap()
}

fn kind(result: &Result<Accepted, SendError>) -> &'static str {
    match result {
        Ok(_) => "accepted",
        Err(SendError::NotNow(_) | SendError::Busy { .. }) => "not now",
        Err(SendError::Refused(_)) => "refused",
        Err(SendError::Unknown(_)) => "unknown",
        Err(_) => "another error",
    }
}

#[tokio::test]
async fn a_code_arrives() {
    let server = Server::start().await;
    let smtp = smtp(&server).build().unwrap();
    smtp.send("Acme", &code()).await.unwrap();

    let commands = server.commands();
    assert_eq!(commands[2..], ["MAIL FROM:<no-reply@acme.example>", "RCPT TO:<bob@globex.example>", "DATA"]);
    let mails = server.mails();
    let (head, body) = mails[0].split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        let mut found = head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = found.next().unwrap_or_else(|| panic!("{name}: {head}"));
        assert_eq!(found.next(), None, "{name} twice");
        value.to_owned()
    };
    assert_eq!(header("From"), "Acme <no-reply@acme.example>");
    assert_eq!(header("To"), "bob@globex.example");
    assert_eq!(header("Subject"), "Your code for Acme");
    assert_eq!(header("Auto-Submitted"), "auto-generated");
    assert!(header("Message-ID").ends_with("@acme.example>"));
    assert!(header("Content-Type").starts_with("text/plain; charset=utf-8"));
    assert!(header("Date").ends_with("+0000"));
    assert!(body.contains("\r\n    01234567\r\n") && !body.contains("://"), "{body}");
    assert!(mails[0].is_ascii());
}

/// Some servers take nothing from a machine whose name is a bare one, as in a container.
#[tokio::test]
async fn it_is_called_by_the_senders_domain_or_as_it_is_told() {
    let server = Server::start().await;
    smtp(&server).build().unwrap().send("Acme", &code()).await.unwrap();
    assert_eq!(server.commands()[0], "EHLO acme.example");
    let server = Server::start().await;
    smtp(&server).hello("app.acme.example").build().unwrap().send("Acme", &code()).await.unwrap();
    assert_eq!(server.commands()[0], "EHLO app.acme.example");
}

#[tokio::test]
async fn words_beyond_ascii_and_a_hosts_own() {
    let server = Server::start().await;
    let smtp = smtp(&server).text("code.subject", "{service}: Ihr Schlüssel").build().unwrap();
    smtp.send("Grüße & Söhne", &code()).await.unwrap();
    smtp.send("A\r\nBcc: evil@evil.example\r\n\r\nbody", &code()).await.unwrap();
    let mails = server.mails();
    assert!(mails[0].is_ascii() && mails[0].contains("Subject: =?utf-8?b?"), "{}", mails[0]);
    assert!(!mails[1].contains("\r\nBcc:"), "{}", mails[1]);
}

#[tokio::test]
async fn every_notice_arrives() {
    let server = Server::start().await;
    let smtp = smtp(&server).build().unwrap();
    for notice in iam_core::ports::Notice::ALL {
        let content =
            json!({ "notice": { "notice": notice, "at": "2026-01-01T00:00:00.000001Z", "address": null } });
        smtp.send("Acme", &message("bob@globex.example", &content)).await.unwrap();
    }
    // Of ten mails each.
    let all = iam_core::ports::Notice::ALL.len();
    assert_eq!((server.mails().len(), server.connections()), (all, all.div_ceil(10)));
}

#[tokio::test]
async fn what_the_server_says_decides() {
    for (step, said, expected, text) in [
        ("greeting", "421 4.3.2 shutting down", "not now", "connecting: 421 4.3.2"),
        ("greeting", "554 5.3.2 no service", "not now", "connecting: 554 5.3.2"),
        ("AUTH", "535 5.7.8 bob's password s3cret is wrong", "not now", "AUTH: 535 5.7.8"),
        ("AUTH", "454 4.7.0 later", "not now", "AUTH: 454 4.7.0"),
        ("MAIL", "451 later", "not now", "MAIL FROM: 451"),
        ("MAIL", "550 5.7.1 not from you", "not now", "MAIL FROM: 550 5.7.1"),
        ("RCPT", "450-4.2.0 grey\r\n450 4.2.0 list", "not now", "RCPT TO: 450 4.2.0"),
        ("RCPT", "452 4.2.2 bob@globex.example is full", "not now", "RCPT TO: 452 4.2.2"),
        ("RCPT", "550 5.1.1 no bob@globex.example here", "refused", "RCPT TO: 550 5.1.1"),
        ("RCPT", "530 5.7.0 sign in first", "not now", "RCPT TO: 530 5.7.0"),
        ("DATA", "451 later", "not now", "DATA: 451"),
        ("DATA", "554 no", "refused", "DATA: 554"),
        (".", "451 4.3.0 try again", "not now", "the message: 451 4.3.0"),
        (".", "554 5.7.1 spam: 01234567", "refused", "the message: 554 5.7.1"),
        (".", "what?", "unknown", "the message: the answer was cut off, or is no SMTP"),
        ("MAIL", "what?", "not now", "MAIL FROM: the answer was cut off, or is no SMTP"),
    ] {
        let server = Server::with(step, Act::Say(said)).await;
        let result = smtp(&server).build().unwrap().send("Acme", &code()).await;
        assert_eq!(kind(&result), expected, "{step} {said}: {result:?}");
        let error = result.unwrap_err().to_string();
        assert!(error.ends_with(text), "{step} {said}: {error}");
    }
}

#[tokio::test]
async fn a_lost_connection_is_unknown_only_after_the_message() {
    for step in STEPS {
        let server = Server::with(step, Act::Drop).await;
        let result = smtp(&server).build().unwrap().send("Acme", &code()).await;
        let expected = if step == "." { "unknown" } else { "not now" };
        assert_eq!(kind(&result), expected, "{step}: {result:?}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_does_not_hold_us() {
    for step in STEPS {
        let server = Server::with(step, Act::Hang).await;
        let smtp = smtp(&server).timeout(Duration::from_millis(300)).build().unwrap();
        let began = Instant::now();
        let result = smtp.send("Acme", &code()).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{step}");
        let expected = if step == "." { "unknown" } else { "not now" };
        assert_eq!(kind(&result), expected, "{step}: {result:?}");
        assert!(result.unwrap_err().to_string().ends_with("no answer in time"), "{step}");
    }
}

#[tokio::test]
async fn where_nobody_listens_it_is_not_now() {
    let server = Server::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = listener.local_addr().unwrap().port();
    drop(listener);
    for url in [
        format!("smtp://127.0.0.1:{free}?tls=none"),
        "smtps://no-such-host.invalid".to_owned(),
        // Offers no STARTTLS: nothing is sent, the password least of all.
        format!("smtp://amy:s3cret@127.0.0.1:{}", server.port),
        // Speaks no TLS.
        format!("smtps://amy:s3cret@127.0.0.1:{}", server.port),
    ] {
        let smtp =
            Smtp::from_url(&url).from("a@acme.example").timeout(Duration::from_secs(5)).build().unwrap();
        let result = smtp.send("Acme", &code()).await;
        assert_eq!(kind(&result), "not now", "{url}: {result:?}");
    }
    let commands = server.commands().join("\n");
    assert!(!commands.contains("AUTH") && !commands.contains("MAIL"), "{commands}");
}

#[tokio::test]
async fn connections_are_used_again_while_they_are_good() {
    let server = Server::start().await;
    let smtp = smtp(&server).build().unwrap();
    for _ in 0..5 {
        smtp.send("Acme", &code()).await.unwrap();
    }
    assert_eq!((server.mails().len(), server.connections()), (5, 1));

    // A refusal leaves it good; what was begun is taken back.
    server.fail("RCPT", Act::Say("550 5.1.1 no"), 1);
    assert_eq!(kind(&smtp.send("Acme", &code()).await), "refused");
    smtp.send("Acme", &code()).await.unwrap();
    assert_eq!((server.mails().len(), server.connections()), (6, 1));

    // A lost one is replaced.
    server.fail("MAIL", Act::Drop, 1);
    assert_eq!(kind(&smtp.send("Acme", &code()).await), "not now");
    smtp.send("Acme", &code()).await.unwrap();
    server.fail("MAIL", Act::Say("421 bye"), 1);
    assert_eq!(kind(&smtp.send("Acme", &code()).await), "not now");
    smtp.send("Acme", &code()).await.unwrap();
    assert_eq!((server.mails().len(), server.connections()), (8, 3));

    // One that died while nobody used it costs no message.
    for act in [Act::Drop, Act::Say("421 idle for too long"), Act::Hang] {
        server.fail("RSET", act, 1);
        smtp.send("Acme", &code()).await.unwrap();
    }
    assert_eq!((server.mails().len(), server.connections()), (11, 6));
}

/// More than ten on one connection are put off by servers as they come: by Exim, to its next queue run.
#[tokio::test]
async fn a_connection_carries_ten_messages() {
    let server = Server::start().await;
    let smtp = smtp(&server).build().unwrap();
    for _ in 0..25 {
        smtp.send("Acme", &code()).await.unwrap();
    }
    assert_eq!((server.mails().len(), server.connections()), (25, 3));
    // Those that are full were told that it is over.
    let began = Instant::now();
    while server.commands().iter().filter(|command| *command == "QUIT").count() < 2 {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn messages_at_once_do_not_wait_for_each_other() {
    let server = Server::start().await;
    let smtp = Arc::new(smtp(&server).build().unwrap());
    let sends: Vec<_> = (0..30)
        .map(|_| {
            let smtp = Arc::clone(&smtp);
            tokio::spawn(async move { smtp.send("Acme", &code()).await })
        })
        .collect();
    for send in sends {
        send.await.unwrap().unwrap();
    }
    let mut ids: Vec<String> = server
        .mails()
        .iter()
        .map(|mail| mail.lines().find(|line| line.starts_with("Message-ID")).unwrap().to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 30);
}

#[tokio::test]
async fn no_text_is_an_address_but_an_address() {
    let server = Server::start().await;
    let smtp = smtp(&server).build().unwrap();
    for to in [
        "",
        "bob",
        "bob@globex.example>\r\nRCPT TO:<eve@evil.example",
        "bob@globex.example, eve@evil.example",
    ] {
        let content = json!({ "code": { "code": "01234567", "minutes": 5 } });
        assert_eq!(kind(&smtp.send("Acme", &message(to, &content)).await), "refused", "{to:?}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn an_address_beyond_ascii_goes_only_where_it_is_understood() {
    let content = json!({ "code": { "code": "01234567", "minutes": 5 } });
    let message = message("jürgen@globex.example", &content);
    let server = Server::start().await;
    assert_eq!(kind(&smtp(&server).build().unwrap().send("Acme", &message).await), "refused");
    let server =
        Server::with("EHLO", Act::Say("250-test\r\n250-SMTPUTF8\r\n250-8BITMIME\r\n250 AUTH PLAIN")).await;
    smtp(&server).build().unwrap().send("Acme", &message).await.unwrap();
    let commands = server.commands();
    assert_eq!(commands[2], "MAIL FROM:<no-reply@acme.example> SMTPUTF8 BODY=8BITMIME");
}

#[tokio::test]
async fn answers_from_before_the_encryption_are_not_taken_for_answers_within_it() {
    let server = Server::start().await;
    let injected =
        "220 go on\r\n250-test\r\n250 AUTH PLAIN\r\n235 ok\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 queued";
    server.say_to_starttls(injected);
    let smtp = Smtp::from_url(&format!("smtp://amy:s3cret@127.0.0.1:{}", server.port));
    let began = Instant::now();
    let result = smtp.from("a@acme.example").build().unwrap().send("Acme", &code()).await;
    // They are no TLS. Had they been read ahead, the handshake would wait for a server that never answers.
    assert_eq!(kind(&result), "not now");
    let error = result.unwrap_err().to_string();
    assert!(error.contains("STARTTLS: ") && error.contains("corrupt"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// By hand, against a real server: `IAM_TEST_SMTP_URL=smtp://user:password@localhost:587`, with `IAM_TEST_SMTP_ROOT` for the file of
/// its root certificate and `IAM_TEST_SMTP_TO` for the recipient. Says what came of it.
#[tokio::test]
#[ignore = "needs a mail server"]
async fn a_real_server() {
    let url = std::env::var("IAM_TEST_SMTP_URL").expect("IAM_TEST_SMTP_URL");
    let to = std::env::var("IAM_TEST_SMTP_TO").unwrap_or_else(|_| "bob@globex.example".to_owned());
    let count = std::env::var("IAM_TEST_SMTP_COUNT").map_or(1, |count| count.parse().unwrap());
    let mut builder = Smtp::from_url(&url).from("Acme Söhne <no-reply@acme.example>");
    if let Ok(root) = std::env::var("IAM_TEST_SMTP_ROOT") {
        builder = builder.root_certificates(std::fs::read(root).unwrap());
    }
    let smtp = builder.build().unwrap();
    for _ in 0..count {
        let began = Instant::now();
        let content = json!({ "code": { "code": "01234567", "minutes": 5 } });
        let result = smtp.send("Acme", &message(&to, &content)).await;
        println!("{result:?} after {:?}", began.elapsed());
    }
}
