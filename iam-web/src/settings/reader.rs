//! Reading each setting, and saying what is wrong with it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use iam_core::protocol::Origin;
use iam_core::{
    BaseUrl, KeyRing, Keys, LongSessions, ParentKey, PasswordContext, PasswordPolicy, PepperRing,
    PlainPassword, RoleName, SecretKey, SessionPolicy, Username, unsafe_keys,
};
use url::{Host, Url};

use super::values::Values;
use super::{Database, DatabaseUrl, DemoUser, IamSettings, MailServer, Mode};
use crate::address::{ForwardHeader, TrustedProxies};
use crate::cookies::CookiePrefix;
use crate::hsts::Hsts;

pub(super) struct Reader {
    values: Values,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Reader {
    pub(super) fn new(values: Values) -> Self {
        Self { problems: values.problems(), warnings: Vec::new(), values }
    }

    pub(super) fn settings(&mut self) -> Option<IamSettings> {
        let mode = self.mode();
        let listen =
            self.parsed("IAM_LISTEN", "127.0.0.1:3000", "an address and port", |text| text.parse().ok());
        let base_url = self.base_url(mode, listen);
        let allowed_origins = self.origins(mode, listen, base_url.as_ref());
        let database = self.database(mode);
        let (keys, pepper) = (self.keys(mode), self.pepper());
        for unsafe_key in unsafe_keys(keys.as_ref(), pepper.as_ref().and_then(Option::as_ref)) {
            self.problem(unsafe_key.setting, unsafe_key.reason);
        }
        let sessions = self.sessions();
        let long_sessions = self.long_sessions();
        let proxies = self.proxies(mode);
        let trusted_devices = self.trusted_devices();
        let hsts = self.hsts();
        let cookie_prefix = self.cookie_prefix();
        let audit_retention = self.audit_retention();
        let idle_connection = self.idle_connection();
        let mail = self.mail();
        let administrator = self.administrator();
        let demo_users = self.demo_users(mode);
        if mode == Mode::Development && listen.is_some_and(|listen: SocketAddr| !listen.ip().is_loopback()) {
            self.problem(
                "IAM_LISTEN",
                "development mode listens on a loopback address only; set IAM_ENV=production",
            );
        }
        Some(IamSettings {
            mode,
            listen: listen?,
            allowed_origins,
            base_url: base_url?,
            database: database?,
            sessions: sessions?,
            long_sessions: long_sessions?,
            trusted_devices: trusted_devices?,
            hsts: hsts?,
            cookie_prefix: cookie_prefix?,
            audit_retention: audit_retention?,
            idle_connection: idle_connection?,
            mail: mail?,
            proxies: proxies?,
            keys,
            pepper: pepper?,
            administrator: administrator?,
            demo_users: demo_users?,
            warnings: std::mem::take(&mut self.warnings),
        })
    }

    fn mode(&mut self) -> Mode {
        match self.get("IAM_ENV").as_deref() {
            None | Some("development") => Mode::Development,
            Some("production") => Mode::Production,
            Some(_) => {
                self.problem("IAM_ENV", "must be `development` or `production`");
                // The stricter one, so that nothing else is let through on the way to the refusal.
                Mode::Production
            }
        }
    }

    fn base_url(&mut self, mode: Mode, listen: Option<SocketAddr>) -> Option<BaseUrl> {
        let text = match (self.get("IAM_BASE_URL"), mode) {
            (Some(text), _) => text,
            (None, Mode::Development) => format!("http://localhost:{}", listen?.port()),
            (None, Mode::Production) => {
                self.problem(
                    "IAM_BASE_URL",
                    "is missing: where browsers find the service, such as https://app.example.com",
                );
                return None;
            }
        };
        match BaseUrl::parse(&text) {
            Ok(base) if mode == Mode::Production && !base.is_https() => {
                self.problem("IAM_BASE_URL", "must begin with https:// in production mode");
                None
            }
            Ok(base) if mode == Mode::Development && !base.is_loopback() => {
                self.problem(
                    "IAM_BASE_URL",
                    "must be on localhost in development mode; set IAM_ENV=production",
                );
                None
            }
            Ok(base) => Some(base),
            Err(error) => {
                self.problem("IAM_BASE_URL", &error.to_string());
                None
            }
        }
    }

    /// By its number, so that no password of an address gets into a message.
    fn origins(&mut self, mode: Mode, listen: Option<SocketAddr>, base_url: Option<&BaseUrl>) -> Vec<Origin> {
        const NAME: &str = "IAM_ALLOWED_ORIGINS";
        // In production no page without HTTPS is trusted, not even one of this machine.
        let base_url = base_url.filter(|_| mode == Mode::Development);
        let text = self.get(NAME);
        let is_set = text.is_some();
        let entries = list(text);
        if is_set && entries.is_empty() {
            self.problem(NAME, "names no origin: leave it out, or name some");
        }
        let mut origins: Vec<Origin> = Vec::new();
        for (number, entry) in (1..).zip(&entries) {
            match Origin::parse_beside(entry, base_url) {
                Ok(origin) => origins.push(origin),
                Err(error) => self.problem(NAME, &format!("entry {number}: {error}")),
            }
        }
        if let (Mode::Development, Some(listen)) = (mode, listen) {
            // The same machine by its other names.
            for host in ["localhost", "127.0.0.1", "[::1]"] {
                origins.extend(Origin::parse(&format!("http://{host}:{}", listen.port())));
            }
        }
        origins
    }

    /// Both or none. What the URL and the certificates say is their sender's to judge.
    fn mail(&mut self) -> Option<Option<MailServer>> {
        let root_certificates = self.get("SMTP_ROOT_CERTIFICATES").map(PathBuf::from);
        let hello = self.get("SMTP_HELLO");
        match (self.get("SMTP_URL"), self.get("SMTP_FROM")) {
            (None, None) if root_certificates.is_some() || hello.is_some() => {
                let name = if hello.is_some() { "SMTP_HELLO" } else { "SMTP_ROOT_CERTIFICATES" };
                self.problem(name, "is set, and SMTP_URL is not");
                None
            }
            (None, None) => Some(None),
            (Some(url), Some(from)) => Some(Some(MailServer { url, from, hello, root_certificates })),
            (Some(_), None) => {
                self.problem("SMTP_FROM", "is missing: the address that mails come from");
                None
            }
            (None, Some(_)) => {
                self.problem("SMTP_URL", "is missing, such as smtps://user:password@mail.example.com");
                None
            }
        }
    }

    fn database(&mut self, mode: Mode) -> Option<Database> {
        let text = match (self.get("IAM_DATABASE_URL"), mode) {
            (Some(text), _) => text,
            (None, Mode::Development) => "sqlite://iam.db".to_owned(),
            (None, Mode::Production) => {
                self.problem(
                    "IAM_DATABASE_URL",
                    "is missing, such as sqlite:///var/lib/app/iam.db or mysql://user:password@host/database",
                );
                return None;
            }
        };
        if text.starts_with("mysql://") || text.starts_with("mariadb://") {
            // How it goes on is the driver's to judge.
            if mode == Mode::Production && !is_near_or_known(&text) {
                self.warning(
                    "IAM_DATABASE_URL",
                    "leads to a server elsewhere whose certificate nobody checks: add ssl-mode=VERIFY_IDENTITY (or VERIFY_CA), or \
                     whoever stands on the way can be that server",
                );
            }
            return Some(Database::MySql(DatabaseUrl::new(text)));
        }
        match text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")) {
            // Each connection would have one of its own, and a file of that name is not what was meant.
            Some(path) if path == ":memory:" || path.starts_with("file:") => {
                self.problem(
                    "IAM_DATABASE_URL",
                    "must name a file: a database in memory would be lost with the process; sqlite:///tmp/iam.db, say, will do to try it",
                );
                None
            }
            Some(path) if !path.is_empty() && !path.contains(['?', '#']) => {
                Some(Database::Sqlite(path.into()))
            }
            _ => {
                self.problem(
                    "IAM_DATABASE_URL",
                    "must be sqlite:// and a file, such as sqlite://iam.db, or mysql:// and a server",
                );
                None
            }
        }
    }

    fn keys(&mut self, mode: Mode) -> Option<Keys> {
        let (secret, ring) = (self.get("IAM_SECRET_KEY"), self.get("MFA_ENCRYPTION_KEY"));
        for (name, value) in [("IAM_SECRET_KEY", &secret), ("MFA_ENCRYPTION_KEY", &ring)] {
            let other_is_set = secret.is_some() || ring.is_some();
            if value.is_none() && (mode == Mode::Production || other_is_set) {
                self.problem(name, "is missing: make one with `openssl rand -base64 32`");
            }
        }
        let secret = match SecretKey::from_base64(&secret?) {
            Ok(secret) => Some(secret),
            Err(error) => {
                self.problem("IAM_SECRET_KEY", &error.to_string());
                None
            }
        };
        let ring = match KeyRing::parse(&ring?) {
            Ok(ring) => Some(ring),
            Err(error) => {
                self.problem("MFA_ENCRYPTION_KEY", &error.to_string());
                None
            }
        };
        Some(Keys { secret: secret?, ring: ring? })
    }

    /// None is needed: the pepper is an addition.
    fn pepper(&mut self) -> Option<Option<PepperRing>> {
        const NAME: &str = "IAM_PASSWORD_PEPPER";
        let Some(text) = self.get(NAME) else { return Some(None) };
        self.valid(NAME, PepperRing::parse(&text)).map(Some)
    }

    fn sessions(&mut self) -> Option<SessionPolicy> {
        let duration = |text: &str| humantime::parse_duration(text).ok();
        let idle = self.parsed("IAM_SESSION_TIMEOUT", "30m", "a duration such as 30m", duration)?;
        let absolute =
            self.parsed("IAM_SESSION_ABSOLUTE_TIMEOUT", "12h", "a duration such as 12h", duration)?;
        let limits = [
            ("IAM_SESSION_TIMEOUT", idle, Duration::from_secs(1), Duration::from_hours(1)),
            ("IAM_SESSION_ABSOLUTE_TIMEOUT", absolute, idle, Duration::from_hours(24)),
        ];
        for (name, value, least, most) in limits {
            if value < least || value > most {
                let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
                self.problem(name, &format!("must be between {least} and {most}"));
            }
        }
        Some(SessionPolicy { idle, absolute })
    }

    /// `30d/90d`, and for whom, which has no default: what is left out must not be the widest.
    fn long_sessions(&mut self) -> Option<Option<LongSessions>> {
        const NAME: &str = "IAM_LONG_SESSIONS";
        const FOR: &str = "IAM_LONG_SESSIONS_FOR";
        let whom = self.get(FOR);
        if self.get(NAME).is_none_or(|text| text.trim() == "none") {
            if whom.is_some() {
                self.problem(FOR, "is set, and IAM_LONG_SESSIONS is not");
            }
            return Some(None);
        }
        let durations = |text: &str| {
            let (idle, absolute) = text.split_once('/')?;
            let duration = |text: &str| humantime::parse_duration(text.trim()).ok();
            Some((duration(idle)?, duration(absolute)?))
        };
        let (idle, absolute) =
            self.parsed(NAME, "none", "`none`, or two durations such as 30d/90d", durations)?;
        if idle > LongSessions::MOST_IDLE || absolute > LongSessions::MOST_ABSOLUTE || absolute < idle {
            self.problem(NAME, "must be at most 30d without use, and at most 90d in all, such as 30d/90d");
        }
        let mut long = LongSessions::new(idle, absolute);
        let Some(whom) = whom else {
            self.problem(FOR, "is missing: roles and parents, such as customer,@acme, or * for everybody but administrators");
            return None;
        };
        let whom = list(Some(whom));
        if whom.is_empty() {
            self.problem(FOR, "names nobody: roles and parents are needed, such as customer,@acme, or * for everybody but administrators");
            return None;
        }
        for entry in whom {
            long = match entry.strip_prefix('@') {
                _ if entry == "*" => long.for_everybody(),
                Some(key) => long.for_parent(self.valid(FOR, ParentKey::parse(key))?.as_str()),
                None => {
                    let role = self.valid(FOR, RoleName::parse(&entry))?;
                    if role.is_reserved() {
                        self.problem(FOR, "administrators can't stay signed in");
                    }
                    long.for_role(role.as_str())
                }
            };
        }
        Some(Some(long))
    }

    fn trusted_devices(&mut self) -> Option<Option<Duration>> {
        const NAME: &str = "IAM_TRUSTED_DEVICES";
        if self.get(NAME).is_none_or(|text| text == "none") {
            return Some(None);
        }
        let duration = |text: &str| humantime::parse_duration(text).ok();
        let time = self.parsed(NAME, "none", "`none`, or a duration such as 30d", duration)?;
        if time < Duration::from_secs(1) || time > Duration::from_hours(24 * 30) {
            self.problem(NAME, "must be between 1s and 30d");
        }
        Some(Some(time))
    }

    fn hsts(&mut self) -> Option<Option<Hsts>> {
        const NAME: &str = "IAM_HSTS";
        let Some(text) = self.get(NAME) else { return Some(None) };
        self.valid(NAME, Hsts::parse(&text)).map(Some)
    }

    fn cookie_prefix(&mut self) -> Option<CookiePrefix> {
        const NAME: &str = "IAM_COOKIE_PREFIX";
        let Some(text) = self.get(NAME) else { return Some(CookiePrefix::default()) };
        self.valid(NAME, CookiePrefix::parse(&text))
    }

    fn audit_retention(&mut self) -> Option<Duration> {
        const NAME: &str = "IAM_AUDIT_RETENTION";
        let duration = |text: &str| humantime::parse_duration(text).ok();
        let retention = self.parsed(NAME, "400d", "a duration such as 400d", duration)?;
        if retention < Duration::from_hours(24) {
            self.problem(NAME, "must be a day at least");
        }
        Some(retention)
    }

    fn idle_connection(&mut self) -> Option<Duration> {
        const NAME: &str = "IAM_IDLE_CONNECTION";
        let duration = |text: &str| humantime::parse_duration(text).ok();
        let idle = self.parsed(NAME, "75s", "a duration such as 75s", duration)?;
        if idle < Duration::from_secs(1) || idle > Duration::from_hours(1) {
            self.problem(NAME, "must be between 1s and 1h");
        }
        Some(idle)
    }

    fn proxies(&mut self, mode: Mode) -> Option<(TrustedProxies, ForwardHeader)> {
        const NAME: &str = "IAM_TRUSTED_PROXIES";
        let trusted = self.get(NAME);
        if trusted.is_none() && mode == Mode::Production {
            // The base URL is https and the service speaks http: there is a proxy.
            self.problem(
                NAME,
                "is missing: the networks of the proxy that speaks https for this service, such as 10.0.0.0/8, or the word `none`. With \
                 `none` everybody behind a proxy shares one limit on failed sign-ins and one address in the audit log",
            );
            return None;
        }
        let trusted = trusted.filter(|text| text != "none").unwrap_or_default();
        let trusted = match TrustedProxies::parse(&trusted) {
            Ok(trusted) => Some(trusted),
            Err(error) => {
                self.problem(NAME, &error.to_string());
                None
            }
        };
        let wanted = "x-forwarded-for or forwarded";
        let header = self.parsed("IAM_CLIENT_IP_HEADER", "x-forwarded-for", wanted, ForwardHeader::parse);
        Some((trusted?, header?))
    }

    fn administrator(&mut self) -> Option<Option<(Username, PlainPassword)>> {
        match (self.get("IAM_ADMIN_USERNAME"), self.get("IAM_ADMIN_PASSWORD")) {
            (None, None) => Some(None),
            (Some(_), None) => {
                self.problem("IAM_ADMIN_PASSWORD", "is missing beside IAM_ADMIN_USERNAME");
                None
            }
            (None, Some(_)) => {
                self.problem("IAM_ADMIN_USERNAME", "is missing beside IAM_ADMIN_PASSWORD");
                None
            }
            (Some(name), Some(password)) => {
                let name = self.valid("IAM_ADMIN_USERNAME", Username::parse(&name));
                let name = name?;
                let password = self.valid("IAM_ADMIN_PASSWORD", new_password(&password, &name));
                Some(Some((name, password?)))
            }
        }
    }

    fn demo_users(&mut self, mode: Mode) -> Option<Vec<DemoUser>> {
        const NAME: &str = "IAM_DEMO_USERS";
        let entries = list(self.get(NAME));
        if mode == Mode::Production && !entries.is_empty() {
            self.problem(NAME, "is for development mode only");
            return None;
        }
        entries.iter().enumerate().map(|(index, entry)| self.demo_user(index + 1, entry)).collect()
    }

    /// `name:password:role+role@parent`; by its number, so that no password gets into a message.
    fn demo_user(&mut self, number: usize, entry: &str) -> Option<DemoUser> {
        let name = "IAM_DEMO_USERS";
        let mut parts = entry.splitn(3, ':');
        let (Some(username), Some(password)) = (parts.next(), parts.next()) else {
            self.problem(name, &format!("entry {number} is not of the form name:password:role+role@parent"));
            return None;
        };
        let (roles, parent) = match parts.next().unwrap_or_default().split_once('@') {
            Some((roles, parent)) => (roles.to_owned(), parent.to_owned()),
            None => (entry.splitn(3, ':').nth(2).unwrap_or_default().to_owned(), String::new()),
        };
        let mut problem = |error: &dyn fmt::Display| self.problem(name, &format!("entry {number}: {error}"));
        let username = Username::parse(username.trim()).map_err(|e| problem(&e)).ok()?;
        let password = new_password(password, &username).map_err(|e| problem(&e)).ok()?;
        let roles = roles.split('+').map(str::trim).filter(|role| !role.is_empty());
        let roles =
            roles.map(RoleName::parse).collect::<Result<Vec<_>, _>>().map_err(|e| problem(&e)).ok()?;
        if roles.iter().any(RoleName::is_reserved) {
            problem(&"names that begin with `iam:` are reserved; IAM_ADMIN_USERNAME makes an administrator");
            return None;
        }
        let parent = match parent.trim() {
            "" => None,
            key => Some(ParentKey::parse(key).map_err(|e| problem(&e)).ok()?),
        };
        Some(DemoUser { username, password, roles, parent })
    }

    fn get(&self, name: &str) -> Option<String> {
        self.values.get(name)
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        default: &str,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(name);
        let parsed = parse(value.as_deref().unwrap_or(default));
        if parsed.is_none() {
            self.problem(name, &format!("must be {wanted}"));
        }
        parsed
    }

    fn valid<T, E: fmt::Display>(&mut self, name: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.problem(name, &error.to_string())).ok()
    }

    fn warning(&mut self, name: &str, text: &str) {
        self.warnings.push(format!("{name} {text}"));
    }

    /// One that can't be read was named already: it is neither missing nor wrong.
    fn problem(&mut self, name: &str, text: &str) {
        if self.values.is_unreadable(name) {
            return;
        }
        self.problems.push(format!("{name}: {text}"));
    }
}

/// Whether a database server is on this machine, or has to show who it is. What can't be read is the driver's to refuse.
fn is_near_or_known(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return true };
    let is_near = match url.host() {
        None => true,
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            // The driver does not know names from addresses.
            name == "localhost"
                || name.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
    };
    let (mut mode, mut socket) = (None, false);
    for (name, value) in url.query_pairs() {
        match name.as_ref() {
            // Of several the driver takes the last.
            "ssl-mode" | "sslmode" => mode = Some(value.to_ascii_lowercase()),
            "socket" => socket = true,
            _ => {}
        }
    }
    is_near || socket || matches!(mode.as_deref(), Some("verify_ca" | "verify_identity"))
}

fn new_password(text: &str, username: &Username) -> Result<PlainPassword, iam_core::Invalid> {
    let password = PlainPassword::new(text)?;
    PasswordPolicy::default().check(&password, &PasswordContext::default().username(username))?;
    Ok(password)
}

fn list(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
