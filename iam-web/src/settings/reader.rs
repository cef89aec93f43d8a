//! Reading each setting, and saying what is wrong with it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use iam_core::account::Username;
use iam_core::keys::{Keys, SecretKey};
use iam_core::origin::BaseUrl;
use iam_core::parent::ParentKey;
use iam_core::password::{PasswordContext, PasswordPolicy, PepperRing, PlainPassword};
use iam_core::role::RoleName;
use iam_core::seal::KeyRing;
use iam_core::session::SessionPolicy;

use super::{Database, DatabaseUrl, DemoUser, IamSettings, MailServer, Mode};
use crate::address::{ForwardHeader, TrustedProxies};

pub(super) struct Reader<'a> {
    pub(super) lookup: &'a dyn Fn(&str) -> Option<String>,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Reader<'_> {
    pub(super) fn settings(&mut self) -> Option<IamSettings> {
        let mode = self.mode();
        let listen =
            self.parsed("IAM_LISTEN", "127.0.0.1:3000", "an address and port", |text| text.parse().ok());
        let base_url = self.base_url(mode, listen);
        let database = self.database(mode);
        let keys = self.keys(mode);
        let pepper = self.pepper(mode);
        let sessions = self.sessions();
        let proxies = self.proxies(mode);
        let trusted_devices = self.trusted_devices();
        let audit_retention = self.audit_retention();
        let mail = self.mail();
        let administrator = self.administrator();
        let demo_users = self.demo_users(mode);
        if mode == Mode::Development && listen.is_some_and(|listen: SocketAddr| !listen.ip().is_loopback()) {
            self.problem(
                "IAM_LISTEN",
                "development mode listens on a loopback address only; set IAM_ENV=production",
            );
        }
        let base_url = base_url?;
        Some(IamSettings {
            mode,
            listen: listen?,
            allowed_origins: self.origins(mode, listen?)?,
            base_url,
            database: database?,
            sessions: sessions?,
            trusted_devices: trusted_devices?,
            audit_retention: audit_retention?,
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

    fn origins(&mut self, mode: Mode, listen: SocketAddr) -> Option<Vec<String>> {
        let mut origins = Vec::new();
        for entry in list(self.get("IAM_ALLOWED_ORIGINS")) {
            match BaseUrl::parse(&entry) {
                Ok(origin) => origins.push(origin.origin()),
                Err(error) => {
                    self.problem("IAM_ALLOWED_ORIGINS", &error.to_string());
                    return None;
                }
            }
        }
        if mode == Mode::Development {
            // The same machine by its other names.
            for host in ["localhost", "127.0.0.1", "[::1]"] {
                origins.push(format!("http://{host}:{}", listen.port()));
            }
        }
        Some(origins)
    }

    /// Both or none. What the URL and the certificates say is their sender's to judge.
    fn mail(&mut self) -> Option<Option<MailServer>> {
        let root_certificates = self.get("SMTP_ROOT_CERTIFICATES").map(PathBuf::from);
        match (self.get("SMTP_URL"), self.get("SMTP_FROM")) {
            (None, None) if root_certificates.is_some() => {
                self.problem("SMTP_ROOT_CERTIFICATES", "is set, and SMTP_URL is not");
                None
            }
            (None, None) => Some(None),
            (Some(url), Some(from)) => Some(Some(MailServer { url, from, root_certificates })),
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
            return Some(Database::MySql(DatabaseUrl::new(text)));
        }
        match text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")) {
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
        if mode == Mode::Production {
            self.warn_of_placeholder_keys(secret.as_deref(), ring.as_deref());
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
    fn pepper(&mut self, mode: Mode) -> Option<Option<PepperRing>> {
        const NAME: &str = "IAM_PASSWORD_PEPPER";
        let Some(text) = self.get(NAME) else { return Some(None) };
        if mode == Mode::Production {
            self.warn_of_placeholders(&[(NAME, Some(&text))]);
            for other in ["IAM_SECRET_KEY", "MFA_ENCRYPTION_KEY"] {
                if self.get(other).as_deref().map(str::trim) == Some(text.trim()) {
                    self.warning(NAME, &format!("is the same as {other}: who learns one learns both"));
                }
            }
        }
        self.valid(NAME, PepperRing::parse(&text)).map(Some)
    }

    fn warn_of_placeholder_keys(&mut self, secret: Option<&str>, ring: Option<&str>) {
        self.warn_of_placeholders(&[("IAM_SECRET_KEY", secret), ("MFA_ENCRYPTION_KEY", ring)]);
        if secret.is_some() && secret.map(str::trim) == ring.map(str::trim) {
            self.warning("MFA_ENCRYPTION_KEY", "is the same as IAM_SECRET_KEY: who learns one learns both");
        }
    }

    /// What nobody drew at random, by its look.
    fn warn_of_placeholders(&mut self, keys: &[(&str, Option<&str>)]) {
        for &(name, value) in keys {
            let is_placeholder = |key: &str| {
                let key = key.rsplit(':').next().unwrap_or(key).trim().trim_end_matches('=');
                let mut different: Vec<u8> = key.bytes().collect();
                different.sort_unstable();
                different.dedup();
                different.len() < 8
            };
            if value.is_some_and(|value| value.split(',').any(is_placeholder)) {
                self.warning(name, "looks like a placeholder: make one with `openssl rand -base64 32`");
            }
        }
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

    fn trusted_devices(&mut self) -> Option<Option<Duration>> {
        const NAME: &str = "IAM_TRUSTED_DEVICES";
        if self.get(NAME).is_none_or(|text| text.trim() == "none") {
            return Some(None);
        }
        let duration = |text: &str| humantime::parse_duration(text).ok();
        let time = self.parsed(NAME, "none", "`none`, or a duration such as 30d", duration)?;
        if time < Duration::from_secs(1) || time > Duration::from_hours(24 * 30) {
            self.problem(NAME, "must be between 1s and 30d");
        }
        Some(Some(time))
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

    fn proxies(&mut self, mode: Mode) -> Option<(TrustedProxies, ForwardHeader)> {
        const NAME: &str = "IAM_TRUSTED_PROXIES";
        let trusted = self.get(NAME);
        if trusted.is_none() && mode == Mode::Production {
            // The base URL is https and the service speaks http: there is a proxy.
            self.warning(
                NAME,
                "is not set: everybody behind the proxy that speaks https for this service shares one limit on failed \
                 sign-ins and one address in the audit log; name the proxy's address, or say `none`",
            );
        }
        let trusted = trusted.filter(|text| text.trim() != "none").unwrap_or_default();
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
        let roles = roles.map(RoleName::parse).collect::<Result<_, _>>().map_err(|e| problem(&e)).ok()?;
        let parent = match parent.trim() {
            "" => None,
            key => Some(ParentKey::parse(key).map_err(|e| problem(&e)).ok()?),
        };
        Some(DemoUser { username, password, roles, parent })
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        default: &str,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(name);
        let parsed = parse(value.as_deref().unwrap_or(default).trim());
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

    fn problem(&mut self, name: &str, text: &str) {
        self.problems.push(format!("{name}: {text}"));
    }
}

fn new_password(text: &str, username: &Username) -> Result<PlainPassword, iam_core::error::Invalid> {
    let password = PlainPassword::new(text)?;
    PasswordPolicy::default().check(&password, &PasswordContext::default().username(username))?;
    Ok(password)
}

fn list(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::InvalidSettings;
    use super::*;

    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn read(pairs: &[(&str, &str)]) -> Result<IamSettings, InvalidSettings> {
        let map: HashMap<String, String> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        IamSettings::from_lookup(|name| map.get(name).cloned())
    }

    fn production() -> Vec<(&'static str, &'static str)> {
        vec![
            ("IAM_ENV", "production"),
            ("IAM_BASE_URL", "https://app.example.com"),
            ("IAM_DATABASE_URL", "sqlite:///var/lib/iam.db"),
            ("IAM_SECRET_KEY", KEY),
            ("MFA_ENCRYPTION_KEY", KEY),
        ]
    }

    #[test]
    fn nothing_set_is_development_on_this_machine() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.mode, Mode::Development);
        assert_eq!(settings.listen.to_string(), "127.0.0.1:3000");
        assert_eq!(settings.base_url.origin(), "http://localhost:3000");
        assert_eq!(settings.database, Database::Sqlite("iam.db".into()));
        assert_eq!(settings.sessions, SessionPolicy::default());
        assert_eq!(read(&[("IAM_LISTEN", "[::1]:81")]).unwrap().base_url.origin(), "http://localhost:81");
    }

    #[test]
    fn production_names_everything_that_is_missing() {
        let error = read(&[("IAM_ENV", "production")]).unwrap_err().to_string();
        for name in ["IAM_BASE_URL", "IAM_DATABASE_URL", "IAM_SECRET_KEY", "MFA_ENCRYPTION_KEY"] {
            assert!(error.contains(name), "{name} in {error}");
        }
        assert!(read(&production()).is_ok());
    }

    #[test]
    fn a_mail_server_is_set_up_whole_or_not_at_all() {
        let (url, from) = (("SMTP_URL", "smtps://amy:s3cret@mail.example"), ("SMTP_FROM", "a@x.example"));
        let roots = ("SMTP_ROOT_CERTIFICATES", "/etc/ca.pem");
        assert_eq!(read(&[]).unwrap().mail, None);
        let mail = read(&[url, from, roots]).unwrap().mail.unwrap();
        assert_eq!(mail.root_certificates, Some("/etc/ca.pem".into()));
        assert!(!format!("{mail:?}").contains("s3cret"));
        for (pairs, missing) in
            [(vec![url], "SMTP_FROM"), (vec![from], "SMTP_URL"), (vec![roots], "SMTP_ROOT_CERTIFICATES")]
        {
            let error = read(&pairs).unwrap_err();
            assert_eq!(error.problems().len(), 1, "{error}");
            assert!(error.problems()[0].starts_with(missing), "{error}");
        }
    }

    #[test]
    fn what_is_insecure_is_refused_by_name() {
        let with = |name: &'static str, value: &'static str| {
            let mut pairs = production();
            pairs.retain(|(known, _)| *known != name);
            pairs.push((name, value));
            pairs
        };
        for (name, value) in [
            ("IAM_ENV", "prod"),
            ("IAM_BASE_URL", "http://app.example.com"),
            ("IAM_BASE_URL", "http://localhost:3000"),
            ("IAM_SECRET_KEY", "c2hvcnQ="),
            ("MFA_ENCRYPTION_KEY", "c2hvcnQ="),
            ("IAM_PASSWORD_PEPPER", "c2hvcnQ="),
            ("IAM_PASSWORD_PEPPER", "1"),
            ("IAM_TRUSTED_PROXIES", "0.0.0.0/0"),
            ("IAM_TRUSTED_PROXIES", "::/0"),
            ("IAM_TRUSTED_PROXIES", "0.0.0.0/1,128.0.0.0/1"),
            ("IAM_TRUSTED_PROXIES", "::ffff:0.0.0.0/100"),
            ("IAM_TRUSTED_DEVICES", "31d"),
            ("IAM_TRUSTED_DEVICES", "0s"),
            ("IAM_TRUSTED_DEVICES", "always"),
            ("IAM_AUDIT_RETENTION", "1h"),
            ("IAM_CLIENT_IP_HEADER", "x-real-ip"),
            ("IAM_SESSION_TIMEOUT", "2h"),
            ("IAM_SESSION_TIMEOUT", "0s"),
            ("IAM_SESSION_ABSOLUTE_TIMEOUT", "25h"),
            ("IAM_SESSION_TIMEOUT", "soon"),
            ("IAM_DEMO_USERS", "bob:a long pass phrase:"),
            ("IAM_ADMIN_USERNAME", "root"),
            ("IAM_LISTEN", "nowhere"),
            ("IAM_DATABASE_URL", "postgres://x"),
            ("IAM_ALLOWED_ORIGINS", "http://app.example.com"),
        ] {
            let error = read(&with(name, value)).unwrap_err().to_string();
            assert!(
                error.contains(if name == "IAM_ADMIN_USERNAME" { "IAM_ADMIN_PASSWORD" } else { name }),
                "{error}"
            );
        }
        for (name, value) in [("IAM_LISTEN", "0.0.0.0:3000"), ("IAM_BASE_URL", "https://app.example.com")] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "development: {error}");
        }
        assert!(read(&[("IAM_SECRET_KEY", KEY)]).unwrap_err().to_string().contains("MFA_ENCRYPTION_KEY"));
    }

    #[test]
    fn what_is_likely_wrong_is_warned_of() {
        let warnings = |more: &[(&'static str, &'static str)]| {
            let mut pairs = production();
            pairs.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
            pairs.extend(more);
            read(&pairs).unwrap().warnings.join("\n")
        };
        assert!(warnings(&[]).contains("IAM_TRUSTED_PROXIES"));
        let proxy = ("IAM_TRUSTED_PROXIES", "none");
        let same = warnings(&[proxy]);
        assert!(!same.contains("IAM_TRUSTED_PROXIES") && same.contains("is the same as"), "{same}");
        assert!(same.contains("IAM_SECRET_KEY looks like a placeholder"), "{same}");
        let (one, other) = (
            ("IAM_SECRET_KEY", "3Kf0mZ0q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM="),
            (
                "MFA_ENCRYPTION_KEY",
                "1:Zk8s0Qh3vXn6Wb1yTg5LrJ2mPd7cFu9aEo4iKxVtBqY=,0:q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM3Kf0mZ0=",
            ),
        );
        assert_eq!(warnings(&[("IAM_TRUSTED_PROXIES", "10.0.0.0/8"), one, other]), "");
        assert_eq!(read(&[]).unwrap().warnings, [""; 0], "development has nothing to lose");
    }

    #[test]
    fn a_pepper_may_be_there_and_is_another_key() {
        assert!(read(&production()).unwrap().pepper.is_none());
        let with = |text: &'static str| {
            let mut pairs = production();
            pairs.push(("IAM_PASSWORD_PEPPER", text));
            read(&pairs).unwrap()
        };
        let good = with(
            "1:Zk8s0Qh3vXn6Wb1yTg5LrJ2mPd7cFu9aEo4iKxVtBqY=,0:q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM3Kf0mZ0=",
        );
        assert_eq!(format!("{:?}", good.pepper), "Some([1, 0])");
        assert!(!good.warnings.join("\n").contains("IAM_PASSWORD_PEPPER"));
        let poor = with(KEY).warnings.join("\n");
        assert!(poor.contains("IAM_PASSWORD_PEPPER looks like a placeholder"), "{poor}");
        assert!(poor.contains("IAM_PASSWORD_PEPPER is the same as IAM_SECRET_KEY"), "{poor}");
    }

    #[test]
    fn browsers_are_trusted_only_where_it_is_said() {
        let time = |text| read(&[("IAM_TRUSTED_DEVICES", text)]).unwrap().trusted_devices;
        assert_eq!(read(&[]).unwrap().trusted_devices, None);
        assert_eq!((time("none"), time("")), (None, None));
        assert_eq!(time("30d"), Some(Duration::from_hours(24 * 30)));
    }

    #[test]
    fn a_database_url_shows_no_password() {
        let settings = read(&[("IAM_DATABASE_URL", "mysql://iam:hunter2secret@db/iam")]).unwrap();
        let Database::MySql(url) = &settings.database else { panic!("{:?}", settings.database) };
        assert_eq!(url.expose(), "mysql://iam:hunter2secret@db/iam");
        assert!(!format!("{settings:?}").contains("hunter2secret"));
    }

    #[test]
    fn demo_users() {
        let users = |text| read(&[("IAM_DEMO_USERS", text)]).map(|settings| settings.demo_users);
        let people = users(
            "amy:a long pass phrase:admin+auditor@acme, bob:a long pass phrase:@acme,cy:a long pass phrase",
        )
        .unwrap();
        let shown: Vec<_> = people
            .iter()
            .map(|user| {
                (user.username.to_string(), user.roles.len(), user.parent.as_ref().map(ToString::to_string))
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("amy".to_owned(), 2, Some("acme".to_owned())),
                ("bob".to_owned(), 0, Some("acme".to_owned())),
                ("cy".to_owned(), 0, None)
            ]
        );
        let refused = |text| users(text).unwrap_err().to_string();
        assert!(refused("bob:password12345678:").contains("guessed"), "{}", refused("bob:password12345678:"));
        assert!(
            refused("bob:bob bob bob bob bob:").contains("name"),
            "{}",
            refused("bob:bob bob bob bob bob:")
        );
        for wrong in ["bob", "bob:hunter2secret:", "b b:a long pass phrase:", "bob:a long pass phrase:@A"] {
            let error = users(wrong).unwrap_err().to_string();
            assert!(error.contains("entry 1") && !error.contains("hunter2secret"), "{error}");
        }
    }
}
