//! A request's path as logs and the trail may show it.

use std::borrow::Cow;

use iam_core::protocol::{SessionToken, is_seen};
use percent_encoding::percent_decode_str;

use crate::endpoints::SECRET_BEHIND;

/// What stands in a secret's place.
const HIDDEN: &str = "***";

/// How often a part may be percent-encoded over and over until nobody looks what it is.
const MOST_ENCODED: usize = 3;

/// A path as logs may show it. Everything behind the part of an address of this family behind which a secret stands (`/auth/setup/`) is left
/// out, wherever such an address is mounted and however it is spelled, and so is every part that holds something as long as a token. What
/// is not seen is written with its number, so that no line of a log can be forged by it. A query is left out.
///
/// A host's own path with a part of the same name (`/wizard/setup/3`) is cut there, too.
pub fn loggable_path(path: &str) -> Cow<'_, str> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut shown: Vec<&str> = Vec::new();
    let mut parts = path.split('/');
    for part in parts.by_ref() {
        match Part::of(part) {
            Part::Plain => shown.push(part),
            Part::Secret => shown.push(HIDDEN),
            Part::BeforeSecret => {
                shown.push(part);
                break;
            }
            Part::WithSecret => {
                shown.push(HIDDEN);
                break;
            }
        }
    }
    let rest: Vec<&str> = parts.collect();
    if rest.iter().all(|part| part.is_empty()) {
        shown.extend(rest);
    } else if shown.last() != Some(&HIDDEN) {
        shown.push(HIDDEN);
    }
    let shown = if shown.contains(&HIDDEN) { Cow::Owned(shown.join("/")) } else { Cow::Borrowed(path) };
    if shown.chars().all(is_seen) { shown } else { Cow::Owned(escaped(&shown)) }
}

/// What a part of a path is.
enum Part {
    Plain,
    /// A token, with whatever else.
    Secret,
    /// The part itself is none; what follows is.
    BeforeSecret,
    /// The same, but the secret has begun in it, or it can't be told what it is.
    WithSecret,
}

impl Part {
    fn of(part: &str) -> Self {
        let Some(plain) = decoded(part) else { return Self::WithSecret };
        let is_before = |word: &str| {
            let word =
                word.split(';').next().unwrap_or_default().trim_matches(|c: char| !c.is_alphanumeric());
            SECRET_BEHIND.iter().any(|known| known.eq_ignore_ascii_case(word))
        };
        if is_before(&plain) {
            Self::BeforeSecret
        } else if plain.split(['/', '\\']).any(is_before) {
            Self::WithSecret
        } else if holds_token(&plain) {
            Self::Secret
        } else {
            Self::Plain
        }
    }
}

/// A part without its percent-encoding; nothing, if there is no end of it.
fn decoded(part: &str) -> Option<Cow<'_, str>> {
    let mut plain = Cow::Borrowed(part);
    for _ in 0..=MOST_ENCODED {
        let again = percent_decode_str(&plain).decode_utf8_lossy().into_owned();
        if again == plain {
            return Some(plain);
        }
        plain = Cow::Owned(again);
    }
    None
}

/// Whether something as long as a token is in it: one that was cut or copied with something on it, too.
fn holds_token(text: &str) -> bool {
    let is_of_token = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let mut runs = text.as_bytes().split(|b| !is_of_token(b));
    runs.any(|run| run.len() >= SessionToken::TEXT_LENGTH - 3)
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if is_seen(c) {
            escaped.push(c);
        } else {
            escaped.extend(c.escape_unicode());
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "Zk8s0Qh3vXn6Wb1yTg5LrJ2mPd7cFu9aEo4iKxVtBqY";

    #[test]
    fn logs_show_no_link_however_it_is_spelled() {
        for (path, shown) in [
            ("/auth/setup/TOKEN", "/auth/setup/***"),
            ("/auth/setup/TOKENx", "/auth/setup/***"),
            ("/auth/setup/TOKEN.", "/auth/setup/***"),
            ("/auth/setup/TOKEN)", "/auth/setup/***"),
            ("/auth/setup/<TOKEN>", "/auth/setup/***"),
            ("/auth/setup/TOKEN%0a", "/auth/setup/***"),
            ("/auth/setup/TOKEN?x", "/auth/setup/***"),
            ("/auth/setup/TOKEN/", "/auth/setup/***"),
            ("/auth/setup//TOKEN", "/auth/setup/***"),
            ("/auth/setup/./x/../TOKEN", "/auth/setup/***"),
            // Short of the rest, or in pieces: no longer a token's length.
            ("/auth/setup/Zk8s0Qh3vXn6Wb1y", "/auth/setup/***"),
            ("/auth/setup/Zk8s0Qh3vXn6Wb1yTg5L%2fJ2mPd7cFu9aEo4iKxVtBqY", "/auth/setup/***"),
            ("/auth/setup/Zk8s0Qh3vXn6Wb1yTg5L/J2mPd7cFu9aEo4iKxVtBqY", "/auth/setup/***"),
            ("/auth/%73etup/Zk8s0Qh3vX", "/auth/%73etup/***"),
            ("/auth/%2573etup/Zk8s0Qh3vX", "/auth/%2573etup/***"),
            ("/auth/SETUP/Zk8s0Qh3vX", "/auth/SETUP/***"),
            ("/auth/setup;a=b/Zk8s0Qh3vX/TOKEN", "/auth/setup;a=b/***"),
            ("/auth/setup./Zk8s0Qh3vX", "/auth/setup./***"),
            ("/auth/setup%2FZk8s0Qh3vX", "/auth/***"),
            ("/auth%2fsetup%2FZk8s0Qh3vX/y", "/***"),
            ("/auth\\setup\\Zk8s0Qh3vX", "/***"),
            ("/app/konto/setup/Zk8s0Qh3vX", "/app/konto/setup/***"),
            ("//auth//setup//Zk8s0Qh3vX", "//auth//setup/***"),
            ("/auth/setupTOKEN", "/auth/***"),
            ("/elsewhere/x=TOKEN!/y", "/elsewhere/***/y"),
            ("/auth/%2525252525253573etup/x", "/auth/***"),
        ] {
            let path = path.replace("TOKEN", TOKEN);
            assert_eq!(loggable_path(&path), shown, "{path}");
        }
        let encoded = TOKEN.bytes().map(|b| format!("%{b:02x}")).collect::<Vec<_>>().concat();
        assert_eq!(loggable_path(&format!("/auth/setup/{encoded}")), "/auth/setup/***");
        assert_eq!(loggable_path(&format!("/other/{encoded}")), "/other/***");
    }

    #[test]
    fn other_paths_stay_and_forge_no_line() {
        for path in [
            "/",
            "",
            "/reports/2026",
            "/auth/setup",
            "/auth/setup/",
            "/api/v1/account/sessions/01a208e5-a254-72f5-9796-9d0c645aba6b",
            "/a%20b/c%0ad",
            "/zo\u{eb}/\u{96fb}\u{8a71}",
        ] {
            assert_eq!(loggable_path(path), path);
        }
        assert_eq!(loggable_path("/reports?token=secret"), "/reports");
        assert_eq!(
            loggable_path("/a\n2026 INFO paid\u{1b}[31m\u{202e}"),
            "/a\\u{a}2026 INFO paid\\u{1b}[31m\\u{202e}"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_token_and_nothing_unseen_gets_through(before in "[ -~]{0,12}", behind in "\\PC{0,12}", junk in proptest::prelude::any::<String>()) {
            for path in [format!("{before}{TOKEN}{behind}"), format!("/auth/setup/{junk}{behind}"), junk.clone()] {
                let shown = loggable_path(&path);
                proptest::prop_assert!(!shown.contains(TOKEN), "{}", path);
                proptest::prop_assert!(shown.chars().all(is_seen), "{}", path);
            }
        }
    }
}
