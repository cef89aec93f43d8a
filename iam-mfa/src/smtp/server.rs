use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use iam_core::ports::SendError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use url::{Host, Url};

use super::Stage;

/// How the way to the server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// From the first byte.
    Implicit,
    /// By STARTTLS, or not at all: without it nothing is sent.
    StartTls,
    /// On this machine only.
    None,
}

/// What a URL says of a server.
pub(super) struct Location {
    pub(super) encryption: Encryption,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) credentials: Option<Credentials>,
}

impl Location {
    /// Reads a URL. A problem never repeats any of it: a password that was not encoded may be anywhere.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let url = Url::parse(url).map_err(|_| "the URL of the mail server can't be read")?;
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err("the URL of the mail server has more than a host: percent-encode its password");
        }
        let in_the_clear = match url.query() {
            None => false,
            Some("tls=none") => true,
            Some(_) => return Err("the URL of the mail server can have `?tls=none`, and nothing else there"),
        };
        let (encryption, default_port) = match (url.scheme(), in_the_clear) {
            ("smtps", false) => (Encryption::Implicit, 465),
            ("smtp", false) => (Encryption::StartTls, 587),
            ("smtp", true) => (Encryption::None, 25),
            ("smtps", true) => return Err("`smtps` is encrypted: `?tls=none` goes with `smtp`"),
            _ => return Err("the URL of the mail server must begin with `smtps://` or `smtp://`"),
        };
        let host = host(&url).ok_or("the URL of the mail server has no host")?;
        if encryption == Encryption::None && !is_this_machine(&host) {
            return Err(
                "`?tls=none` is for a mail server on this machine: codes and passwords would be read on the way",
            );
        }
        Ok(Self {
            encryption,
            host: match host {
                Host::Domain(name) => name,
                Host::Ipv4(address) => address.to_string(),
                Host::Ipv6(address) => address.to_string(),
            },
            port: url.port().unwrap_or(default_port),
            credentials: credentials(&url)?,
        })
    }
}

/// The host, read as in `https` URLs: for other schemes, `Url` leaves it as it is.
fn host(url: &Url) -> Option<Host> {
    url.host_str().and_then(|host| Host::parse(host).ok())
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => IpAddr::from(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::from(*address).is_loopback(),
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, &'static str> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(String::from);
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => Err("the URL of the mail server has a user or a password, not both"),
        (user, Some(password)) => match (decoded(user), decoded(password)) {
            // PLAIN parts them by a zero byte.
            (Ok(user), Ok(password)) if !user.contains('\0') && !password.contains('\0') => {
                Ok(Some(Credentials::new(user, password)))
            }
            _ => Err("user and password of the mail server must be UTF-8, percent-encoded"),
        },
    }
}

/// A server, and how to get to it.
pub(super) struct Server {
    pub(super) location: Location,
    /// What it is told that we are called.
    pub(super) hello: ClientId,
    pub(super) tls: TlsParameters,
}

impl Server {
    /// A connection that is encrypted and signed in.
    pub(super) async fn connect(&self, stage: &mut Stage) -> Result<AsyncSmtpConnection, SendError> {
        let Location { encryption, host, port, credentials } = &self.location;
        let (host, hello) = ((host.as_str(), *port), &self.hello);
        *stage = Stage::Connection;
        // No time-out but that of the whole message, which encloses this.
        let mut connection = if *encryption == Encryption::Implicit {
            AsyncSmtpConnection::connect_tokio1(host, None, hello, Some(self.tls.clone()), None).await
        } else {
            let stream = TcpStream::connect(host).await;
            let stream = stream.map_err(|error| SendError::NotNow(format!("{stage}: {error}")))?;
            // A message and its end are two packets; the second must not wait until the first was received.
            let _ = stream.set_nodelay(true);
            let stream = Box::new(ByLine { stream, encrypted: false });
            AsyncSmtpConnection::connect_with_transport(stream, hello).await
        }
        .map_err(|error| stage.verdict(&error))?;
        if *encryption == Encryption::StartTls {
            *stage = Stage::Encryption;
            connection.starttls(self.tls.clone(), hello).await.map_err(|error| stage.verdict(&error))?;
        }
        if let Some(credentials) = credentials {
            *stage = Stage::SignIn;
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&mechanisms, credentials).await.map_err(|error| stage.verdict(&error))?;
        }
        Ok(connection)
    }
}

/// A stream of which nothing is read ahead before it is encrypted.
///
/// Whoever sits on the way can send more than the answer to STARTTLS. Read ahead, that would be taken for answers which came
/// encrypted; left in the stream, it is no TLS, and the connection fails.
#[derive(Debug)]
struct ByLine {
    stream: TcpStream,
    encrypted: bool,
}

/// How every TLS handshake begins, and no command of SMTP.
const HANDSHAKE: u8 = 0x16;

impl AsyncRead for ByLine {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.encrypted || buffer.remaining() == 0 {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        // Byte by byte: what is said in the clear is some lines.
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut one))?;
        buffer.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByLine {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.encrypted |= bytes.first() == Some(&HANDSHAKE);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncTokioStream for ByLine {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> (Encryption, String, u16, Option<Credentials>) {
        let location = Location::parse(url).map_err(|problem| format!("{url}: {problem}")).unwrap();
        (location.encryption, location.host, location.port, location.credentials)
    }

    #[test]
    fn urls_are_read() {
        let amy = Some(Credentials::new("amy@x".to_owned(), "p/w:#".to_owned()));
        for (url, encryption, host, port, credentials) in [
            (
                "smtps://amy%40x:p%2Fw%3A%23@mail.example",
                Encryption::Implicit,
                "mail.example",
                465,
                amy.clone(),
            ),
            ("smtps://MAIL.example:10465/", Encryption::Implicit, "mail.example", 10465, None),
            ("smtp://amy%40x:p%2Fw:%23@mail.example:587", Encryption::StartTls, "mail.example", 587, amy),
            ("smtp://münchen.example", Encryption::StartTls, "xn--mnchen-3ya.example", 587, None),
            ("smtp://localhost?tls=none", Encryption::None, "localhost", 25, None),
            ("smtp://127.0.0.1:1025?tls=none", Encryption::None, "127.0.0.1", 1025, None),
            ("smtp://[::1]:1025/?tls=none", Encryption::None, "::1", 1025, None),
        ] {
            assert_eq!(parse(url), (encryption, host.to_owned(), port, credentials), "{url}");
        }
    }

    #[test]
    fn what_is_not_clear_or_not_safe_is_refused() {
        for url in [
            "",
            "mail.example",
            "https://mail.example",
            "smtp://",
            "smtps:mail.example",
            "smtp://mail.example?tls=none",
            "smtp://10.0.0.1?tls=none",
            "smtp://localhost.example?tls=none",
            "smtp://127.0.0.1.example?tls=none",
            "smtp://127.0.0.1@mail.example?tls=none",
            "smtps://localhost?tls=none",
            "smtp://localhost?tls=optional",
            "smtp://localhost?tls=none&x=y",
            "smtp://localhost?",
            "smtp://amy@mail.example",
            "smtp://:secret@mail.example",
            "smtp://amy:s3cret#1@mail.example",
            "smtp://amy:25/s3cret@mail.example",
            "smtp://amy:%00s3cret@mail.example",
            "smtp://amy:%FFs3cret@mail.example",
            "smtp://mail example",
            "smtp://mail.example:99999",
        ] {
            let problem = Location::parse(url).err();
            assert!(problem.is_some_and(|problem| !problem.contains("cret")), "{url}");
        }
    }
}
