//! Signing out beside a slow write of the same session. What may come of it:
//!
//! - Who was signed in when the request to sign out came is signed out by it, whatever token the session has by then: once that
//!   was answered, the old token and the new one are dead, and the trail has the sign-out once.
//! - A renewal (a new proof, a change of password) that comes to the store after that changes nothing, gives nobody a token and
//!   is refused (409; 401 if it had not even begun).
//! - A request to sign out that comes with the old token after the renewal ends the session as long as nobody has used the new
//!   one: whoever sent it may never have had the answer. Once the new token was used, it is answered as always, since signing out
//!   twice is no mistake, and ends nothing (`repeats.rs`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::{JoinHandle, yield_now};

use crate::{Adapter, Answer, Backend, Browser, PASSWORD, Point, World};

/// Of each slow write, spread evenly over the ways in which it can meet a sign-out.
const ROUNDS: usize = 200;

const OTHER_PASSWORD: &str = "a wholly different pass phrase";

/// What is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    /// Noting that the session was used.
    Note,
    /// Proving again who one is.
    Proof,
    /// Changing the password.
    Password,
}

/// How the two meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meeting {
    /// The sign-out comes and is answered while the other has begun, and not yet written.
    BeforeTheWrite,
    /// It comes while the write is done, and not yet committed.
    BeforeTheCommit,
    /// It has found out who signs out, and not yet ended anything, when the other comes and is answered.
    Around,
    /// It comes, with the token of old, when the other was answered.
    Afterwards,
    /// Both wait for the same lock of another program.
    BehindALock,
    /// Both come at the same time.
    Freely,
}

impl Slow {
    fn meetings(self) -> &'static [Meeting] {
        use Meeting::{Afterwards, Around, BeforeTheCommit, BeforeTheWrite, BehindALock, Freely};
        match self {
            Self::Note => &[BeforeTheWrite, BehindALock, Freely],
            Self::Proof | Self::Password => {
                &[BeforeTheWrite, BeforeTheCommit, Around, Afterwards, BehindALock, Freely]
            }
        }
    }
}

/// SES-06: a note of use that comes late does not bring back a session.
pub async fn a_slow_note_of_use_brings_no_session_back(adapter: Adapter, backend: Backend) {
    all_meetings(adapter, backend, Slow::Note).await;
}

/// SES-06: neither does a new proof.
pub async fn a_slow_renewal_brings_no_session_back(adapter: Adapter, backend: Backend) {
    all_meetings(adapter, backend, Slow::Proof).await;
}

/// SES-06: nor a change of password.
pub async fn a_slow_change_of_password_brings_no_session_back(adapter: Adapter, backend: Backend) {
    all_meetings(adapter, backend, Slow::Password).await;
}

/// Signing in ends the session that the browser had, though another tab renews it at that moment.
pub async fn a_renewal_beside_a_sign_in_leaves_no_session_behind(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let old = world.signed_in("amy").await;
    world.later(120);
    let mut held = world.faults.hold(Point::Touch);
    let mut browser = old.clone();
    let signing_in =
        tokio::spawn(async move { (browser.api_sign_in("gus", PASSWORD).await.status, browser) });
    held.reached().await;
    let mut renewed = old.clone();
    let proof = json!({"password": PASSWORD});
    assert_eq!(renewed.post_json("/api/v1/auth/reauthenticate", &proof).await.status, 200);
    assert_eq!(status(&renewed).await, 200);
    drop(held);
    let (signed_in, new) = signing_in.await.unwrap();
    assert_eq!((signed_in, status(&new).await), (200, 200));
    assert_eq!((status(&old).await, status(&renewed).await), (401, 401));
}

async fn all_meetings(adapter: Adapter, backend: Backend, slow: Slow) {
    let world = World::new(adapter, backend).await;
    let mut race = Race { world, slow, password: PASSWORD, other: OTHER_PASSWORD };
    for round in 0..ROUNDS {
        let meetings = slow.meetings();
        // Cookies and bearer tokens meet in all ways alike.
        let by_token = (round / meetings.len()) % 2 == 1;
        race.round(meetings[round % meetings.len()], by_token).await;
    }
}

struct Race {
    world: World,
    slow: Slow,
    password: &'static str,
    other: &'static str,
}

impl Race {
    async fn round(&mut self, meeting: Meeting, by_token: bool) {
        let what = format!("{:?} {meeting:?}, by token: {by_token}", self.slow);
        let old = self.sign_in(by_token).await;
        // The next request notes the session's use.
        self.world.later(120);
        let signed_out_before = self.signed_out().await;
        let (left, written) = self.meet(meeting, &old).await;
        assert_eq!(left.status, 204, "{what}: {}", left.body);
        let signed_out = self.signed_out().await - signed_out_before;

        let new = self.renewed(&old, &written, by_token);
        assert_eq!(status(&old).await, 401, "{what}: the old token is dead");
        match meeting {
            // It was let in before it was signed out.
            _ if self.slow == Slow::Note => {
                assert!(matches!(written.status, 200 | 401), "{what}: {}", written.status);
                assert_eq!(signed_out, 1, "{what}");
            }
            Meeting::BeforeTheWrite => assert_eq!((written.status, signed_out), (409, 1), "{what}"),
            Meeting::BeforeTheCommit | Meeting::Around | Meeting::Afterwards => {
                assert_eq!((written.status, signed_out), (200, 1), "{what}: {}", written.body);
            }
            Meeting::BehindALock => {
                assert!(matches!(written.status, 200 | 409), "{what}: {}", written.body);
                assert_eq!(signed_out, 1, "{what}: both were signed in when they came");
            }
            Meeting::Freely => {
                assert!(matches!(written.status, 200 | 401 | 409), "{what}: {}", written.body);
                assert!(signed_out == 1 || signed_out == 0 && written.status == 200, "{what}");
            }
        }
        if let Some(new) = new {
            assert_eq!(status(&new).await, if signed_out == 1 { 401 } else { 200 }, "{what}: the new token");
            sign_out(new.clone()).await;
            assert_eq!(status(&new).await, 401, "{what}: the new token signs out");
        }
        let live = "SELECT count(*) FROM iam_auth_session WHERE ended_at IS NULL";
        assert_eq!(self.world.count(live).await, 0, "{what}");
        if self.slow == Slow::Password && written.status == 200 {
            std::mem::swap(&mut self.password, &mut self.other);
        }
    }

    /// Lets a sign-out and the slow write meet; gives the answers to both.
    async fn meet(&self, meeting: Meeting, old: &Browser) -> (Answer, Answer) {
        let faults = &self.world.faults;
        match meeting {
            Meeting::BeforeTheWrite => {
                let point = if self.slow == Slow::Note { Point::Touch } else { Point::Candidate };
                let mut held = faults.hold(point);
                let writing = self.write(old);
                held.reached().await;
                let left = sign_out(old.clone()).await;
                drop(held);
                (left, writing.await.unwrap())
            }
            Meeting::BeforeTheCommit => {
                let mut held = faults.hold(Point::Renewed);
                let writing = self.write(old);
                held.reached().await;
                let known = faults.sessions_found_out.load(Ordering::SeqCst);
                let leaving = tokio::spawn(sign_out(old.clone()));
                // Until it is known who signs out; to end the session it has to wait.
                self.until_known(known + 1).await;
                drop(held);
                (leaving.await.unwrap(), writing.await.unwrap())
            }
            Meeting::Around => {
                let mut held = faults.hold(Point::Touch);
                let leaving = tokio::spawn(sign_out(old.clone()));
                held.reached().await;
                let written = self.write(old).await.unwrap();
                drop(held);
                (leaving.await.unwrap(), written)
            }
            Meeting::Afterwards => {
                let written = self.write(old).await.unwrap();
                (sign_out(old.clone()).await, written)
            }
            Meeting::BehindALock => {
                let locked = self.world.lock_sessions().await;
                let known = faults.sessions_found_out.load(Ordering::SeqCst);
                let writing = self.write(old);
                let leaving = tokio::spawn(sign_out(old.clone()));
                // It is known who asks; each waits to note that the session was used.
                self.until_known(known + 2).await;
                locked.release().await;
                (leaving.await.unwrap(), writing.await.unwrap())
            }
            Meeting::Freely => {
                let start = Arc::new(Barrier::new(2));
                let both = Arc::clone(&start);
                let old_too = old.clone();
                let leaving = tokio::spawn(async move {
                    both.wait().await;
                    sign_out(old_too).await
                });
                start.wait().await;
                let written = self.write(old).await.unwrap();
                (leaving.await.unwrap(), written)
            }
        }
    }

    async fn until_known(&self, sessions: usize) {
        while self.world.faults.sessions_found_out.load(Ordering::SeqCst) < sessions {
            yield_now().await;
        }
    }

    async fn sign_in(&self, by_token: bool) -> Browser {
        let mut browser = self.world.browser();
        let body = json!({"username": "amy", "password": self.password, "token": by_token});
        let answer = browser.post_json("/api/v1/auth/login", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        if by_token { self.carrying(answer.json()["session_token"].as_str().unwrap()) } else { browser }
    }

    fn carrying(&self, token: &str) -> Browser {
        self.world.browser().with_header("authorization", &format!("Bearer {token}"))
    }

    /// Begins the slow write.
    fn write(&self, old: &Browser) -> JoinHandle<Answer> {
        let (mut browser, slow) = (old.clone(), self.slow);
        let change = json!({"current_password": self.password, "new_password": self.other});
        let proof = json!({"password": self.password});
        tokio::spawn(async move {
            match slow {
                Slow::Note => browser.get("/reports").await,
                Slow::Proof => browser.post_json("/api/v1/auth/reauthenticate", &proof).await,
                Slow::Password => browser.post_json("/api/v1/account/password", &change).await,
            }
        })
    }

    /// Who carries the token that an answer gave, if it gave one.
    fn renewed(&self, old: &Browser, answer: &Answer, by_token: bool) -> Option<Browser> {
        if self.slow == Slow::Note || answer.status != 200 {
            return None;
        }
        if by_token {
            return Some(self.carrying(answer.json()["session_token"].as_str().unwrap()));
        }
        let mut browser = old.clone();
        let line = answer.set_cookies().into_iter().find(|line| line.starts_with("iam_session=")).unwrap();
        let value = line.split(';').next().unwrap().split_once('=').unwrap().1;
        assert_ne!(browser.cookies.insert("iam_session".to_owned(), value.to_owned()).unwrap(), value);
        Some(browser)
    }

    /// Sign-outs in the trail so far.
    async fn signed_out(&self) -> i64 {
        self.world.count("SELECT count(*) FROM iam_auth_log WHERE event = 'authn_logout'").await
    }
}

async fn sign_out(mut browser: Browser) -> Answer {
    let origin = browser.origin();
    browser.send("POST", "/api/v1/auth/logout", &[("origin", &origin)], Vec::new()).await
}

async fn status(browser: &Browser) -> u16 {
    browser.clone().get("/api/v1/me").await.status
}
