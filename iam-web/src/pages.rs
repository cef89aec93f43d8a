//! Pages: templates and texts, both embedded.

use std::collections::HashMap;
use std::sync::Arc;

use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, context};

/// The template engine with everything it renders.
pub(crate) struct Pages {
    environment: Environment<'static>,
    texts: Arc<Texts>,
}

/// A page could not be made: a mistake in a template.
#[derive(Debug, thiserror::Error)]
#[error("a template failed")]
pub(crate) struct PageError(#[from] minijinja::Error);

const TEMPLATES: [(&str, &str); 7] = [
    ("layout.html", include_str!("pages/templates/layout.html")),
    ("style.css", include_str!("pages/templates/style.css")),
    ("login.html", include_str!("pages/templates/login.html")),
    ("message.html", include_str!("pages/templates/message.html")),
    ("account.html", include_str!("pages/templates/account.html")),
    ("setup.html", include_str!("pages/templates/setup.html")),
    ("reauthenticate.html", include_str!("pages/templates/reauthenticate.html")),
];

impl Pages {
    pub(crate) fn new() -> Self {
        let texts = Arc::new(Texts::english());
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|name| {
            if name == "style.css" { AutoEscape::None } else { AutoEscape::Html }
        });
        for (name, source) in TEMPLATES {
            if let Err(error) = environment.add_template(name, source) {
                // Rendering it will say so again, to the request that needs it. The tests parse them all.
                tracing::error!(name, error = &error as &dyn std::error::Error, "a template can't be read");
            }
        }
        let known = Arc::clone(&texts);
        environment.add_function("t", move |key: &str, values: Kwargs| -> Result<String, minijinja::Error> {
            let mut text = known.get(key).to_owned();
            for name in values.args() {
                let value: Value = values.get(name)?;
                text = text.replace(&format!("{{{name}}}"), &value.to_string());
            }
            Ok(text)
        });
        Self { environment, texts }
    }

    pub(crate) fn render(&self, template: &str, nonce: &str, values: Value) -> Result<String, PageError> {
        let values = context! { nonce => nonce, ..values };
        Ok(self.environment.get_template(template)?.render(values)?)
    }

    /// A text of the catalogue.
    pub(crate) fn text(&self, key: &str) -> String {
        self.texts.get(key).to_owned()
    }

    /// A text with values for its `{names}`.
    pub(crate) fn text_with(&self, key: &str, values: &[(&str, &str)]) -> String {
        values.iter().fold(self.text(key), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    /// A time to wait, in words.
    pub(crate) fn wait_text(&self, seconds: u64) -> String {
        let (unit, count) =
            if seconds <= 90 { ("seconds", seconds.max(1)) } else { ("minutes", seconds.div_ceil(60)) };
        let form = if count == 1 { "one" } else { "other" };
        self.text_with(&format!("wait.{unit}.{form}"), &[("count", &count.to_string())])
    }
}

/// The catalogue.
struct Texts(HashMap<String, String>);

impl Texts {
    fn english() -> Self {
        let parsed = serde_json::from_str(include_str!("pages/en.json"));
        Self(parsed.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "the catalogue of texts can't be read");
            HashMap::new()
        }))
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
    use super::*;

    #[test]
    fn every_text_that_is_asked_for_is_there() {
        let texts = Texts::english();
        for (name, source) in TEMPLATES {
            // `t("` of `t("key")`, not of `default("")`.
            for asked in source.split(" t(\"").skip(1) {
                let key = asked.split('"').next().unwrap();
                assert!(texts.0.contains_key(key), "{key} in {name}");
            }
        }
    }

    #[test]
    fn every_page_renders_and_escapes() {
        let pages = Pages::new();
        let hostile = "<script>alert('x')</script>";
        let values = context! {
            service => hostile, action => "/auth/login", logout_action => "/auth/logout", csrf_token => hostile,
            next => hostile, username => hostile, error => hostile, notice => hostile, signed_in_as => hostile,
            continue_to => "/", fields => context! { username => hostile }, status => 403, title => hostile,
            message => hostile, request_id => hostile, link => context! { href => "/", label => hostile },
        };
        for template in ["login.html", "message.html", "account.html", "reauthenticate.html", "setup.html"] {
            let html = pages.render(template, "nonce123", values.clone()).unwrap();
            assert!(!html.contains("<script"), "{template}");
            assert!(html.contains("nonce=\"nonce123\""), "{template}");
            assert!(!html.contains("style=\""), "{template}: no inline styles under our policy");
            let bare = pages.render(template, "n", context! {}).unwrap();
            assert!(bare.contains("<!doctype html>") || bare.contains("<!DOCTYPE html>"), "{template}");
        }
    }

    #[test]
    fn waits_are_words() {
        let pages = Pages::new();
        let words: Vec<_> = [1, 90, 91, 900].iter().map(|seconds| pages.wait_text(*seconds)).collect();
        assert_eq!(words, ["1 second", "90 seconds", "2 minutes", "15 minutes"]);
    }
}
