//! Serving: many at once in one process, each until it is told to stop.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use std::net::SocketAddr;
use std::time::Duration;

use actix_app::Documents;
use iam_actix::{Iam, KeyRing, Keys, SecretKey};
use iam_store_sqlite::SqliteStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

const IDLE: Duration = Duration::from_secs(75);

async fn connect(address: SocketAddr, begin: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(begin.as_bytes()).await.unwrap();
    stream
}

async fn answer(mut stream: TcpStream, end: &str) -> String {
    stream.write_all(end.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn each_serves_until_it_is_told_to_stop_and_finishes_what_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("iam.db")).await.unwrap();
    store.migrate().await.unwrap();
    let keys = Keys {
        secret: SecretKey::from_base64("3Kf0mZ0q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM=").unwrap(),
        ring: KeyRing::parse("Zk8s0Qh3vXn6Wb1yTg5LrJ2mPd7cFu9aEo4iKxVtBqY=").unwrap(),
    };
    let iam = Iam::builder(store, keys).build().await.unwrap();
    let documents = Documents::of_the_example(&iam).await.unwrap();

    let mut servers = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        let serving =
            actix_app::serve(listener.into_std().unwrap(), (&iam).into(), documents.clone(), IDLE, stopped);
        servers.push((address, stop, tokio::spawn(serving)));
    }
    for (address, _, _) in &servers {
        let stream = connect(*address, "GET /healthz HTTP/1.1\r\nHost: x\r\n").await;
        let answer = answer(stream, "Connection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"), "{answer}");
    }
    let post = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\
                Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n";
    for (address, stop, serving) in servers {
        let mut under_way = connect(address, post).await;
        let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        let mut read = vec![0; go_on.len()];
        under_way.read_exact(&mut read).await.unwrap();
        assert_eq!(read, go_on.as_bytes(), "it has been taken up");
        stop.send(()).unwrap();
        let refused = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(20), refused).await.expect("nobody new is let in");
        assert!(answer(under_way, "{}").await.starts_with("HTTP/1.1 422 "));
        timeout(Duration::from_secs(20), serving).await.unwrap().unwrap().unwrap();
    }
}
