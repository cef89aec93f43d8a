//! What combined and hidden guards answer: one table for both adapters, which each build the same small application for it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use iam_core::ParentKey;
use iam_testkit::{ParentId, TestIam};

const PEOPLE: [(&str, Option<&str>, &[&str]); 5] = [
    ("amy", Some("acme"), &["admin"]),
    ("bob", Some("acme"), &[]),
    ("gus", Some("globex"), &["admin", "auditor"]),
    ("max", None, &["admin"]),
    ("pat", None, &["iam:platform-admin"]),
];

/// The host's data: object 1 belongs to acme, 2 to globex, and there is no other.
#[derive(Clone)]
pub(crate) struct Objects {
    parents: [ParentId; 2],
    asked: Arc<AtomicUsize>,
}

impl Objects {
    /// What the guards ask.
    pub(crate) fn parent_of(&self, id: u64) -> Option<ParentId> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match id {
            1 => Some(self.parents[0]),
            2 => Some(self.parents[1]),
            _ => None,
        }
    }

    /// The same of a host whose objects have their parent's key.
    pub(crate) fn key_of(&self, id: u64) -> Option<ParentKey> {
        let parent = self.parent_of(id)?;
        let position = self.parents.iter().position(|known| *known == parent)?;
        ParentKey::parse(["acme", "globex"][position]).ok()
    }

    /// What the handler of `/proof/{id}` answers.
    pub(crate) fn describe(&self, username: &str, parent: Option<ParentId>) -> String {
        let position = self.parents.iter().position(|known| Some(*known) == parent);
        let key = position.map_or("not asked", |position| ["acme", "globex"][position]);
        format!("{username}: {key}")
    }
}

/// An identity layer, and the host's data.
pub(crate) async fn world() -> (TestIam, Objects) {
    let test = TestIam::new().await;
    let parents = [test.parent("acme").await, test.parent("globex").await];
    (test, Objects { parents, asked: Arc::default() })
}

/// What an adapter's test sends.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

/// What it gets.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    /// Without what is another one in each answer.
    fn comparable(&self) -> String {
        let policy = self.header("content-security-policy");
        let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).unwrap_or("none");
        format!("{}\n{:#?}\n{}", self.status, self.headers, self.body)
            .replace(self.header("x-request-id"), "ID")
            .replace(nonce, "NONCE")
    }
}

/// Who sends what; the status, how often a resolver is asked, and what the body holds.
type Case = (&'static str, &'static str, &'static str, u16, usize, &'static str);

/// `nobody` is not signed in. The guards, all with the same resolver:
///
/// | path | guard |
/// |---|---|
/// | `/both/{id}` | same parent, and admin; `POST` takes anyone who is signed in, and hides |
/// | `/either/{id}` | same parent, or auditor |
/// | `/platform/{id}` | same parent, or platform admin |
/// | `/hidden/{id}` | same parent, hidden |
/// | `/scoped/{id}` | same parent, hidden, and admin |
/// | `/keyed/{id}` | same parent, by its key; the handler says what the proof holds |
/// | `/named` | the parent acme |
/// | `/pair/{first}/{second}` | same parent as the first, and as the second |
/// | `/one-of/{first}/{second}` | same parent as the first, or as the second |
/// | `/nobody` | any of nothing |
/// | `/proof/{id}` | same parent, or platform admin; the handler says what the proof holds |
/// | `/proofless` | public; the handler asks for a proof all the same |
const CASES: &[Case] = &[
    ("nobody", "GET", "/both/1", 401, 0, ""),
    ("amy", "GET", "/both/1", 200, 1, "ok"),
    ("amy", "HEAD", "/both/1", 200, 1, ""),
    ("amy", "GET", "/both/2", 403, 1, "forbidden"),
    ("amy", "GET", "/both/3", 403, 1, "forbidden"),
    ("amy", "GET", "/both/zz", 403, 0, "forbidden"),
    // The role decides first, though it comes last.
    ("bob", "GET", "/both/1", 403, 0, "forbidden"),
    // No parent, no question.
    ("max", "GET", "/both/1", 403, 0, "forbidden"),
    ("gus", "GET", "/both/2", 200, 1, "ok"),
    ("bob", "POST", "/both/1", 200, 0, "ok"),
    ("nobody", "POST", "/both/1", 401, 0, ""),
    ("amy", "PUT", "/both/1", 405, 0, ""),
    ("nobody", "PUT", "/both/1", 405, 0, ""),
    ("nobody", "GET", "/either/1", 401, 0, ""),
    ("bob", "GET", "/either/1", 200, 1, "ok"),
    ("bob", "GET", "/either/2", 403, 1, "forbidden"),
    // The role is enough.
    ("gus", "GET", "/either/1", 200, 0, "ok"),
    ("gus", "GET", "/either/zz", 200, 0, "ok"),
    ("max", "GET", "/either/1", 403, 0, "forbidden"),
    ("pat", "GET", "/either/1", 403, 0, "forbidden"),
    ("pat", "GET", "/platform/1", 200, 0, "ok"),
    ("pat", "GET", "/platform/3", 200, 0, "ok"),
    ("bob", "GET", "/platform/1", 200, 1, "ok"),
    ("amy", "GET", "/platform/2", 403, 1, "forbidden"),
    ("nobody", "GET", "/hidden/1", 401, 0, ""),
    ("bob", "GET", "/hidden/1", 200, 1, "ok"),
    ("bob", "GET", "/hidden/2", 404, 1, "not_found"),
    ("bob", "GET", "/hidden/3", 404, 1, "not_found"),
    ("bob", "GET", "/hidden/zz", 404, 0, "not_found"),
    ("max", "GET", "/hidden/1", 404, 0, "not_found"),
    ("pat", "GET", "/hidden/1", 404, 0, "not_found"),
    ("nobody", "GET", "/scoped/1", 401, 0, ""),
    ("amy", "GET", "/scoped/1", 200, 1, "ok"),
    ("amy", "GET", "/scoped/2", 404, 1, "not_found"),
    ("amy", "GET", "/scoped/3", 404, 1, "not_found"),
    ("amy", "GET", "/scoped/zz", 404, 0, "not_found"),
    // Who may know that it is there is told what is missing; who may not is not, though the role is missing as well.
    ("bob", "GET", "/scoped/1", 403, 1, "forbidden"),
    ("bob", "GET", "/scoped/2", 404, 1, "not_found"),
    ("bob", "GET", "/scoped/3", 404, 1, "not_found"),
    ("max", "GET", "/scoped/1", 404, 0, "not_found"),
    ("gus", "GET", "/scoped/2", 200, 1, "ok"),
    ("gus", "GET", "/scoped/1", 404, 1, "not_found"),
    ("nobody", "GET", "/keyed/1", 401, 0, ""),
    ("amy", "GET", "/keyed/1", 200, 1, "amy: acme"),
    ("amy", "GET", "/keyed/2", 403, 1, "forbidden"),
    ("amy", "GET", "/keyed/3", 403, 1, "forbidden"),
    ("max", "GET", "/keyed/1", 403, 0, "forbidden"),
    ("gus", "GET", "/keyed/2", 200, 1, "gus: globex"),
    ("nobody", "GET", "/named", 401, 0, ""),
    ("bob", "GET", "/named", 200, 0, "ok"),
    ("gus", "GET", "/named", 403, 0, "forbidden"),
    ("max", "GET", "/named", 403, 0, "forbidden"),
    ("amy", "GET", "/pair/1/1", 200, 2, "ok"),
    ("amy", "GET", "/pair/1/2", 403, 2, "forbidden"),
    // The first answer decides.
    ("amy", "GET", "/pair/2/1", 403, 1, "forbidden"),
    ("gus", "GET", "/pair/2/2", 200, 2, "ok"),
    ("amy", "GET", "/one-of/1/2", 200, 1, "ok"),
    ("amy", "GET", "/one-of/2/1", 200, 2, "ok"),
    ("amy", "GET", "/one-of/2/2", 403, 2, "forbidden"),
    ("gus", "GET", "/one-of/1/2", 200, 2, "ok"),
    ("pat", "GET", "/nobody", 403, 0, "forbidden"),
    ("nobody", "GET", "/nobody", 401, 0, ""),
    ("bob", "GET", "/proof/1", 200, 1, "bob: acme"),
    ("pat", "GET", "/proof/1", 200, 0, "pat: not asked"),
    ("pat", "GET", "/proofless", 500, 0, "internal error"),
    ("nobody", "GET", "/proofless", 500, 0, "internal error"),
];

/// Signs everybody in, and goes through the table: how they show who they are makes no difference.
pub(crate) async fn check<F, Fut>(test: &TestIam, objects: &Objects, send: F)
where
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Answer>,
{
    let (mut cookies, mut bearers) = (BTreeMap::new(), BTreeMap::new());
    for (name, parent, roles) in PEOPLE {
        let person = roles.iter().fold(test.signed_in(name), |person, role| person.role(role));
        let person = match parent {
            Some(key) => person.parent(key).await,
            None => person.await,
        };
        bearers.insert(name, ("authorization", person.bearer().await));
        cookies.insert(name, ("cookie", person.cookie()));
    }
    for shown in [cookies, bearers] {
        check_by(&shown, objects, &send).await;
    }
}

async fn check_by<F, Fut>(shown: &BTreeMap<&str, (&'static str, String)>, objects: &Objects, send: &F)
where
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Answer>,
{
    let ask = |who: &str, method, path: &str, accept: &str| {
        let mut headers = vec![("accept", accept.to_owned()), ("sec-fetch-site", "same-origin".to_owned())];
        headers.extend(shown.get(who).cloned());
        send(Request { method, path: path.to_owned(), headers, body: String::new() })
    };
    for (who, method, path, status, asked, holds) in CASES {
        let before = objects.asked.load(Ordering::SeqCst);
        let answer = ask(who, method, path, "application/json").await;
        let what = format!("{who}: {method} {path}: {answer:?}");
        assert_eq!(answer.status, *status, "{what}");
        assert_eq!(objects.asked.load(Ordering::SeqCst) - before, *asked, "questions of {what}");
        assert!(answer.body.contains(holds), "{what}");
        if *status == 405 {
            assert_eq!(answer.header("allow"), "GET,HEAD,POST", "{what}");
        }
    }

    // Nothing tells what is hidden from what is missing, to a person and to a program.
    for accept in ["text/html", "application/json"] {
        let hidden = ask("bob", "GET", "/hidden/2", accept).await;
        assert_eq!(hidden.status, 404);
        for path in ["/hidden/3", "/hidden/zz", "/scoped/2", "/scoped/3", "/scoped/zz"] {
            assert_eq!(ask("bob", "GET", path, accept).await.comparable(), hidden.comparable(), "{path}");
        }
    }
    assert!(ask("bob", "GET", "/hidden/2", "text/html").await.body.contains("Page not found"));
    // Who is not signed in can do something about it.
    let sent = ask("nobody", "GET", "/hidden/2", "text/html").await;
    assert_eq!((sent.status, sent.header("location")), (303, "/auth/login?next=/hidden/2"));
}

/// An inventory's lines without the family's own, each with single spaces.
pub(crate) fn shown(inventory: &impl ToString) -> String {
    let text = inventory.to_string();
    let own = text.lines().filter(|line| !line.ends_with("  iam"));
    own.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

/// What the router says that it has, the family's own addresses aside. The adapters write paths in the same way.
pub(crate) const INVENTORY: &str = "\
METHOD PATH GUARD
ANY /* UNGUARDED: kept from before
GET /both/{id} all of (same parent; role admin)
POST /both/{id} signed in, hidden
GET /either/{id} any of (same parent; role auditor)
GET /hidden/{id} same parent, hidden
GET /keyed/{id} same parent
GET /named parent acme
GET /nobody nobody
GET /one-of/{first}/{second} any of (same parent; same parent)
GET /pair/{first}/{second} all of (same parent; same parent)
GET /platform/{id} any of (same parent; role iam:platform-admin)
GET /proof/{id} any of (same parent; role iam:platform-admin)
GET /proofless public
GET /scoped/{id} all of (same parent, hidden; role admin)
GET /v1 signed in, background
ANY /v1/* UNGUARDED: an old library
GET /v1/x/new public
DELETE /v1/x/{id} role admin
PATCH /v1/x/{id} role admin
PUT /v1/x/{id} role admin";
