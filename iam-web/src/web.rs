//! The identity layer together with what it needs to speak HTTP.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use iam_core::protocol::Origin;
use iam_core::{BaseUrl, Iam, InvalidOrigin, MacKey};

use crate::address::{ForwardHeader, ProxyConfig, TrustedProxies};
use crate::context::RequestContext;
use crate::cookies::{CookieConfig, CookieKind, CookiePrefix};
use crate::hsts::Hsts;
use crate::pages::Pages;
use crate::theme::Theme;

/// An [`Iam`] with its HTTP surface. Cheap to clone; an adapter's layer and routes take it, or a plain [`Iam`] for the
/// defaults.
#[derive(Clone)]
pub struct WebIam {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) iam: Iam,
    pub(crate) pages: Arc<Pages>,
    pub(crate) csrf_key: MacKey,
    pub(crate) cookies: CookieConfig,
    pub(crate) proxies: ProxyConfig,
    pub(crate) allowed_origins: Vec<String>,
    /// The origins, besides our own, where a form of our pages may end: those that are allowed, and those of providers that people sign in
    /// at, once there are any.
    pub(crate) form_targets: Vec<String>,
    /// `Clear-Site-Data`, when somebody signs out.
    pub(crate) clears_pages: bool,
    /// `/.well-known/change-password` is ours.
    pub(crate) change_password_url: bool,
    /// `Strict-Transport-Security`, where it is to be sent.
    pub(crate) hsts: Option<String>,
    pub(crate) auth_path: String,
    pub(crate) api_path: String,
}

impl WebIam {
    /// Begins to set up the HTTP surface.
    pub fn builder(iam: Iam) -> WebIamBuilder {
        let base = iam.base_url();
        WebIamBuilder {
            // Without a base URL, as with one that is not on this machine, browsers come by HTTPS.
            secure: base.is_none_or(BaseUrl::is_https),
            allowed_origins: base.map(BaseUrl::origin).into_iter().collect(),
            proxies: ProxyConfig::default(),
            theme: Theme::default(),
            hsts: None,
            cookie_prefix: CookiePrefix::default(),
            clears_pages: true,
            change_password_url: true,
            auth_path: "/auth".to_owned(),
            api_path: "/api/v1".to_owned(),
            iam,
        }
    }

    /// The identity layer itself.
    pub fn iam(&self) -> &Iam {
        &self.inner.iam
    }

    /// The name of the cookie that holds the session's token.
    pub fn session_cookie_name(&self) -> &str {
        self.inner.cookies.name(CookieKind::Session)
    }

    /// What belongs to one request. `peer` is the address that the connection comes from; or, for the log, what the host has
    /// to do so that it is known.
    pub fn context(&self, peer: Result<IpAddr, &'static str>) -> RequestContext {
        RequestContext::new(self.clone(), peer)
    }
}

impl From<Iam> for WebIam {
    fn from(iam: Iam) -> Self {
        Self::builder(iam).build()
    }
}

impl From<&Iam> for WebIam {
    fn from(iam: &Iam) -> Self {
        iam.clone().into()
    }
}

impl From<&WebIam> for WebIam {
    fn from(web: &WebIam) -> Self {
        web.clone()
    }
}

impl fmt::Debug for WebIam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebIam").field("iam", &self.inner.iam).finish_non_exhaustive()
    }
}

/// Sets up a [`WebIam`].
#[derive(Debug)]
#[must_use]
pub struct WebIamBuilder {
    iam: Iam,
    secure: bool,
    allowed_origins: Vec<String>,
    proxies: ProxyConfig,
    theme: Theme,
    hsts: Option<Hsts>,
    cookie_prefix: CookiePrefix,
    clears_pages: bool,
    change_password_url: bool,
    auth_path: String,
    api_path: String,
}

impl WebIamBuilder {
    /// A look of the host's own.
    pub fn theme(mut self, theme: Theme) -> Self {
        self.theme = theme;
        self
    }

    /// Another origin (`https://host[:port]`) whose pages may send requests, besides the base URL's.
    ///
    /// # Errors
    /// For what is no origin that a browser could send (a path, a slash behind it, a `*`), and for `http:` unless the service itself lives
    /// on this machine.
    pub fn allow_origin(self, origin: impl AsRef<str>) -> Result<Self, InvalidOrigin> {
        let origin = Origin::parse_beside(origin.as_ref(), self.iam.base_url())?;
        Ok(self.allow(&origin))
    }

    pub(crate) fn allow(mut self, origin: &Origin) -> Self {
        self.allowed_origins.push(origin.to_string());
        self
    }

    /// `Strict-Transport-Security` with every answer that passes the layer, the host's included, unless it has one of its own. Only where
    /// browsers come by HTTPS. By default none: whoever speaks HTTPS for the service may say it.
    pub fn hsts(mut self, hsts: Hsts) -> Self {
        self.hsts = Some(hsts);
        self
    }

    /// What the names of the cookies begin with, instead of `iam_`: two services on one host, whatever their ports, share their cookies, and
    /// sign each other's people out, unless each has names of its own. Where browsers come by HTTPS, `__Host-` stands before it. Under
    /// other names the cookies that browsers have count for nothing: people sign in again, and their devices are not known any more.
    pub fn cookie_prefix(mut self, prefix: CookiePrefix) -> Self {
        self.cookie_prefix = prefix;
        self
    }

    /// Whether `Clear-Site-Data: "cache"` goes with the answer that signs somebody out, or signs in somebody else in their place: so that
    /// the back button does not show their pages. It is so by default. The browser forgets the host's cached files with them, and nothing
    /// else: no cookie, no storage.
    pub fn clear_pages(mut self, clear: bool) -> Self {
        self.clears_pages = clear;
        self
    }

    /// Whether `/.well-known/change-password` leads to the own account, as password managers look for it (W3C "A Well-Known URL for Changing
    /// Passwords"). It is so by default; without it the address is the host's.
    pub fn change_password_url(mut self, ours: bool) -> Self {
        self.change_password_url = ours;
        self
    }

    /// The proxies whose word on the client's address is taken, and the one header in which they give it.
    pub fn trusted_proxies(mut self, trusted: TrustedProxies, header: ForwardHeader) -> Self {
        self.proxies = ProxyConfig { trusted, header, ..ProxyConfig::default() };
        self
    }

    /// Where the sign-in pages are, instead of `/auth`.
    pub fn auth_path(mut self, path: impl Into<String>) -> Self {
        self.auth_path = path.into();
        self
    }

    /// Where the JSON interface is, instead of `/api/v1`.
    pub fn api_path(mut self, path: impl Into<String>) -> Self {
        self.api_path = path.into();
        self
    }

    /// The HTTP surface.
    pub fn build(self) -> WebIam {
        WebIam {
            inner: Arc::new(Inner {
                csrf_key: self.iam.derive_key("csrf"),
                iam: self.iam,
                pages: self.theme.pages,
                cookies: CookieConfig::new(self.secure, &self.cookie_prefix),
                proxies: self.proxies,
                form_targets: form_targets(&self.allowed_origins),
                clears_pages: self.clears_pages,
                change_password_url: self.change_password_url,
                allowed_origins: self.allowed_origins,
                hsts: self.hsts.filter(|_| self.secure).map(|hsts| hsts.to_string()),
                auth_path: self.auth_path,
                api_path: self.api_path,
            }),
        }
    }
}

/// Origins as a content security policy names them: it has no form for an IPv6 address, and browsers warn of what they can't read.
fn form_targets(origins: &[String]) -> Vec<String> {
    let mut targets: Vec<String> = Vec::new();
    for origin in origins.iter().filter(|origin| !origin.contains('[')) {
        if !targets.contains(origin) {
            targets.push(origin.clone());
        }
    }
    targets
}
