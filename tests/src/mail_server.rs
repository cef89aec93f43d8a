//! A mail server that follows a script: it does as it should but where it was told otherwise, and keeps what it got.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the server does at one step instead of what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Says something else.
    Say(&'static str),
    /// Closes the connection.
    Drop,
    /// Says nothing at all, for as long as anybody waits.
    Hang,
}

/// The steps of a session at which a server can misbehave.
pub const STEPS: [&str; 7] = ["greeting", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "."];

/// A mail server on a port of its own.
#[derive(Clone, Debug)]
pub struct MailServer {
    /// Where it listens.
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
}

/// A message that the server has read to its end, whatever it said to it.
#[derive(Clone, Debug)]
pub struct Mail {
    /// For whom.
    pub to: String,
    /// Head and body.
    pub text: String,
    /// When it was there.
    pub at: Instant,
}

#[derive(Debug, Default)]
struct Seen {
    connections: usize,
    commands: Vec<String>,
    mails: Vec<Mail>,
    faults: Vec<Fault>,
    held: usize,
    starttls: Option<&'static str>,
}

#[derive(Debug)]
struct Fault {
    /// Of whose messages; all, if of nobody's.
    to: Option<String>,
    step: &'static str,
    act: Act,
    times: usize,
}

impl MailServer {
    /// One that does as it should.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { port, seen }
    }

    /// One that never does as it should at a step.
    pub async fn with(step: &'static str, act: Act) -> Self {
        let server = Self::start().await;
        server.fail(step, act, usize::MAX);
        server
    }

    /// Where it is, with a password.
    pub fn url(&self) -> String {
        format!("smtp://amy:s3cret@127.0.0.1:{}?tls=none", self.port)
    }

    /// From now on, and so many times, a step goes wrong. What was told before is forgotten.
    pub fn fail(&self, step: &'static str, act: Act, times: usize) {
        assert!(step == "RSET" || STEPS.contains(&step));
        self.seen().faults = vec![Fault { to: None, step, act, times }];
    }

    /// The same for the messages to one address only, from RCPT on, beside what was told before.
    pub fn fail_for(&self, to: &str, step: &'static str, act: Act, times: usize) {
        assert!(["RCPT", "DATA", "."].contains(&step));
        self.seen().faults.push(Fault { to: Some(to.to_owned()), step, act, times });
    }

    /// From now on it does as it should. Who hangs already goes on hanging.
    pub fn heal(&self) {
        let mut seen = self.seen();
        seen.faults.clear();
        seen.held = 0;
    }

    /// What it says to STARTTLS before it falls silent.
    pub fn say_to_starttls(&self, said: &'static str) {
        self.seen().starttls = Some(said);
    }

    /// The messages that it got, oldest first.
    pub fn received(&self) -> Vec<Mail> {
        self.seen().mails.clone()
    }

    /// Their texts.
    pub fn mails(&self) -> Vec<String> {
        self.received().into_iter().map(|mail| mail.text).collect()
    }

    /// The codes that it got for one address, oldest first, those included that came again.
    pub fn codes(&self, to: &str) -> Vec<String> {
        self.received().iter().filter(|mail| mail.to == to).filter_map(Mail::code).collect()
    }

    /// How often somebody connected.
    pub fn connections(&self) -> usize {
        self.seen().connections
    }

    /// How many hang.
    pub fn held(&self) -> usize {
        self.seen().held
    }

    /// Every command that it got.
    pub fn commands(&self) -> Vec<String> {
        self.seen().commands.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

impl Mail {
    /// The code in it: eight digits on a line of their own.
    pub fn code(&self) -> Option<String> {
        let is_code = |line: &&str| line.len() == 8 && line.bytes().all(|byte| byte.is_ascii_digit());
        self.text.lines().map(str::trim).find(is_code).map(str::to_owned)
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Seen>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut to) = (String::new(), String::new());
    if !answer(&mut stream, &seen, "greeting", &to, "220 test").await? {
        return Ok(());
    }
    while stream.read_line(&mut line).await? > 0 {
        let command = line.trim_end().to_owned();
        line.clear();
        seen.lock().unwrap().commands.push(command.clone());
        let verb = command.split(' ').next().unwrap().to_owned();
        let goes_on = match verb.as_str() {
            "STARTTLS" => {
                let said = seen.lock().unwrap().starttls.unwrap_or_default();
                reply(&mut stream, said).await?;
                std::future::pending().await
            }
            "EHLO" if seen.lock().unwrap().starttls.is_some() => {
                reply(&mut stream, "250-test\r\n250 STARTTLS").await?
            }
            "EHLO" => {
                answer(&mut stream, &seen, "EHLO", &to, "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN").await?
            }
            "AUTH" => answer(&mut stream, &seen, "AUTH", &to, "235 2.7.0 ok").await?,
            "MAIL" => answer(&mut stream, &seen, "MAIL", &to, "250 ok").await?,
            "RCPT" => {
                let address = command.split(['<', '>']).nth(1).unwrap_or_default();
                address.clone_into(&mut to);
                answer(&mut stream, &seen, "RCPT", &to, "250 ok").await?
            }
            "DATA" => match fault(&seen, "DATA", &to) {
                Some(act) => misbehave(&mut stream, act).await?,
                None => {
                    reply(&mut stream, "354 go on").await?;
                    let mut text = String::new();
                    while !text.ends_with("\r\n.\r\n") && stream.read_line(&mut text).await? > 0 {}
                    // What was cut off is no message.
                    if text.ends_with("\r\n.\r\n") {
                        let mail = Mail { to: to.clone(), text, at: Instant::now() };
                        seen.lock().unwrap().mails.push(mail);
                    }
                    answer(&mut stream, &seen, ".", &to, "250 2.0.0 queued").await?
                }
            },
            "RSET" => answer(&mut stream, &seen, "RSET", &to, "250 ok").await?,
            "QUIT" => return reply(&mut stream, "221 bye").await.map(drop),
            _ => reply(&mut stream, "500 what?").await?,
        };
        if !goes_on {
            return Ok(());
        }
    }
    Ok(())
}

/// What to do at a step instead of what should be done.
fn fault(seen: &Mutex<Seen>, step: &str, to: &str) -> Option<Act> {
    let mut seen = seen.lock().unwrap();
    let fault = seen.faults.iter_mut().find(|fault| {
        fault.step == step && fault.times > 0 && fault.to.as_deref().is_none_or(|whose| whose == to)
    })?;
    fault.times -= 1;
    let act = fault.act;
    if act == Act::Hang {
        seen.held += 1;
    }
    Some(act)
}

async fn answer(
    stream: &mut BufReader<TcpStream>,
    seen: &Mutex<Seen>,
    step: &str,
    to: &str,
    good: &str,
) -> io::Result<bool> {
    match fault(seen, step, to) {
        None => reply(stream, good).await,
        Some(act) => misbehave(stream, act).await,
    }
}

async fn misbehave(stream: &mut BufReader<TcpStream>, act: Act) -> io::Result<bool> {
    match act {
        Act::Say(text) => reply(stream, text).await,
        Act::Drop => Ok(false),
        Act::Hang => std::future::pending().await,
    }
}

async fn reply(stream: &mut BufReader<TcpStream>, text: &str) -> io::Result<bool> {
    stream.write_all(format!("{text}\r\n").as_bytes()).await?;
    Ok(true)
}
