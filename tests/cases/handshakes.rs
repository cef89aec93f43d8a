//! Handshakes of WebSockets, and a connection that ends with its session: one table for both adapters, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iam_testkit::TestIam;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Who asks, with what headers, and what it gets.
type Case = (&'static str, &'static [(&'static str, &'static str)], u16);

/// The table. The routes:
///
/// | path | who may open it |
/// |---|---|
/// | `/guarded` | a guard wants a login |
/// | `/current` | the handler takes a `CurrentUser` |
/// | `/maybe` | the handler takes a `MaybeUser` |
/// | `/watched` | a guard wants the role `auditor`, and the handler a `SessionWatch` |
const CASES: &[Case] = &[
    ("nobody", &[], 401),
    ("nobody", &[("origin", OWN)], 401),
    ("nobody", &[("origin", "https://evil.example")], 401),
    ("a dead cookie", &[("origin", OWN)], 401),
    ("cookie", &[], 403),
    ("cookie", &[("origin", "null")], 403),
    ("cookie", &[("origin", "https://evil.example")], 403),
    ("cookie", &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")], 403),
    ("cookie", &[("origin", "http://localhost:8080")], 403),
    ("cookie", &[("sec-fetch-site", "same-site")], 403),
    ("cookie", &[("origin", OWN)], 101),
    ("cookie", &[("sec-fetch-site", "same-origin")], 403),
    ("cookie", &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")], 403),
    ("cookie", &[("sec-fetch-site", "same-origin"), ("origin", OWN)], 101),
    ("bearer", &[], 101),
    ("bearer", &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")], 101),
];

/// Where the pages of a [`TestIam`] come from.
const OWN: &str = "http://localhost";

/// How long an answer is waited for: a test that hangs says nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection, asked for.
struct Socket {
    status: u16,
    stream: TcpStream,
}

impl Socket {
    async fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        timeout(PATIENCE, Self::open_in_time(address, path, headers)).await.unwrap()
    }

    async fn open_in_time(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in headers.iter().chain(&[
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]) {
            request.extend([name, ": ", value, "\r\n"]);
        }
        request.push_str("\r\n");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.get(9..12).unwrap().parse().unwrap();
        if status == 101 {
            let accepted = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
            assert!(head.contains(accepted), "a handshake (RFC 6455): {head}");
        }
        Self { status, stream }
    }

    /// Says something, and gives what comes back.
    async fn says(&mut self, text: &[u8; 2]) -> [u8; 2] {
        // Masked, as a client must: with nothing.
        self.stream.write_all(&[0x81, 0x82, 0, 0, 0, 0, text[0], text[1]]).await.unwrap();
        let mut frame = [0; 4];
        timeout(PATIENCE, self.stream.read_exact(&mut frame)).await.unwrap().unwrap();
        assert_eq!(frame[..2], [0x81, 2], "a text of two bytes");
        [frame[2], frame[3]]
    }

    /// Whether the next that comes is an end.
    async fn ends(mut self) -> bool {
        matches!(timeout(PATIENCE, self.stream.read_u8()).await.unwrap(), Ok(0x88) | Err(_))
    }
}

/// Goes through the table.
pub(crate) async fn check(test: &TestIam, address: SocketAddr) {
    let alice = test.signed_in("alice").role("auditor").await;
    let (cookie, bearer) = (alice.cookie(), alice.bearer().await);
    let dead = format!("iam_session={}", "A".repeat(43));
    for path in ["/guarded", "/current", "/maybe", "/watched"] {
        for (who, headers, expected) in CASES {
            let shown = match *who {
                "cookie" => Some(("cookie", cookie.as_str())),
                "bearer" => Some(("authorization", bearer.as_str())),
                "a dead cookie" => Some(("cookie", dead.as_str())),
                _ => None,
            };
            let headers: Vec<_> = headers.iter().copied().chain(shown).collect();
            let socket = Socket::open(address, path, &headers).await;
            // Whoever may be nobody may be nobody from anywhere.
            let expected = if path == "/maybe" && *expected == 401 { 101 } else { *expected };
            assert_eq!(socket.status, expected, "{who}: {path} {headers:?}");
        }
    }
}

/// The connection of `/watched` looks whenever `look` says so, and sends back what it is sent.
pub(crate) async fn check_ends(test: &TestIam, address: SocketAddr, look: &Arc<Notify>) {
    use iam_core::{Actor, RoleName};

    let open = async |cookie: &str| {
        let mut socket = Socket::open(address, "/watched", &[("origin", OWN), ("cookie", cookie)]).await;
        assert_eq!(socket.status, 101);
        assert_eq!(&socket.says(b"hi").await, b"hi");
        look.notify_one();
        assert_eq!(&socket.says(b"ho").await, b"ho", "it goes on while the session does");
        socket
    };
    let alice = test.signed_in("alice").role("auditor").await;
    let socket = open(&alice.cookie()).await;
    test.iam().sessions(&Actor::service()).revoke(alice.account(), alice.session()).await.unwrap();
    look.notify_one();
    assert!(socket.ends().await, "with its session");

    // With what its guard asked for, too.
    let alice = test.signed_in("alice").await;
    let socket = open(&alice.cookie()).await;
    let auditor = RoleName::parse("auditor").unwrap();
    test.iam().roles(&Actor::service()).revoke(alice.account(), &auditor).await.unwrap();
    look.notify_one();
    assert!(socket.ends().await, "with its role");

    let alice = test.signed_in("alice").role("auditor").await;
    let socket = open(&alice.cookie()).await;
    test.store_fails(true);
    look.notify_one();
    assert!(socket.ends().await, "when it can't be told");
    test.store_fails(false);
}
