//! Settings from the environment, for services that are set up that way. A library's user may as well call the builders.
//!
//! # What is read
//!
//! White space and invisible characters around a value (the line break at the end of a file, a byte order mark) are no part of it,
//! nor around an entry of a list; of a password only line breaks behind it are not. A control character in a value, and a value that is not
//! UTF-8, is refused by the setting's name. An empty value counts as none.
//!
//! # The same by hand
//!
//! | setting | call |
//! |---|---|
//! | `IAM_ENV` | none: it says what the reader of these settings lets pass, and what it makes up |
//! | `IAM_LISTEN` | none: the service binds its own listener |
//! | `IAM_BASE_URL` | [`IamBuilder::base_url`] |
//! | `IAM_ALLOWED_ORIGINS` | [`WebIamBuilder::allow_origin`], once for each; in development also for this machine's other names |
//! | `IAM_DATABASE_URL` | `SqliteStore::open` or `MySqlStore::connect`; `from_pool` for a pool of the service's own |
//! | `IAM_SECRET_KEY` | [`SecretKey::from_base64`](iam_core::SecretKey::from_base64), for [`Iam::builder`] |
//! | `MFA_ENCRYPTION_KEY` | [`KeyRing::parse`](iam_core::KeyRing::parse), for [`Iam::builder`] |
//! | `IAM_PASSWORD_PEPPER` | [`IamBuilder::password_pepper`] |
//! | `IAM_SESSION_TIMEOUT`, `IAM_SESSION_ABSOLUTE_TIMEOUT` | [`IamBuilder::sessions`] |
//! | `IAM_LONG_SESSIONS`, `IAM_LONG_SESSIONS_FOR` | [`IamBuilder::long_sessions`] |
//! | `IAM_TRUSTED_DEVICES` | [`IamBuilder::factor_policy`] with `FactorPolicy::trusted_devices` |
//! | `IAM_AUDIT_RETENTION` | [`IamBuilder::audit_retention`] |
//! | `SMTP_URL`, `SMTP_FROM` | [`IamBuilder::sender`] with `iam_mfa::Smtp`; [`IamBuilder::factors`] offers the factors themselves |
//! | `SMTP_HELLO` | `iam_mfa::SmtpBuilder::hello` |
//! | `SMTP_ROOT_CERTIFICATES` | `iam_mfa::SmtpBuilder::root_certificates` with what the file holds |
//! | `IAM_IDLE_CONNECTION` | none: it is for the service's own server |
//! | `IAM_HSTS` | [`WebIamBuilder::hsts`] |
//! | `IAM_COOKIE_PREFIX` | [`WebIamBuilder::cookie_prefix`] |
//! | `IAM_TRUSTED_PROXIES`, `IAM_CLIENT_IP_HEADER` | [`WebIamBuilder::trusted_proxies`] |
//! | `IAM_ADMIN_USERNAME`, `IAM_ADMIN_PASSWORD` | [`Setup::create_first_administrator`](iam_core::Setup::create_first_administrator) |
//! | `IAM_DEMO_USERS` | [`Parents::ensure`](iam_core::Parents::ensure), [`Accounts::create`](iam_core::Accounts::create), [`Roles::grant`](iam_core::Roles::grant) |
//!
//! ```
//! use std::error::Error;
//! use std::time::Duration;
//!
//! use iam_core::Iam;
//! use iam_core::Username;
//! use iam_core::{Actor, NewAccount};
//! use iam_core::{Keys, SecretKey};
//! use iam_core::ParentKey;
//! use iam_core::{PepperRing, PlainPassword};
//! use iam_core::RoleName;
//! use iam_core::KeyRing;
//! use iam_core::SessionPolicy;
//! use iam_core::ports::Store;
//! use iam_store_mysql::MySqlStore;
//! use iam_store_sqlite::SqliteStore;
//! use iam_web::{ForwardHeader, TrustedProxies, WebIam};
//!
//! async fn on_sqlite() -> Result<WebIam, Box<dyn Error>> {
//!     let store = SqliteStore::open("/var/lib/app/iam.db").await?; // IAM_DATABASE_URL
//!     store.migrate().await?;
//!     set_up(store).await
//! }
//!
//! async fn on_mysql() -> Result<WebIam, Box<dyn Error>> {
//!     let store = MySqlStore::connect("mysql://user:password@host/database").await?; // IAM_DATABASE_URL
//!     store.migrate().await?;
//!     set_up(store).await
//! }
//!
//! async fn set_up(store: impl Store) -> Result<WebIam, Box<dyn Error>> {
//!     let secret = |name: &str| std::env::var(name); // or wherever the service keeps them
//!     let keys = Keys {
//!         secret: SecretKey::from_base64(&secret("IAM_SECRET_KEY")?)?,
//!         ring: KeyRing::parse(&secret("MFA_ENCRYPTION_KEY")?)?,
//!     };
//!     let iam = Iam::builder(store, keys)
//!         .base_url("https://app.example.com".parse()?)
//!         .password_pepper(PepperRing::parse(&secret("IAM_PASSWORD_PEPPER")?)?)
//!         .sessions(SessionPolicy { idle: Duration::from_mins(30), absolute: Duration::from_hours(12) })
//!         .audit_retention(Duration::from_hours(24 * 400))
//!         .build()
//!         .await?;
//!
//!     let service = Actor::service();
//!     // IAM_ADMIN_USERNAME: does nothing when there is an administrator. Or `Setup::issue_token`: a link that makes one.
//!     let first = NewAccount::new(Username::parse("root")?).password(PlainPassword::new(&secret("IAM_ADMIN_PASSWORD")?)?);
//!     iam.setup(&service).create_first_administrator(first).await?;
//!     // IAM_DEMO_USERS: amy:a long pass phrase:admin@acme
//!     let acme = iam.parents(&service).ensure(&ParentKey::parse("acme")?).await?;
//!     let amy = NewAccount::new(Username::parse("amy")?).password(PlainPassword::new("a long pass phrase")?).parent(acme);
//!     let amy = iam.accounts(&service).create(amy).await?;
//!     iam.roles(&service).grant(amy, &RoleName::parse("admin")?).await?;
//!
//!     Ok(WebIam::builder(iam)
//!         .allow_origin("https://www.example.com")?
//!         .hsts("730d".parse()?) // IAM_HSTS
//!         .trusted_proxies(TrustedProxies::parse("10.0.0.0/8")?, ForwardHeader::XForwardedFor)
//!         .build())
//! }
//! ```
//!
//! The builders refuse what would not work and what protects nothing: time-outs out of bounds, keys that are not the store's, that nobody
//! drew at random, or that are one key in two places. What depends on where a service runs only [`IamSettings`] can tell: in production it
//! wants to be told of proxies, and warns of a database server elsewhere whose certificate nobody checks.

mod development_keys;
mod reader;
mod values;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use iam_core::ports::Store;
use iam_core::protocol::Origin;
use iam_core::{
    Actor, BaseUrl, Error, FactorPolicy, Iam, IamBuilder, Keys, LongSessions, NewAccount, ParentKey,
    PepperRing, PlainPassword, RoleName, SessionPolicy, Username,
};

use crate::address::{ForwardHeader, TrustedProxies};
use crate::cookies::CookiePrefix;
use crate::hsts::Hsts;
use crate::web::{WebIam, WebIamBuilder};

/// What the environment says. Every wrong or missing setting is named, all at once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IamSettings {
    /// `IAM_ENV`.
    pub mode: Mode,
    /// `IAM_LISTEN`: where the service listens.
    pub listen: SocketAddr,
    /// `IAM_BASE_URL`: where browsers find it.
    pub base_url: BaseUrl,
    /// `IAM_ALLOWED_ORIGINS`, comma-separated: more origins whose pages may send requests.
    pub allowed_origins: Vec<Origin>,
    /// `IAM_DATABASE_URL`.
    pub database: Database,
    /// `IAM_SESSION_TIMEOUT` and `IAM_SESSION_ABSOLUTE_TIMEOUT`, such as `30m` and `12h`.
    pub sessions: SessionPolicy,
    /// `IAM_LONG_SESSIONS`, such as `30d/90d` (without use, and in all): sessions that outlive the others, for those whom
    /// `IAM_LONG_SESSIONS_FOR` names: roles and parents, such as `customer,@acme`, or `*`.
    pub long_sessions: Option<LongSessions>,
    /// `IAM_TRUSTED_DEVICES`: for how long a browser may be trusted, such as `30d`; without it, it may not. A host that gives
    /// [`IamBuilder::factor_policy`] a policy of its own sets it there.
    pub trusted_devices: Option<Duration>,
    /// `IAM_HSTS`: for how long browsers are to come by HTTPS only, such as `730d`; without it, nothing is said of it.
    pub hsts: Option<Hsts>,
    /// `IAM_COOKIE_PREFIX`: what the names of the cookies begin with, such as `shop_`; `iam_` without it.
    pub cookie_prefix: CookiePrefix,
    /// `IAM_AUDIT_RETENTION`: how long the audit trail is kept, such as `400d`.
    pub audit_retention: Duration,
    /// `IAM_IDLE_CONNECTION`: for how long a server of the service's own keeps a connection without a request, such as `75s`. Longer
    /// than the balancer before it does, which would else send a request into a connection that is being closed.
    pub idle_connection: Duration,
    /// `SMTP_URL` and `SMTP_FROM`: the server that takes mails, for a sender such as `iam_mfa::Smtp`.
    pub mail: Option<MailServer>,
    proxies: (TrustedProxies, ForwardHeader),
    keys: Option<Keys>,
    pepper: Option<PepperRing>,
    administrator: Option<(Username, PlainPassword)>,
    demo_users: Vec<DemoUser>,
    warnings: Vec<String>,
}

/// How strict to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// On this machine only, with everything made up that is missing.
    Development,
    /// Nothing insecure or missing is accepted.
    Production,
}

/// The store to use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A server of MySQL or MariaDB.
    MySql(DatabaseUrl),
}

/// The URL of a database server. It may hold a password, so it never shows.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL, for the store that connects by it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(..)")
    }
}

/// A server that takes mails. Its URL may hold a password, so it never shows.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailServer {
    /// `SMTP_URL`.
    pub url: String,
    /// `SMTP_FROM`.
    pub from: String,
    /// `SMTP_HELLO`: the name that this machine gives itself there.
    pub hello: Option<String>,
    /// `SMTP_ROOT_CERTIFICATES`: a file of certificates (PEM) to trust beside the public ones.
    pub root_certificates: Option<PathBuf>,
}

impl fmt::Debug for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailServer").field("from", &self.from).finish_non_exhaustive()
    }
}

/// A person to try the service with, in development.
#[derive(Clone, Debug)]
struct DemoUser {
    username: Username,
    password: PlainPassword,
    roles: Vec<RoleName>,
    parent: Option<ParentKey>,
}

/// Settings that can't be used. Each line names one and says what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSettings(Vec<String>);

impl InvalidSettings {
    /// The problems, one text each.
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these settings can't be used:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for InvalidSettings {}

impl IamSettings {
    /// Reads the process's environment. Names in it that begin with `IAM_` and that nothing reads, and slips of the pen in the others,
    /// are warned of by [`builder`](Self::builder).
    pub fn from_env() -> Result<Self, InvalidSettings> {
        let mut settings = Self::read(&|name| std::env::var_os(name))?;
        settings.warnings.extend(values::unknown(std::env::vars_os().map(|(name, _)| name)));
        Ok(settings)
    }

    /// Reads settings from elsewhere. An empty value counts as none.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSettings> {
        Self::read(&|name| lookup(name).map(OsString::from))
    }

    fn read(lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, InvalidSettings> {
        let mut reader = reader::Reader::new(values::Values::read(lookup));
        let settings = reader.settings();
        match settings {
            Some(settings) if reader.problems.is_empty() => Ok(settings),
            _ => Err(InvalidSettings(reader.problems)),
        }
    }

    /// The keys: those that are set; in development, else, those in a file beside the database (`iam.keys` in the service's folder
    /// when that is a server), made when it is not there.
    pub fn keys(&self) -> io::Result<Keys> {
        match &self.keys {
            Some(keys) => Ok(keys.clone()),
            None => {
                let beside = match &self.database {
                    Database::Sqlite(file) => file.as_path(),
                    // The server is elsewhere; so the service's own folder.
                    Database::MySql(_) => Path::new("iam"),
                };
                development_keys::load_or_make(beside)
            }
        }
    }

    /// An identity layer on a store, set up as the environment says.
    pub fn builder(&self, store: impl Store) -> io::Result<IamBuilder> {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        let mut factor_policy = FactorPolicy::default();
        factor_policy.trusted_devices = self.trusted_devices;
        let builder = Iam::builder(store, self.keys()?)
            .base_url(self.base_url.clone())
            .factor_policy(factor_policy)
            .sessions(self.sessions)
            .audit_retention(self.audit_retention);
        let builder = match &self.long_sessions {
            Some(long) => builder.long_sessions(long.clone()),
            None => builder,
        };
        Ok(match &self.pepper {
            Some(pepper) => builder.password_pepper(pepper.clone()),
            None => builder,
        })
    }

    /// The HTTP surface, set up as the environment says.
    pub fn web(&self, iam: Iam) -> WebIamBuilder {
        let (trusted, header) = self.proxies.clone();
        let builder = WebIam::builder(iam).trusted_proxies(trusted, header);
        let builder = builder.cookie_prefix(self.cookie_prefix.clone());
        // They were looked at when they were read, beside the base URL that the identity layer has.
        let builder = self.allowed_origins.iter().fold(builder, WebIamBuilder::allow);
        match self.hsts {
            Some(hsts) => builder.hsts(hsts),
            None => builder,
        }
    }

    /// Makes the first administrator, if one is named and there is none, and the people to try it with that are missing.
    pub async fn bootstrap(&self, iam: &Iam) -> Result<(), Error> {
        let service = Actor::service();
        if let Some((username, password)) = &self.administrator {
            let new = NewAccount::new(username.clone()).password(password.clone());
            iam.setup(&service).create_first_administrator(new).await.map_err(|error| match error {
                Error::Conflict(_) => Error::Misconfigured(format!(
                    "IAM_ADMIN_USERNAME: there is an account `{username}` already, and it is no administrator; name another"
                )),
                Error::Invalid(invalid) => Error::Misconfigured(format!("IAM_ADMIN_PASSWORD: {invalid}")),
                error => error,
            })?;
        }
        let mut kept = Vec::new();
        for user in &self.demo_users {
            let parent = match &user.parent {
                Some(key) => Some(iam.parents(&service).ensure(key).await?),
                None => None,
            };
            if iam.accounts(&Actor::service()).by_username(&user.username).await?.is_some() {
                kept.push(user.username.as_str());
                continue;
            }
            let mut new = NewAccount::new(user.username.clone()).password(user.password.clone());
            new.parent = parent;
            let account = iam.accounts(&service).create(new).await.map_err(|error| match error {
                Error::Invalid(invalid) => {
                    Error::Misconfigured(format!("IAM_DEMO_USERS: `{}`: {invalid}", user.username))
                }
                error => error,
            })?;
            for role in &user.roles {
                iam.roles(&service).grant(account, role).await?;
            }
        }
        if !kept.is_empty() {
            let kept = kept.join(", ");
            tracing::info!(
                kept,
                "IAM_DEMO_USERS: these accounts were there before, and stay as they are: a password, role or parent that was changed in the \
                 setting does not count for them"
            );
        }
        Ok(())
    }
}
