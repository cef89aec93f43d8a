//! Which routes a service has, and who may pass: to be read by people, and compared when a change is reviewed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use iam_core::Requirement;
use serde::Serialize;

use crate::rule::Policy;
use crate::web::WebIam;

/// The routes of a service, each with its guard, sorted by path and method. Shown as a table.
///
/// `GET` stands for `HEAD`, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Each with what its guard asks for.
    routes: BTreeMap<InventoryRoute, Option<Arc<Requirement>>>,
}

/// A route. Sorted by its path, then by its method.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct InventoryRoute {
    /// The whole path as the framework writes it; `/*` at its end for everything below.
    pub path: String,
    /// The method, or `ANY`.
    pub method: Cow<'static, str>,
    /// Who may pass.
    pub access: Access,
}

/// Who may pass a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Access {
    /// Whom this guard lets pass.
    Guarded(String),
    /// Everybody, on purpose.
    Public,
    /// Routes that came in without guards that this could know of, and why.
    Unguarded(String),
    /// This family's own address, which decides for itself.
    Family,
}

impl Access {
    /// The same in one word.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Guarded(_) => "guarded",
            Self::Public => "public",
            Self::Unguarded(_) => "unguarded",
            Self::Family => "iam",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guarded(guard) => f.write_str(guard),
            Self::Public => f.write_str("public"),
            Self::Unguarded(reason) => write!(f, "UNGUARDED: {reason}"),
            Self::Family => f.write_str("iam"),
        }
    }
}

impl Inventory {
    /// The routes, sorted.
    pub fn routes(&self) -> impl Iterator<Item = &InventoryRoute> {
        self.routes.keys()
    }

    /// The route that a request reaches, by its method and its path: one such as `/documents/7`, or one as the route is written. Where
    /// several fit, the one whose parts are written out goes first, as in both frameworks; what is unguarded comes last. What a part in
    /// braces says beyond its name, such as `{id:[0-9]+}`, is not looked at, but that `*` in it also takes what lies below.
    pub fn route(&self, method: &str, path: &str) -> Option<&InventoryRoute> {
        self.find(method, path).map(|(route, _)| route)
    }

    /// What the guard of that route asks for; nothing where it has none of its own.
    pub fn requirement(&self, method: &str, path: &str) -> Option<&Requirement> {
        self.find(method, path).and_then(|(_, requirement)| requirement.as_deref())
    }

    fn find(&self, method: &str, path: &str) -> Option<(&InventoryRoute, &Option<Arc<Requirement>>)> {
        let path = path.split('?').next().unwrap_or(path);
        let method = if method == "HEAD" { "GET" } else { method };
        let fits = |route: &InventoryRoute| {
            let order = if route.path == path { Vec::new() } else { specificity(&route.path, path)? };
            Some((is_unknown(route), order))
        };
        let fitting = || self.routes.iter().filter_map(|entry| Some((fits(entry.0)?, entry)));
        // The path is chosen before the method, and without the method it is not another path's turn.
        let best = fitting().map(|(order, _)| order).filter(|(unknown, _)| !unknown).min();
        let at_best =
            fitting().find(|(order, (route, _))| Some(order) == best.as_ref() && route.method == method);
        let unknown =
            || fitting().filter(|((unknown, _), _)| *unknown).min_by(|(one, _), (other, _)| one.cmp(other));
        at_best.or_else(unknown).map(|(_, entry)| entry)
    }

    /// Adds a route with its guard, or without one for everybody.
    pub fn add(&mut self, method: &'static str, path: &str, guard: Option<&Policy>) {
        let access = guard.map_or(Access::Public, |policy| Access::Guarded(policy.to_string()));
        let route = InventoryRoute { path: path.to_owned(), method: Cow::Borrowed(method), access };
        self.routes.insert(route, guard.map(|policy| Arc::clone(&policy.requirement)));
    }

    /// Adds routes that nothing is known of.
    pub fn add_unguarded(&mut self, reason: &str) {
        self.insert("/*".to_owned(), "ANY", Access::Unguarded(reason.to_owned()));
    }

    /// Adds the addresses of this family.
    pub fn add_family(&mut self, web: &WebIam) {
        for (path, endpoint) in web.auth_endpoints() {
            for method in endpoint.methods() {
                self.insert(path.clone(), method, Access::Family);
            }
        }
    }

    /// Adds all routes of another inventory.
    pub fn merge(&mut self, other: Self) {
        self.routes.extend(other.routes);
    }

    /// Adds all routes of another inventory below a path.
    pub fn nest(&mut self, prefix: &str, other: Self) {
        let below = other.routes.into_iter();
        self.routes.extend(below.map(|(route, requirement)| {
            (InventoryRoute { path: join(prefix, &route.path), ..route }, requirement)
        }));
    }

    /// As JSON: a list with each route on a line of its own, as suits a comparison of two.
    pub fn to_json(&self) -> String {
        let mut text = String::from("[");
        for (position, route) in self.routes().enumerate() {
            let row = JsonRow {
                method: &route.method,
                path: &route.path,
                access: route.access.kind(),
                guard: match &route.access {
                    Access::Guarded(guard) => Some(guard),
                    _ => None,
                },
                reason: match &route.access {
                    Access::Unguarded(reason) => Some(reason),
                    _ => None,
                },
            };
            text.push_str(if position == 0 { "\n  " } else { ",\n  " });
            // Texts alone are in it, which can always be written.
            text.push_str(&serde_json::to_string(&row).unwrap_or_default());
        }
        text.push_str("\n]");
        text
    }

    fn insert(&mut self, path: String, method: &'static str, access: Access) {
        self.routes.insert(InventoryRoute { path, method: Cow::Borrowed(method), access }, None);
    }
}

#[derive(Serialize)]
struct JsonRow<'a> {
    method: &'a str,
    path: &'a str,
    access: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl fmt::Display for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            |texts: &mut dyn Iterator<Item = &str>| texts.map(|t| t.chars().count()).max().unwrap_or(0);
        let methods = width(&mut self.routes().map(|route| &*route.method).chain(["METHOD"]));
        let paths = width(&mut self.routes().map(|route| &*route.path).chain(["PATH"]));
        write!(f, "{:methods$}  {:paths$}  GUARD", "METHOD", "PATH")?;
        for InventoryRoute { path, method, access } in self.routes() {
            write!(f, "\n{method:methods$}  {path:paths$}  {access}")?;
        }
        Ok(())
    }
}

/// Whether it stands for routes that nothing is known of.
fn is_unknown(route: &InventoryRoute) -> bool {
    matches!(route.access, Access::Unguarded(_))
}

/// How a route's path fits a request's: nothing, if it doesn't; else by its parts what goes first, which is the less.
fn specificity(route: &str, path: &str) -> Option<Vec<u8>> {
    const WRITTEN_OUT: u8 = 1;
    const WITH_A_NAME: u8 = 2;
    const ALL_BELOW: u8 = 3;
    let mut order = Vec::new();
    let mut left = path.split('/');
    for part in route.split('/') {
        if part == "*" || part.contains('{') && part.contains('*') {
            order.push(ALL_BELOW);
            return Some(order);
        }
        let given = left.next()?;
        if part == given {
            order.push(WRITTEN_OUT);
        } else {
            let (before, name) = part.split_once('{')?;
            let (_, after) = name.rsplit_once('}')?;
            let inside = given.strip_prefix(before)?.strip_suffix(after)?;
            if inside.is_empty() {
                return None;
            }
            order.push(WITH_A_NAME);
        }
    }
    left.next().is_none().then_some(order)
}

/// A path below another one, as both frameworks put them together: `/` below `/api` is `/api`.
pub fn join(prefix: &str, path: &str) -> String {
    let path = path.strip_prefix('/').unwrap_or(path);
    match prefix.strip_suffix('/') {
        Some(prefix) => format!("{prefix}/{path}"),
        None if path.is_empty() => prefix.to_owned(),
        None => format!("{prefix}/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Rule;

    #[test]
    fn a_table_and_json_that_compare_well() {
        let mut api = Inventory::default();
        api.add("POST", "/", Some(Rule::<()>::role(["admin"]).hide().policy()));
        api.add("GET", "/", Some(Rule::<()>::login().policy()));
        api.add_unguarded("the old \"reports\"");
        let mut all = Inventory::default();
        all.nest("/api", api);
        let mut home = Inventory::default();
        home.add("GET", "/", None);
        all.merge(home);
        assert_eq!(
            all.to_string(),
            "METHOD  PATH    GUARD\n\
             GET     /       public\n\
             GET     /api    signed in\n\
             POST    /api    role admin, hidden\n\
             ANY     /api/*  UNGUARDED: the old \"reports\""
        );
        assert_eq!(
            all.to_json(),
            "[\n  \
             {\"method\":\"GET\",\"path\":\"/\",\"access\":\"public\"},\n  \
             {\"method\":\"GET\",\"path\":\"/api\",\"access\":\"guarded\",\"guard\":\"signed in\"},\n  \
             {\"method\":\"POST\",\"path\":\"/api\",\"access\":\"guarded\",\"guard\":\"role admin, hidden\"},\n  \
             {\"method\":\"ANY\",\"path\":\"/api/*\",\"access\":\"unguarded\",\"reason\":\"the old \\\"reports\\\"\"}\n]"
        );
        assert_eq!(Inventory::default().to_string(), "METHOD  PATH  GUARD");
    }

    #[test]
    fn a_request_finds_its_route() {
        let mut all = Inventory::default();
        for (method, path, role) in [
            ("GET", "/documents/{id}", "id"),
            ("GET", "/documents/new", "new"),
            ("POST", "/documents/{id}", "posted"),
            ("GET", "/documents/{id}/pages/{page:[0-9]+}", "page"),
            ("GET", "/documents/{id}.txt", "text"),
            ("GET", "/files/{*rest}", "axum"),
            ("GET", "/old-files/{rest:.*}", "actix"),
            ("GET", "/older-files/{rest}*", "tail"),
        ] {
            all.add(method, path, Some(Rule::<()>::role([role]).policy()));
        }
        all.add("GET", "/", None);
        let role = |all: &Inventory, method, path| match all.requirement(method, path) {
            Some(Requirement::AnyRole(names)) => names.first().map(ToString::to_string),
            _ => None,
        };
        for (method, path, found) in [
            ("GET", "/documents/7", "id"),
            ("HEAD", "/documents/7", "id"),
            ("GET", "/documents/{id}", "id"),
            ("GET", "/documents/7?from=1", "id"),
            ("GET", "/documents/new", "new"),
            ("POST", "/documents/7", "posted"),
            ("GET", "/documents/7/pages/1", "page"),
            ("GET", "/documents/7/pages/{page:[0-9]+}", "page"),
            ("GET", "/documents/{id}.txt", "text"),
            ("GET", "/files/a/b", "axum"),
            ("GET", "/files/{*rest}", "axum"),
            ("GET", "/old-files/a/b", "actix"),
            ("GET", "/older-files/a/b", "tail"),
        ] {
            assert_eq!(role(&all, method, path).as_deref(), Some(found), "{method} {path}");
        }
        for (method, path) in [
            ("GET", "/documents"),
            ("GET", "/documents/"),
            ("GET", "/documents/7/"),
            ("GET", "/documents/7/pages"),
            ("DELETE", "/documents/7"),
            // Its path is the one that is written out, and that has no such method.
            ("POST", "/documents/new"),
            ("get", "/documents/7"),
            ("GET", "documents/7"),
            ("GET", ""),
        ] {
            assert_eq!(all.route(method, path), None, "{method} {path}");
        }
        assert_eq!(all.route("GET", "/").map(|route| &route.access), Some(&Access::Public));
        assert_eq!(all.requirement("GET", "/"), None);

        // Below a path they are the same; and what nothing is known of takes nobody's place.
        let mut below = Inventory::default();
        below.nest("/api", all);
        below.add_unguarded("old");
        assert_eq!(role(&below, "GET", "/api/documents/7").as_deref(), Some("id"));
        let unknown = below.route("DELETE", "/api/documents/7").map(|route| route.access.kind());
        assert_eq!(unknown, Some("unguarded"));
    }

    #[test]
    fn paths_are_put_together() {
        for (prefix, path, whole) in [
            ("/api", "/", "/api"),
            ("/api", "/x", "/api/x"),
            ("/api", "x", "/api/x"),
            ("/api/", "/", "/api/"),
            ("/api/", "/x", "/api/x"),
            ("", "/x", "/x"),
            ("/api", "/*", "/api/*"),
        ] {
            assert_eq!(join(prefix, path), whole, "{prefix} {path}");
        }
    }
}
