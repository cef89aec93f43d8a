//! Which routes a service has, and who may pass: to be read by people, and compared when a change is reviewed.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::rule::Policy;
use crate::web::WebIam;

/// The routes of a service, each with its guard, sorted by path and method. Shown as a table.
///
/// `GET` stands for `HEAD`, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    routes: BTreeSet<InventoryRoute>,
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
        self.routes.iter()
    }

    /// Adds a route with its guard, or without one for everybody.
    pub fn add(&mut self, method: &'static str, path: &str, guard: Option<&Policy>) {
        let access = guard.map_or(Access::Public, |policy| Access::Guarded(policy.to_string()));
        self.insert(path.to_owned(), method, access);
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
        self.routes.extend(below.map(|route| InventoryRoute { path: join(prefix, &route.path), ..route }));
    }

    /// As JSON: a list with each route on a line of its own, as suits a comparison of two.
    pub fn to_json(&self) -> String {
        let mut text = String::from("[");
        for (position, route) in self.routes.iter().enumerate() {
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
        self.routes.insert(InventoryRoute { path, method: Cow::Borrowed(method), access });
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
        let methods = width(&mut self.routes.iter().map(|route| &*route.method).chain(["METHOD"]));
        let paths = width(&mut self.routes.iter().map(|route| &*route.path).chain(["PATH"]));
        write!(f, "{:methods$}  {:paths$}  GUARD", "METHOD", "PATH")?;
        for InventoryRoute { path, method, access } in &self.routes {
            write!(f, "\n{method:methods$}  {path:paths$}  {access}")?;
        }
        Ok(())
    }
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
