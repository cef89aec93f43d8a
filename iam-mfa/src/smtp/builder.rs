use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use url::Host;
use zeroize::Zeroizing;

use super::Smtp;
use super::server::{Location, Server};
use crate::texts::Texts;

/// How long a message may take, if nothing else is said: what [`OtpSender`](iam_core::ports::OtpSender) asks for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sets up [`Smtp`].
#[derive(Clone, Default)]
#[must_use]
pub struct SmtpBuilder {
    url: Option<Zeroizing<String>>,
    from: Option<String>,
    hello: Option<String>,
    roots: Vec<Vec<u8>>,
    texts: Vec<(String, String)>,
    timeout: Option<Duration>,
}

impl SmtpBuilder {
    /// The server; see [`Smtp::from_url`].
    pub fn url(mut self, url: &str) -> Self {
        self.url = Some(Zeroizing::new(url.to_owned()));
        self
    }

    /// Whom mails come from: `no-reply@acme.example` or `Acme <no-reply@acme.example>`.
    pub fn from(mut self, from: impl Into<String>) -> Self {
        self.from = Some(from.into());
        self
    }

    /// The name that this machine gives itself to the server (EHLO, RFC 5321, 4.1.1.1): a full one, such as `app.acme.example`, or an
    /// address. If it is not set, the domain that mails come from; the machine's own name is a bare one in most containers, from which
    /// some servers take nothing.
    pub fn hello(mut self, name: impl Into<String>) -> Self {
        self.hello = Some(name.into());
        self
    }

    /// Trusts these certificates, too (PEM): for servers with certificates of an authority of one's own.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// A text in place of the [built-in](crate::built_in_texts) one of that key.
    pub fn text(mut self, key: impl Into<String>, text: impl Into<String>) -> Self {
        self.texts.push((key.into(), text.into()));
        self
    }

    /// Many texts, such as a whole catalogue.
    pub fn texts<K: Into<String>, T: Into<String>>(
        mut self,
        texts: impl IntoIterator<Item = (K, T)>,
    ) -> Self {
        self.texts.extend(texts.into_iter().map(|(key, text)| (key.into(), text.into())));
        self
    }

    /// How long a message may take, everything included: ten seconds if not set, and at most.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Puts it together. No connection is made: a mail server that is down does not keep a service from starting.
    ///
    /// # Errors
    /// Everything that is wrong, at once: a URL, an address or a certificate that can't be read, a text that there is not, or one with
    /// a `{name}` that nobody fills in.
    pub fn build(self) -> Result<Smtp, InvalidSmtp> {
        let mut problems = Vec::new();
        let location = match self.url.as_ref().map(|url| Location::parse(url)) {
            Some(Ok(location)) => Some(location),
            Some(Err(problem)) => {
                problems.push(problem.to_owned());
                None
            }
            None => {
                problems.push("there is no URL of a mail server".to_owned());
                None
            }
        };
        let from = self.sender(&mut problems);
        let hello = self.hello_name(from.as_ref(), &mut problems);
        let roots = self.certificates(&mut problems);
        let texts = Texts::with(self.texts, &mut problems);
        let timeout = self.timeout.unwrap_or(TIMEOUT);
        if timeout.is_zero() || timeout > TIMEOUT {
            problems.push("a message must have some time, and ten seconds at most".to_owned());
        }
        let known = location.zip(hello);
        let server = known.and_then(|(location, hello)| server(location, hello, roots, &mut problems));
        match (server, from) {
            (Some(server), Some(from)) if problems.is_empty() => {
                Ok(Smtp { server, from, texts, timeout, idle: Mutex::default() })
            }
            _ => Err(InvalidSmtp(problems)),
        }
    }

    fn sender(&self, problems: &mut Vec<String>) -> Option<Mailbox> {
        let Some(from) = &self.from else {
            problems.push("there is no address that mails come from".to_owned());
            return None;
        };
        // What is not ASCII would need a server, and servers after it, with SMTPUTF8.
        let parsed = from.parse().ok().filter(|from: &Mailbox| from.email.to_string().is_ascii());
        if parsed.is_none() {
            problems.push("the address that mails come from can't be read".to_owned());
        }
        parsed
    }

    fn hello_name(&self, from: Option<&Mailbox>, problems: &mut Vec<String>) -> Option<ClientId> {
        let Some(hello) = &self.hello else {
            // As its own check let it pass.
            return from.map(|from| ClientId::Domain(from.email.domain().to_owned()));
        };
        let name = match Host::parse(hello) {
            Ok(Host::Domain(name)) if is_full_name(&name) => Some(ClientId::Domain(name)),
            Ok(Host::Ipv4(address)) => Some(ClientId::Ipv4(address)),
            Ok(Host::Ipv6(address)) => Some(ClientId::Ipv6(address)),
            _ => None,
        };
        if name.is_none() {
            problems.push(
                "the name for EHLO must be a full one, such as app.acme.example, or an address such as 192.0.2.1 or [2001:db8::1]"
                    .to_owned(),
            );
        }
        name
    }

    fn certificates(&self, problems: &mut Vec<String>) -> Vec<Certificate> {
        let mut certificates = Vec::new();
        for pem in &self.roots {
            // A file without any would be taken for one with nothing to trust.
            let has_one = pem.windows(27).any(|part| part == b"-----BEGIN CERTIFICATE-----");
            match Certificate::from_pem(pem) {
                Ok(certificate) if has_one => certificates.push(certificate),
                _ => problems.push("a root certificate can't be read: PEM is needed".to_owned()),
            }
        }
        certificates
    }
}

/// RFC 5321, 4.1.2, and RFC 1035, 2.3.4.
fn is_full_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.contains('.') && name.split('.').all(is_label)
}

fn server(
    location: Location,
    hello: ClientId,
    roots: Vec<Certificate>,
    problems: &mut Vec<String>,
) -> Option<Server> {
    let mut tls =
        TlsParameters::builder(location.host.clone()).certificate_store(CertificateStore::WebpkiRoots);
    for root in roots {
        tls = tls.add_root_certificate(root);
    }
    match tls.build_rustls() {
        Ok(tls) => Some(Server { location, hello, tls }),
        Err(error) => {
            problems.push(format!("TLS can't be set up: {error}"));
            None
        }
    }
}

/// The server's password does not show.
impl fmt::Debug for SmtpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SmtpBuilder(..)")
    }
}

/// Settings that can't be used. Each line names one thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSmtp(Vec<String>);

impl InvalidSmtp {
    /// The problems, one text each.
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for InvalidSmtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mail can't be sent like this:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for InvalidSmtp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_work_is_said_at_once() {
        let problems = |builder: SmtpBuilder| builder.build().unwrap_err().problems().to_vec();
        assert_eq!(
            problems(Smtp::builder()),
            ["there is no URL of a mail server", "there is no address that mails come from"]
        );
        assert_eq!(
            problems(
                Smtp::from_url("smtp://amy:s3cret/@mail.example")
                    .from("amy\r\nBcc: x@y.example")
                    .root_certificates("no certificate")
                    .text("code.subjekt", "x")
                    .timeout(Duration::from_mins(1))
            ),
            [
                "the URL of the mail server can't be read",
                "the address that mails come from can't be read",
                "a root certificate can't be read: PEM is needed",
                "there is no text `code.subjekt`",
                "a message must have some time, and ten seconds at most",
            ]
        );
        for from in ["", "amy", "amy@", "Amy <amy@x", "jürgen@x.example", "a@x.example, b@x.example"] {
            assert!(Smtp::from_url("smtps://mail.example").from(from).build().is_err(), "{from}");
        }
    }

    #[test]
    fn the_name_for_ehlo_is_a_full_one() {
        let build =
            |hello: &str| Smtp::from_url("smtps://mail.example").from("a@x.example").hello(hello).build();
        for (hello, said) in [
            ("app.acme.example", "app.acme.example"),
            ("APP.acme.example", "app.acme.example"),
            ("app.münchen.example", "app.xn--mnchen-3ya.example"),
            ("192.0.2.1", "[192.0.2.1]"),
            ("[2001:db8::1]", "[IPv6:2001:db8::1]"),
        ] {
            assert_eq!(build(hello).unwrap().server.hello.to_string(), said);
        }
        for hello in [
            "",
            "c0ffee",
            "localhost",
            "x.",
            ".x",
            "a..b",
            "a_b.example",
            "-a.example",
            "a b.example",
            "x.y\r\nMAIL",
        ] {
            let problem = build(hello).unwrap_err();
            assert!(problem.problems()[0].contains("EHLO"), "{hello}: {problem}");
        }
    }

    #[test]
    fn passwords_do_not_show() {
        let builder = Smtp::from_url("smtps://amy:s3cret@mail.example").from("Acme GmbH <a@x.example>");
        assert_eq!(format!("{builder:?} {:?}", builder.clone().build().unwrap()), "SmtpBuilder(..) Smtp(..)");
    }
}
