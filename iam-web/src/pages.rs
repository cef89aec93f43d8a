//! Pages: templates and texts, both embedded, or a host's own ([`crate::Theme`]).

use std::collections::HashMap;
use std::sync::Arc;

use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, context};

/// The template engine with everything it renders.
pub(crate) struct Pages {
    environment: Environment<'static>,
    /// For when a host's own template fails.
    built_in: Option<Environment<'static>>,
    texts: Arc<Texts>,
}

/// A page could not be made: a mistake in a template.
#[derive(Debug, thiserror::Error)]
#[error("a template failed")]
pub(crate) struct PageError(#[from] minijinja::Error);

pub(crate) const TEMPLATES: [(&str, &str); 13] = [
    ("layout.html", include_str!("pages/templates/layout.html")),
    ("style.css", include_str!("pages/templates/style.css")),
    ("login.html", include_str!("pages/templates/login.html")),
    ("message.html", include_str!("pages/templates/message.html")),
    ("account.html", include_str!("pages/templates/account.html")),
    ("setup.html", include_str!("pages/templates/setup.html")),
    ("reauthenticate.html", include_str!("pages/templates/reauthenticate.html")),
    ("verify.html", include_str!("pages/templates/verify.html")),
    ("factor.html", include_str!("pages/templates/factor.html")),
    ("confirm.html", include_str!("pages/templates/confirm.html")),
    ("codes.html", include_str!("pages/templates/codes.html")),
    ("enrol.html", include_str!("pages/templates/enrol.html")),
    ("resume.html", include_str!("pages/templates/resume.html")),
];

/// The templates that are whole pages.
fn page_names() -> impl Iterator<Item = &'static str> {
    TEMPLATES.iter().map(|(name, _)| *name).filter(|name| !matches!(*name, "layout.html" | "style.css"))
}

/// Stands for a form's token when pages are tried out.
const TOKEN_ON_TRIAL: &str = "csrf-token-on-trial";

impl Default for Pages {
    fn default() -> Self {
        let texts = Arc::new(Texts::new(Texts::english()));
        Self { environment: built_in(&texts), built_in: None, texts }
    }
}

impl Pages {
    /// With texts and templates of a host's.
    pub(crate) fn themed(texts: Texts, sources: Vec<(String, String)>, problems: &mut Vec<String>) -> Self {
        let texts = Arc::new(texts);
        let mut environment = environment(&texts);
        for (name, source) in sources {
            if let Err(error) = environment.add_template_owned(name.clone(), source) {
                problems.push(format!("the template `{name}` can't be read: {error}"));
            }
        }
        Self { environment, built_in: Some(built_in(&texts)), texts }
    }

    /// What is wrong with the pages, found by rendering each as it is at its fullest.
    pub(crate) fn problems(&self) -> Vec<String> {
        page_names().filter_map(|name| self.problem_of(name)).collect()
    }

    fn problem_of(&self, name: &str) -> Option<String> {
        let mut html = String::new();
        // A page may show one form before something was sent and another one after it.
        for sent in [true, false] {
            match render(&self.environment, name, "nonce", context! { sent => sent, ..on_trial() }) {
                Ok(page) => html.push_str(&page),
                Err(error) => return Some(format!("the page `{name}` can't be rendered: {error:#}")),
            }
        }
        let lacks_token = html.split("<form").skip(1).any(|rest| {
            let form = rest.split("</form>").next().unwrap_or_default();
            let by_post = form.split('>').next().unwrap_or_default().to_ascii_lowercase().contains("post");
            by_post && !form.contains(TOKEN_ON_TRIAL)
        });
        lacks_token.then(|| format!("a form in `{name}` does not send `csrf_token`: it would be refused"))
    }

    pub(crate) fn render(&self, template: &str, nonce: &str, values: Value) -> Result<String, PageError> {
        let error = match (render(&self.environment, template, nonce, values.clone()), &self.built_in) {
            (Ok(html), _) => return Ok(html),
            (Err(error), None) => return Err(error.into()),
            (Err(error), Some(_)) => error,
        };
        tracing::error!(template, error = &error as &dyn std::error::Error, "a host's template failed");
        let built_in = self.built_in.as_ref().unwrap_or(&self.environment);
        Ok(render(built_in, template, nonce, values)?)
    }

    /// A text of the catalogue.
    pub(crate) fn text(&self, key: &str) -> String {
        self.texts.get(key).to_owned()
    }

    /// A text that a host may have given, or another one.
    pub(crate) fn text_or(&self, key: &str, or: &str) -> String {
        self.texts.0.get(key).map_or_else(|| or.to_owned(), Clone::clone)
    }

    /// A text with values for its `{names}`.
    pub(crate) fn text_with(&self, key: &str, values: &[(&str, &str)]) -> String {
        values.iter().fold(self.text(key), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    /// A time to wait, in words.
    pub(crate) fn wait_text(&self, seconds: u64) -> String {
        let (unit, count) = match seconds {
            ..=90 => ("seconds", seconds.max(1)),
            91..=5_400 => ("minutes", seconds.div_ceil(60)),
            5_401..=172_800 => ("hours", seconds.div_ceil(3_600)),
            _ => ("days", seconds.div_ceil(86_400)),
        };
        let form = if count == 1 { "one" } else { "other" };
        self.text_with(&format!("wait.{unit}.{form}"), &[("count", &count.to_string())])
    }
}

fn render(
    environment: &Environment<'_>,
    template: &str,
    nonce: &str,
    values: Value,
) -> Result<String, minijinja::Error> {
    environment.get_template(template)?.render(context! { nonce => nonce, ..values })
}

fn built_in(texts: &Arc<Texts>) -> Environment<'static> {
    let mut environment = environment(texts);
    for (name, source) in TEMPLATES {
        if let Err(error) = environment.add_template(name, source) {
            // Rendering it will say so again, to the request that needs it. The tests parse them all.
            tracing::error!(name, error = &error as &dyn std::error::Error, "a template can't be read");
        }
    }
    environment
}

fn environment(texts: &Arc<Texts>) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|name| {
        if name == "style.css" { AutoEscape::None } else { AutoEscape::Html }
    });
    let known = Arc::clone(texts);
    environment.add_function("t", move |key: &str, values: Kwargs| -> Result<String, minijinja::Error> {
        let Some(text) = known.0.get(key) else {
            return Err(minijinja::Error::new(
                ErrorKind::InvalidOperation,
                format!("there is no text `{key}`"),
            ));
        };
        let mut text = text.clone();
        for name in values.args() {
            let value: Value = values.get(name)?;
            text = text.replace(&format!("{{{name}}}"), &value.to_string());
        }
        Ok(text)
    });
    environment
}

/// Values for every page at its fullest.
fn on_trial() -> Value {
    let session = |current| {
        context! {
            id => "id", current => current, device => "device", address => "address", signed_in_at => "t", signed_in => "t",
            last_seen_at => "t", last_seen => "t", stays => true,
        }
    };
    context! {
        service => "service", csrf_token => TOKEN_ON_TRIAL, action => "/", logout_action => "/", next => "/", continue_to => "/",
        username => "username", signed_in_as => "username", notice => "notice", error => "error",
        fields => context! { username => "x", password => "x", current_password => "x", new_password => "x" },
        status => 403, title => "title", message => "message", request_id => "id",
        link => context! { href => "/", label => "label" }, cancel => "/", parent => "acme", roles => ["role"],
        sessions => [session(true), session(false)], fresh => false, password_action => "/",
        end_action => "/", end_others_action => "/", resend_action => "/", signing_in => true, method => "email_otp",
        destination => "a***@example.com", sent => true, code_error => "x", kind => "totp", name => "phone", email => "a@example.com",
        own_email => "a@example.com", closed => false,
        factor => "id", typed => "ABCD EFGH", qr => "qr", codes => ["ABCDEF-GHJKMN"], download => "data:,", account_href => "/",
        purpose => "payroll", purpose_name => "Payroll", methods => "totp", resume => "id", approve => [("amount", "100")],
        resume_fields => [context! { name => "amount", value => "100", shown => "100" }], required => true, due_at => "t",
        kinds => [context! { href => "/", label => "label", about => "about" }], missing => ["role admin"], enrol_href => "/",
        factor_due_at => "t", trust_for => "30 days", trusting => true, stay_for => "30 days", staying => true,
        others => [context! { method => "totp", label => "label", sends => true, href => "/" }], about_factors => true,
        factors => context! {
            offered => true, listed => [context! { id => "id", kind => "kind", name => "phone", confirmed => "t", last_used => "t" }],
            addable => [context! { href => "/", label => "label" }], codes => true, codes_left => 3, codes_action => "/",
            remove_action => "/", rename_action => "/", trusted_for => "30 days", forget_action => "/",
        },
    }
}

/// The catalogue.
pub(crate) struct Texts(HashMap<String, String>);

impl Texts {
    pub(crate) fn english() -> HashMap<String, String> {
        let parsed = serde_json::from_str(include_str!("pages/en.json"));
        parsed.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "the catalogue of texts can't be read");
            HashMap::new()
        })
    }

    pub(crate) fn new(texts: HashMap<String, String>) -> Self {
        Self(texts)
    }

    /// A key without a text shows itself: ugly, and found.
    fn get<'a>(&'a self, key: &'a str) -> &'a str {
        self.0.get(key).map_or_else(
            || {
                tracing::error!(key, "a text is missing");
                key
            },
            String::as_str,
        )
    }
}

#[cfg(test)]
mod tests {
    use iam_core::FactorKind;

    use super::*;

    #[test]
    fn every_text_that_is_asked_for_is_there() {
        let texts = Texts::new(Texts::english());
        for (name, source) in TEMPLATES {
            // `t("` of `t("key")`, not of `default("")`.
            for asked in source.split(" t(\"").skip(1) {
                let key = asked.split('"').next().unwrap();
                // `t("verify.code." ~ kind)`: for each that there can be. Recovery codes are not added as the others are.
                let is_set_up = |kind: &FactorKind| kind.is_set_up();
                let kinds = FactorKind::ALL.into_iter().filter(|kind| {
                    key.ends_with('.') && kind.is_typed() && (is_set_up(kind) || !key.starts_with("factors."))
                });
                let mut keys: Vec<String> = kinds.map(|kind| format!("{key}{kind}")).collect();
                if keys.is_empty() {
                    keys.push(key.to_owned());
                }
                for key in keys {
                    assert!(texts.0.contains_key(&key), "{key} in {name}");
                }
            }
        }
    }

    #[test]
    fn every_page_renders_and_escapes() {
        let pages = Pages::default();
        let hostile = "<script>alert('x')</script>";
        let values = context! {
            service => hostile, action => "/auth/login", logout_action => "/auth/logout", csrf_token => hostile,
            next => hostile, username => hostile, error => hostile, notice => hostile, signed_in_as => hostile,
            continue_to => "/", fields => context! { username => hostile }, status => 403, title => hostile,
            message => hostile, request_id => hostile, link => context! { href => "/", label => hostile },
        };
        for template in page_names() {
            let html = pages.render(template, "nonce123", values.clone()).unwrap();
            assert!(!html.contains("<script"), "{template}");
            assert!(html.contains("nonce=\"nonce123\""), "{template}");
            assert!(!html.contains("style=\""), "{template}: no inline styles under our policy");
            let bare = pages.render(template, "n", context! {}).unwrap();
            assert!(bare.contains("<!doctype html>") || bare.contains("<!DOCTYPE html>"), "{template}");
        }
    }

    #[test]
    fn our_own_pages_pass_the_trial_that_others_must() {
        assert_eq!(Pages::default().problems(), Vec::<String>::new());
    }

    #[test]
    fn waits_are_words() {
        let pages = Pages::default();
        let words: Vec<_> = [1, 90, 91, 5_400, 5_401, 86_400, 172_800, 172_801, 2_592_000]
            .iter()
            .map(|seconds| pages.wait_text(*seconds))
            .collect();
        let expected = [
            "1 second",
            "90 seconds",
            "2 minutes",
            "90 minutes",
            "2 hours",
            "24 hours",
            "48 hours",
            "3 days",
            "30 days",
        ];
        assert_eq!(words, expected);
    }
}
