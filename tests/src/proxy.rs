//! A way to a server that can be closed, and led elsewhere.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the way to the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Everything passes.
    Open,
    /// Connections break, and new ones are refused, as when a server was killed.
    Killed,
    /// Nothing comes through any more and nobody says so, as when a cable was pulled.
    Silent,
    /// Nothing comes through the connections of before, for good, and nobody says so, as when a router has forgotten them.
    /// New ones pass.
    Forgotten,
}

/// A way to a server.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    way: watch::Sender<Way>,
    server: watch::Sender<String>,
}

impl Proxy {
    /// One that is open, to a host and port.
    pub async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, state) = watch::channel(Way::Open);
        let (server, leads_to) = watch::channel(server);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(client, leads_to.clone(), state.clone()));
            }
        });
        Self { address, way, server }
    }

    /// Changes what it does.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Leads new connections to another server. Those that are there stay where they are.
    pub fn lead_to(&self, server: String) {
        self.server.send_replace(server);
    }
}

async fn carry(mut client: TcpStream, server: watch::Receiver<String>, mut way: watch::Receiver<Way>) {
    loop {
        let now = *way.borrow_and_update();
        match now {
            Way::Killed => return,
            // Held open, and nothing said, until there is a way again; by then nobody waits for it.
            Way::Silent => {
                if way.changed().await.is_err() {
                    return;
                }
            }
            Way::Open | Way::Forgotten => break,
        }
    }
    let server = server.borrow().clone();
    // Where no server is, there is no way either.
    let Ok(mut server) = TcpStream::connect(&server).await else { return };
    loop {
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            changed = way.changed() => {
                let now = *way.borrow_and_update();
                match (changed.is_ok(), now) {
                    (true, Way::Open) => {}
                    (true, Way::Silent) => {
                        // What was under way is lost; the connection stays until somebody gives it up.
                        while way.changed().await.is_ok() && *way.borrow_and_update() == Way::Silent {}
                        return;
                    }
                    (true, Way::Forgotten) => {
                        // As long as the way is there at all.
                        while way.changed().await.is_ok() {}
                        return;
                    }
                    _ => return,
                }
            }
        }
    }
}
