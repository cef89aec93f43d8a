//! A host's own look: templates, style sheet and texts in place of ours.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use iam_core::Purpose;

use crate::pages::{Pages, TEMPLATES, Texts};

/// What people see of this family: templates, style sheet, texts. The default is ours; a host replaces what it likes.
///
/// ```
/// use iam_web::Theme;
///
/// let theme = Theme::builder()
///     .text("login.title", "Welcome to Acme")
///     .more_style(".service { color: rebeccapurple }")
///     .template("layout.html", Theme::built_in_template("layout.html").unwrap().replace("<main>", "<main class=\"acme\">"))
///     .build()?;
/// # let _ = theme;
/// # Ok::<_, iam_web::InvalidTheme>(())
/// ```
///
/// Templates are [minijinja](https://docs.rs/minijinja)'s (Jinja2); a comment at the top of each built-in one lists the values that it
/// is given. What a value holds is escaped. `t("key", name=value)` gives a text with its `{name}` filled in.
///
/// Pages go out under a content security policy: no scripts, no inline `style` attributes, images from this host only, and style
/// sheets only with `nonce="{{ nonce }}"`, which the built-in layout does.
///
/// To speak another language, replace all [`built_in_texts`](Self::built_in_texts), `page.lang` among them.
#[derive(Clone, Default)]
pub struct Theme {
    pub(crate) pages: Arc<Pages>,
}

impl Theme {
    /// Begins to replace parts of the built-in look.
    pub fn builder() -> ThemeBuilder {
        ThemeBuilder::default()
    }

    /// The names of the templates that can be replaced, the style sheet `style.css` among them.
    pub fn built_in_templates() -> impl Iterator<Item = &'static str> {
        TEMPLATES.iter().map(|(name, _)| *name)
    }

    /// The source of a built-in template, to begin with.
    pub fn built_in_template(name: &str) -> Option<&'static str> {
        TEMPLATES.iter().find(|(known, _)| *known == name).map(|(_, source)| *source)
    }

    /// The built-in texts by their keys, in English.
    pub fn built_in_texts() -> BTreeMap<String, String> {
        Texts::english().into_iter().collect()
    }
}

impl fmt::Debug for Theme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Theme").finish_non_exhaustive()
    }
}

/// Sets up a [`Theme`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ThemeBuilder {
    templates: Vec<(String, String)>,
    partials: Vec<(String, String)>,
    texts: Vec<(String, String)>,
    more_style: String,
}

impl ThemeBuilder {
    /// A template in place of the built-in one of that name; `style.css` is the style sheet.
    pub fn template(mut self, name: impl Into<String>, source: impl Into<String>) -> Self {
        self.templates.push((name.into(), source.into()));
        self
    }

    /// A template of the host's own, for its others to include or extend.
    pub fn partial(mut self, name: impl Into<String>, source: impl Into<String>) -> Self {
        self.partials.push((name.into(), source.into()));
        self
    }

    /// Rules that follow those of the style sheet.
    pub fn more_style(mut self, css: &str) -> Self {
        self.more_style.push('\n');
        self.more_style.push_str(css);
        self
    }

    /// A text in place of the built-in one of that key. It may use the `{names}` that the built-in one uses. `purpose.payroll` says what
    /// people call the purpose `payroll` of a step-up.
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

    /// Puts it together, and renders every page once to see that it can be done.
    ///
    /// # Errors
    /// Everything that is wrong, at once: a name or a key that there is not, a template that can't be read or rendered, a text with a
    /// `{name}` that nobody fills in, a form without its `csrf_token`, which would be refused whenever it is sent.
    pub fn build(self) -> Result<Theme, InvalidTheme> {
        let mut problems = Vec::new();
        let mut texts = Texts::english();
        for (key, text) in self.texts {
            match texts.get(&key) {
                // What a host calls its purposes is its own.
                None if key.strip_prefix("purpose.").is_some_and(|name| Purpose::parse(name).is_some()) => {
                    texts.insert(key, text);
                }
                None => problems.push(format!("there is no text `{key}`")),
                Some(built_in) => {
                    let known: Vec<&str> = placeholders(built_in).collect();
                    let unknown = placeholders(&text).find(|name| !known.contains(name));
                    if let Some(name) = unknown {
                        problems.push(format!("the text `{key}` has {{{name}}}, which nobody fills in"));
                    }
                    texts.insert(key, text);
                }
            }
        }
        let mut sources: Vec<(String, String)> =
            TEMPLATES.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect();
        for (name, source) in self.templates {
            match sources.iter_mut().find(|(known, _)| *known == name) {
                Some(known) => known.1 = source,
                None => problems.push(format!("there is no template `{name}`")),
            }
        }
        for (name, source) in self.partials {
            if sources.iter().any(|(known, _)| *known == name) {
                problems.push(format!("there is a template `{name}` already: a partial needs another name"));
            } else {
                sources.push((name, source));
            }
        }
        if let Some((_, style)) = sources.iter_mut().find(|(name, _)| name == "style.css") {
            style.push_str(&self.more_style);
        }
        let pages = Pages::themed(Texts::new(texts), sources, &mut problems);
        if problems.is_empty() {
            problems = pages.problems();
        }
        if problems.is_empty() { Ok(Theme { pages: Arc::new(pages) }) } else { Err(InvalidTheme(problems)) }
    }
}

/// The names in braces.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

/// A theme that can't be used. Each line names one thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTheme(Vec<String>);

impl InvalidTheme {
    /// The problems, one text each.
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for InvalidTheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this theme can't be used:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for InvalidTheme {}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(builder: ThemeBuilder) -> Vec<String> {
        builder.build().unwrap_err().problems().to_vec()
    }

    #[test]
    fn what_can_not_work_is_said_at_once() {
        let form = "<form method=\"post\"><input name=\"username\"></form>";
        let all = problems(
            Theme::builder()
                .template("logn.html", "")
                .template("login.html", form)
                .text("login.titel", "x")
                .text("login.title", "{name}")
                .partial("layout.html", ""),
        );
        assert_eq!(
            all,
            [
                "there is no text `login.titel`",
                "the text `login.title` has {name}, which nobody fills in",
                "there is no template `logn.html`",
                "there is a template `layout.html` already: a partial needs another name",
            ]
        );
        let unread = problems(Theme::builder().template("login.html", "{% if %}"));
        assert!(
            unread.len() == 1 && unread[0].starts_with("the template `login.html` can't be read: "),
            "{unread:?}"
        );
        for broken in ["{% include \"none.html\" %}", "{{ t(\"no.such\") }}", "{{ title | nofilter }}"] {
            let text = problems(Theme::builder().template("message.html", broken)).join("\n");
            assert!(text.contains("`message.html`"), "{broken}: {text}");
        }
    }

    #[test]
    fn a_form_needs_its_token() {
        let bare = "<form method=\"post\" action=\"{{ action }}\"><input name=\"username\"></form>";
        let asked = "a form in `login.html` does not send `csrf_token`: it would be refused";
        assert_eq!(problems(Theme::builder().template("login.html", bare)), [asked]);
        let with = bare.replace(
            "<input",
            "<input type=\"hidden\" name=\"csrf_token\" value=\"{{ csrf_token }}\"><input",
        );
        assert!(Theme::builder().template("login.html", with).build().is_ok());
        // A search field of the host's own, sent by GET.
        let search = "<form action=\"/search\"><input name=\"q\"></form>{% block content %}{% endblock %}";
        assert!(Theme::builder().template("layout.html", search).build().is_ok());
    }

    #[test]
    fn what_is_replaced_is_shown() {
        let theme = Theme::builder()
            .text("login.title", "Welcome")
            .more_style(".acme { color: red }")
            .partial("brand.html", "<p class=\"acme\">{{ service }}</p>")
            .template("layout.html", "<style nonce=\"{{ nonce }}\">{% include \"style.css\" %}</style>{% include \"brand.html\" %}{% block content %}{% endblock %}")
            .build()
            .unwrap();
        let html =
            theme.pages.render("login.html", "n1", minijinja::context! { service => "A & B" }).unwrap();
        for part in ["Welcome", ".acme { color: red }", "<p class=\"acme\">A &amp; B</p>", "nonce=\"n1\""] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }

    #[test]
    fn what_fails_later_shows_the_built_in_page() {
        let source = "{{ t(\"login.title\") }}{% if title == \"Boom\" %}{{ title | nofilter }}{% endif %}";
        // Unknown filters are found when they are reached.
        let theme = Theme::builder().template("message.html", source).build().unwrap();
        let values =
            minijinja::context! { title => "Boom", service => "Acme", status => 500, message => "m" };
        let html = theme.pages.render("message.html", "n", values).unwrap();
        assert!(html.contains("<h1>Boom</h1>"), "{html}");
    }

    #[test]
    fn every_built_in_part_can_be_taken_and_put_back() {
        let mut builder = Theme::builder().texts(Theme::built_in_texts());
        for name in Theme::built_in_templates() {
            builder = builder.template(name, Theme::built_in_template(name).unwrap());
        }
        builder.build().unwrap();
    }
}
