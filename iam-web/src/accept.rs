//! A page or an interface: the family's one rule.

use crate::message::RequestView;

/// Whether a request asks for a page: its `Accept` names `text/html`. Everything else, `*/*` too, is a program; and so is what a script asks
/// for, whatever it accepts, as it puts what it gets into a page that is there already.
pub(crate) fn wants_page(view: &dyn RequestView) -> bool {
    if is_of_a_script(view) {
        return false;
    }
    let accept = view.header("accept");
    accept.iter().flat_map(|line| line.split(|b| *b == b',')).any(names_html)
}

/// Whether a script sends the request: browsers say `empty` of what belongs to no element of a page (Fetch Metadata), and HTMX says so itself.
fn is_of_a_script(view: &dyn RequestView) -> bool {
    view.header("sec-fetch-dest").contains(&b"empty".as_slice()) || is_of_htmx(view)
}

/// Whether HTMX sends the request. A part of a page that it asks for must not become a page to sign in on.
pub(crate) fn is_of_htmx(view: &dyn RequestView) -> bool {
    view.header("hx-request").contains(&b"true".as_slice())
}

fn names_html(range: &[u8]) -> bool {
    let mut parts = range.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"));
    html && !parts.any(is_zero_quality)
}

/// `q=0`, `q=0.000`: "anything but this".
fn is_zero_quality(parameter: &[u8]) -> bool {
    let Some((name, value)) = parameter.split_at_checked(2) else { return false };
    name.eq_ignore_ascii_case(b"q=") && !value.is_empty() && value.iter().all(|b| matches!(b, b'0' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::WebRequest;

    #[test]
    fn only_who_names_html_gets_pages() {
        let page = |values: &[&str]| {
            let headers = values.iter().map(|v| ("accept".to_owned(), v.as_bytes().to_vec())).collect();
            wants_page(&WebRequest { headers, ..WebRequest::default() })
        };
        assert!(page(&["text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"]));
        assert!(page(&["application/json", "TEXT/HTML;q=0.1"]));
        for values in [
            &[][..],
            &["*/*"],
            &["text/*"],
            &["application/json"],
            &["text/html;q=0"],
            &["text/html; q=0.0"],
            &["xtext/html"],
        ] {
            assert!(!page(values), "{values:?}");
        }
    }

    #[test]
    fn what_a_script_asks_for_is_no_page() {
        let page = |name: &str, value: &str| {
            let headers = [("accept", "text/html"), (name, value)];
            let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
            wants_page(&WebRequest { headers, ..WebRequest::default() })
        };
        assert!(!page("sec-fetch-dest", "empty") && !page("hx-request", "true"));
        for dest in ["document", "iframe", "frame", ""] {
            assert!(page("sec-fetch-dest", dest), "{dest}");
        }
        assert!(page("hx-request", "false") && page("sec-fetch-mode", "navigate"));
    }
}
