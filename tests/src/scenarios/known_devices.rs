//! Notes of known devices: a stranger who guesses does not make the owner wait where the owner has been before (RL-06).

use serde_json::json;

use super::account::bearer;
use super::factors::{FACTORS, add_app, half_way, send_json, verify, with_app};
use crate::app::App;
use crate::{Adapter, Answer, Backend, Browser, PASSWORD, World};

const WRONG: &str = "not the password";
const NEW: &str = "a wholly different pass phrase";
const ACCOUNT_PASSWORD: &str = "/api/v1/account/password";

/// How somebody talks to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Forms,
    Json,
    Bearer,
}

/// Somebody's browser or program, with the note that it keeps.
struct Owner {
    by: By,
    name: &'static str,
    browser: Browser,
    /// A program's; a browser has a cookie.
    note: Option<String>,
}

impl Owner {
    async fn sign_in(world: &World, by: By, name: &'static str) -> Self {
        if by != By::Bearer {
            return Self { by, name, browser: world.signed_in(name).await, note: None };
        }
        let answer = by_token(world, name, PASSWORD, None).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (200, 0), "{}", answer.body);
        let mut owner = Self { by, name, browser: world.browser(), note: None };
        owner.keep(&answer);
        owner
    }

    /// What a program finds in an answer, it keeps.
    fn keep(&mut self, answer: &Answer) {
        if self.by == By::Bearer {
            let answer = answer.json();
            let token = answer["session_token"].as_str().unwrap();
            self.browser.headers = vec![("authorization".to_owned(), format!("Bearer {token}"))];
            self.note = Some(answer["device_token"].as_str().expect("a note").to_owned());
        } else if self.by == By::Json {
            assert!(
                answer.json().get("device_token").is_none(),
                "a script need not read it: {}",
                answer.body
            );
        }
    }

    fn note(&self) -> String {
        self.note.clone().unwrap_or_else(|| self.browser.cookies["iam_device"].clone())
    }

    async fn csrf_token(&mut self) -> String {
        self.browser.open("/auth/account").await.csrf_token()
    }

    async fn change_password(&mut self) {
        let answer = if self.by == By::Forms {
            let token = self.csrf_token().await;
            let fields =
                [("csrf_token", token.as_str()), ("current_password", PASSWORD), ("new_password", NEW)];
            self.browser.submit("/auth/account/password", &fields).await
        } else {
            let body = json!({"current_password": PASSWORD, "new_password": NEW});
            self.browser.post_json(ACCOUNT_PASSWORD, &body).await
        };
        self.is_done(&answer);
    }

    async fn add_app(&mut self, world: &World) -> String {
        let begun = self.browser.post_json(FACTORS, &json!({"kind": "totp", "name": "phone"})).await.json();
        let (id, app) = (begun["id"].as_str().unwrap(), App::from_base32(begun["secret"].as_str().unwrap()));
        let code = app.code(world, 0);
        let answer = if self.by == By::Forms {
            let token = self.csrf_token().await;
            let fields = [("csrf_token", token.as_str()), ("factor", id), ("kind", "totp"), ("code", &code)];
            self.browser.submit("/auth/account/factors/confirm", &fields).await
        } else {
            self.browser.post_json(&format!("{FACTORS}/{id}/confirm"), &json!({ "code": code })).await
        };
        self.is_done(&answer);
        id.to_owned()
    }

    async fn remove_app(&mut self, id: &str) {
        let answer = if self.by == By::Forms {
            let token = self.csrf_token().await;
            let fields = [("csrf_token", token.as_str()), ("factor", id)];
            self.browser.submit("/auth/account/factors/remove", &fields).await
        } else {
            send_json(&mut self.browser, "DELETE", &format!("{FACTORS}/{id}"), &json!({})).await
        };
        self.is_done(&answer);
    }

    fn is_done(&mut self, answer: &Answer) {
        let expected = if self.by == By::Forms { 303 } else { 200 };
        assert_eq!(answer.status, expected, "{:?}: {}", self.by, answer.body);
        assert!(!answer.location().contains("late"), "{}", answer.location());
        self.keep(answer);
    }

    /// Signing in anew with this note.
    async fn comes_back(&self, world: &World, password: &str, note: &str) -> u16 {
        if self.by == By::Bearer {
            return by_token(world, self.name, password, Some(note)).await.status;
        }
        let mut browser = world.browser();
        browser.cookies.insert("iam_device".to_owned(), note.to_owned());
        match self.by {
            By::Forms => browser.sign_in(self.name, password).await.status,
            _ => browser.api_sign_in(self.name, password).await.status,
        }
    }
}

async fn by_token(world: &World, name: &str, password: &str, note: Option<&str>) -> Answer {
    let mut body = json!({"username": name, "password": password, "token": true});
    if let Some(note) = note {
        body["device_token"] = note.into();
    }
    let headers = [("content-type", "application/json")];
    world.browser().send("POST", "/api/v1/auth/login", &headers, body.to_string().into()).await
}

/// A stranger guesses until nobody without a note gets in.
async fn guess(world: &World, name: &str) {
    for _ in 0..6 {
        if world.browser().api_sign_in(name, WRONG).await.status == 429 {
            return;
        }
    }
    panic!("guessing {name} has no limit");
}

/// Whoever changes what they sign in with stays known where they do so; other notes are void.
pub async fn a_change_of_ones_own_keeps_the_device_known(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for (by, name) in [(By::Forms, "amy"), (By::Json, "bob"), (By::Bearer, "max")] {
        let done = if by == By::Forms { 303 } else { 200 };
        let mut owner = Owner::sign_in(&world, by, name).await;
        let mut notes = vec![owner.note()];
        let mut app = String::new();
        for change in ["password", "add", "remove"] {
            match change {
                "password" => owner.change_password().await,
                "add" => app = owner.add_app(&world).await,
                _ => owner.remove_app(&app).await,
            }
            guess(&world, name).await;
            let (what, note) = (format!("{by:?}, {change}"), owner.note());
            assert_eq!(owner.comes_back(&world, NEW, &note).await, done, "{what}: the owner does not wait");
            for old in &notes {
                assert_eq!(
                    owner.comes_back(&world, NEW, old).await,
                    429,
                    "{what}: a note from before is void"
                );
            }
            if by != By::Bearer {
                assert_eq!(notes[0][22..42], note[22..42], "{what}: it is the same device, with its tries");
            }
            notes.push(note);
        }
        // What raises no version leaves the note as it is.
        let proof = json!({ "password": NEW });
        let proved = owner.browser.post_json("/api/v1/auth/reauthenticate", &proof).await;
        assert_eq!(proved.status, 200, "{by:?}: {}", proved.body);
        assert!(proved.json().get("device_token").is_none());
        assert_eq!(owner.comes_back(&world, NEW, notes.last().unwrap()).await, done, "{by:?}");
        world.later(3600);
    }
}

/// Programs that hold a token get a note when they have signed in, and show it when they do so again.
pub async fn programs_are_known_by_a_note_of_their_own(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let owner = Owner::sign_in(&world, By::Bearer, "bob").await;
    let gus = Owner::sign_in(&world, By::Bearer, "gus").await;
    guess(&world, "bob").await;
    assert_eq!(by_token(&world, "bob", PASSWORD, None).await.status, 429);
    let again = by_token(&world, "bob", PASSWORD, Some(&owner.note())).await;
    assert_eq!(again.status, 200, "{}", again.body);
    assert_eq!(again.json()["device_token"].as_str().unwrap()[22..42], owner.note()[22..42], "one device");
    // What is no note of this account's is as none, and what is no text is said.
    let torn = &owner.note()[..90];
    for wrong in [gus.note().as_str(), torn, "", "x"] {
        assert_eq!(by_token(&world, "bob", PASSWORD, Some(wrong)).await.status, 429, "{wrong:?}");
    }
    let body = json!({"username": "bob", "password": PASSWORD, "token": true, "device_token": 1});
    let refused = world.browser().post_json("/api/v1/auth/login", &body).await;
    assert_eq!((refused.status, refused.json()["errors"][0]["field"].as_str()), (422, Some("device_token")));
    // It has tries of its own, and they end, too.
    for _ in 0..5 {
        assert_eq!(by_token(&world, "bob", WRONG, Some(&owner.note())).await.status, 401);
    }
    assert_eq!(by_token(&world, "bob", PASSWORD, Some(&owner.note())).await.status, 429);
    world.later(3600);

    // Nobody has one whose second factor is due.
    let app = with_app(&world, "amy").await;
    let half = by_token(&world, "amy", PASSWORD, None).await.json();
    assert_eq!((half["status"].as_str(), half.get("device_token")), (Some("mfa_required"), None));
    let header = format!("Bearer {}", half["mfa_token"].as_str().unwrap());
    let mut program = world.browser().with_header("authorization", &header);
    let whole = verify(&mut program, &app.code(&world, 0)).await;
    assert_eq!((whole.status, whole.set_cookies().len()), (200, 0), "{}", whole.body);
    let note = whole.json()["device_token"].as_str().unwrap().to_owned();
    guess(&world, "amy").await;
    assert_eq!(by_token(&world, "amy", PASSWORD, None).await.status, 429);
    assert_eq!(by_token(&world, "amy", PASSWORD, Some(&note)).await.status, 200);
    world.later(3600);
    // A browser has it in its cookie alone.
    let mut browser = half_way(&world, "amy").await;
    assert_eq!(verify(&mut browser, &app.wrong(&world)).await.status, 401);
    world.later(30);
    let done = verify(&mut browser, &app.code(&world, 0)).await;
    assert_eq!((done.status, done.json().get("device_token")), (200, None), "{}", done.body);
    assert!(browser.cookies.contains_key("iam_device"));
}

/// A note in a thief's hands is worth nothing once the owner has changed the password, or the factors, elsewhere.
pub async fn a_note_ends_with_a_change_made_elsewhere(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for (name, by_factors) in [("bob", false), ("max", true)] {
        let thief = Owner::sign_in(&world, By::Json, name).await;
        let (_, token) = bearer(&world, name).await;
        let mut owner = world.signed_in(name).await;
        let password = if by_factors {
            add_app(&world, &mut owner, "phone").await;
            PASSWORD
        } else {
            let body = json!({"current_password": PASSWORD, "new_password": NEW});
            assert_eq!(owner.post_json(ACCOUNT_PASSWORD, &body).await.status, 200);
            NEW
        };
        guess(&world, name).await;
        assert_eq!(thief.comes_back(&world, password, &thief.note()).await, 429, "{name}");
        // Beside a bearer token the cookie does not count: nothing is asked of that, and nothing is put into it.
        let mut program = owner.clone().with_header("authorization", &format!("Bearer {token}"));
        assert_eq!(program.get("/api/v1/me").await.status, 401, "{name}");
        let kept = owner.cookies["iam_device"].clone();
        assert_eq!(thief.comes_back(&world, password, &kept).await, 200, "{name}");
        world.later(3600);
    }
}
