//! The host's pages: plain on purpose, this is not what the example shows.

use iam_core::Principal;
use minijinja::{Environment, Value, context};

use crate::{Documents, Ledger};

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }} – Example</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere }
nav { display: flex; flex-wrap: wrap; gap: 1rem; align-items: center; padding-bottom: 1rem; border-bottom: 1px solid }
nav form { margin-left: auto } button, input { font: inherit; padding: .5rem .75rem }
</style>
</head>
<body>
<nav aria-label="Site"><a href="/">Home</a><a href="/reports">Reports</a><a href="/documents/1">Document 1</a><a href="/documents/2">Document 2</a><a href="/payroll">Payroll</a><a href="/transfers">Transfers</a>
{% if csrf_token and username %}<form method="post" action="/auth/logout"><input type="hidden" name="csrf_token" value="{{ csrf_token }}"><button>Sign out</button></form>{% endif %}</nav>
<main>
<h1>{{ title }}</h1>
{% if username %}<p>Signed in as <strong>{{ username }}</strong>{% if parent %} of {{ parent }}{% endif %}{% if roles %}, roles: {{ roles|join(", ") }}{% endif %}.</p>
{% else %}<p>Nobody is signed in. <a href="/auth/login">Sign in</a></p>{% endif %}
{% if added %}<p role="status">Added: {{ added }}</p>{% endif %}
{% if pay_action %}<form method="post" action="{{ pay_action }}"><input type="hidden" name="csrf_token" value="{{ csrf_token }}">
<p><label for="amount">Amount</label> <input id="amount" name="amount" required></p>
<p><label for="payee">Payee</label> <input id="payee" name="payee" required> <button>Pay</button></p></form>
<h2>Paid</h2><ul>{% for amount, payee in payments %}<li>{{ amount }} to {{ payee }}</li>{% endfor %}</ul>{% endif %}
{% if form %}<form method="post" action="/reports"><input type="hidden" name="csrf_token" value="{{ csrf_token }}">
<p><label for="title">Title</label> <input id="title" name="title" required> <button>Add</button></p></form>{% endif %}
</main>
</body>
</html>
"#;

/// The home page.
pub fn home(user: Option<&Principal>, csrf_token: &str) -> String {
    render("Home", user, context! { csrf_token })
}

/// The reports, and perhaps the title of the one that was added just now.
pub fn reports(user: &Principal, csrf_token: &str, added: Option<&str>) -> String {
    render("Reports", Some(user), context! { csrf_token, form => true, added })
}

/// The payroll, or other transfers: what they have paid, and a form to pay.
pub fn payments(user: &Principal, csrf_token: &str, ledger: Ledger, documents: &Documents) -> String {
    payments_page(ledger.title(), user, csrf_token, ledger, documents)
}

/// The same after a payment.
pub fn paid(user: &Principal, csrf_token: &str, ledger: Ledger, documents: &Documents) -> String {
    payments_page("Paid", user, csrf_token, ledger, documents)
}

fn payments_page(
    title: &str,
    user: &Principal,
    csrf_token: &str,
    ledger: Ledger,
    documents: &Documents,
) -> String {
    let payments = documents.payments(ledger, user.account());
    let payments: Vec<_> = payments.into_iter().map(|paid| (paid.amount, paid.payee)).collect();
    render(title, Some(user), context! { csrf_token, pay_action => ledger.path(), payments })
}

/// A document.
pub fn document(user: &Principal, title: &str) -> String {
    render(title, Some(user), context! {})
}

fn render(title: &str, user: Option<&Principal>, values: Value) -> String {
    let values = context! {
        title,
        username => user.map(Principal::username),
        parent => user.and_then(Principal::parent_key),
        roles => user.map(|user| user.roles().map(str::to_owned).collect::<Vec<_>>()),
        ..values
    };
    let page = Environment::new().render_named_str("page.html", PAGE, values);
    page.unwrap_or_else(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a page could not be made");
        "internal error".to_owned()
    })
}
