//! What the environment may say, and what it may not.

use std::collections::HashMap;

use super::super::InvalidSettings;
use super::*;

const KEY: &str = "3Kf0mZ0q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM=";
const SEAL: &str = "Zk8s0Qh3vXn6Wb1yTg5LrJ2mPd7cFu9aEo4iKxVtBqY=";
const PEPPER: &str = "q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM3Kf0mZ0=";
const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

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
        ("MFA_ENCRYPTION_KEY", SEAL),
        ("IAM_TRUSTED_PROXIES", "10.0.0.0/8"),
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

/// As from a file, a here document or a list of several lines: every setting is what it would be without.
#[test]
fn what_stands_around_a_value_changes_nothing() {
    let key = "1:q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM3Kf0mZ0=,0:hX7cV1nB5mL9kJ3gF6dS0aP4oI8uY2tReWqZzMwNbQs=";
    let plain = [
        ("IAM_ENV", "production"),
        ("IAM_LISTEN", "127.0.0.1:81"),
        ("IAM_BASE_URL", "https://app.example.com"),
        ("IAM_ALLOWED_ORIGINS", "https://a.example,https://b.example"),
        ("IAM_DATABASE_URL", "sqlite://a.db"),
        ("IAM_SECRET_KEY", KEY),
        ("MFA_ENCRYPTION_KEY", SEAL),
        ("IAM_PASSWORD_PEPPER", key),
        ("IAM_SESSION_TIMEOUT", "20m"),
        ("IAM_SESSION_ABSOLUTE_TIMEOUT", "10h"),
        ("IAM_TRUSTED_DEVICES", "none"),
        ("IAM_HSTS", "730d"),
        ("IAM_AUDIT_RETENTION", "30d"),
        ("IAM_IDLE_CONNECTION", "65s"),
        ("IAM_TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.7"),
        ("IAM_CLIENT_IP_HEADER", "forwarded"),
        ("IAM_ADMIN_USERNAME", "root"),
        ("IAM_ADMIN_PASSWORD", "a long pass phrase"),
        ("SMTP_URL", "smtps://amy:s3cret@mail.example"),
        ("SMTP_FROM", "Acme <a@x.example>"),
        ("SMTP_HELLO", "app.example.com"),
        ("SMTP_ROOT_CERTIFICATES", "/etc/my ca.pem"),
    ];
    let shown = |settings: &IamSettings| {
        let password = settings
            .administrator
            .as_ref()
            .map(|(_, password)| String::from_utf8_lossy(password.expose()).into_owned());
        let keys = settings.keys().unwrap();
        let secret = (keys.secret.expose_base64().to_string(), keys.ring.expose().to_string());
        let mail =
            settings.mail.clone().map(|mail| (mail.url, mail.from, mail.hello, mail.root_certificates));
        (format!("{settings:?}"), settings.idle_connection, password, secret, mail)
    };
    let expected = shown(&read(&plain).unwrap());
    assert_eq!(expected.1, Duration::from_secs(65));
    assert_eq!(expected.2.as_deref(), Some("a long pass phrase"));
    for (name, value) in plain {
        let mut forms = vec![format!("{value}\n"), format!("\u{feff}{value}\r\n")];
        if name != "IAM_ADMIN_PASSWORD" {
            forms.push(format!("\n\t {} \u{200b}\n", value.replace(',', " ,\n  ")));
        }
        for form in forms {
            let pairs = plain.map(|(other, same)| (other, if other == name { form.as_str() } else { same }));
            let settings = read(&pairs).unwrap_or_else(|error| panic!("{name}={form:?}: {error}"));
            assert_eq!(shown(&settings), expected, "{name}={form:?}");
        }
    }
    let spaced = plain.map(|(name, value)| {
        (name, if value.starts_with("a long") { " a long pass phrase " } else { value })
    });
    let password = shown(&read(&spaced).unwrap()).2;
    assert_eq!(password.as_deref(), Some(" a long pass phrase "), "who types spaces means them");
}

#[cfg(unix)]
#[test]
fn what_is_not_utf8_is_refused_by_name_and_is_not_missing() {
    let bytes = std::os::unix::ffi::OsStringExt::from_vec(b"https://\xff.example".to_vec());
    let error = IamSettings::read(&|name| match name {
        "IAM_BASE_URL" => Some(std::ffi::OsString::clone(&bytes)),
        _ => production().iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()),
    });
    assert_eq!(error.unwrap_err().problems(), ["IAM_BASE_URL: is not UTF-8"]);
}

#[test]
fn production_names_everything_that_is_missing() {
    let error = read(&[("IAM_ENV", "production")]).unwrap_err().to_string();
    for name in
        ["IAM_BASE_URL", "IAM_DATABASE_URL", "IAM_SECRET_KEY", "MFA_ENCRYPTION_KEY", "IAM_TRUSTED_PROXIES"]
    {
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

/// Production's settings with others in their place; an empty value takes one away.
fn production_with(others: &[(&'static str, &'static str)]) -> Result<IamSettings, InvalidSettings> {
    let mut pairs = production();
    pairs.retain(|(known, _)| others.iter().all(|(name, _)| name != known));
    pairs.extend(others);
    read(&pairs)
}

/// Each alone makes production's settings unusable, and is named by what it should be.
const INSECURE: &[(&str, &str, &str)] = &[
    ("IAM_ENV", "prod", "must be `development` or `production`"),
    ("IAM_BASE_URL", "http://app.example.com", "must begin with https://"),
    ("IAM_BASE_URL", "http://localhost:3000", "must begin with https://"),
    ("IAM_BASE_URL", "https://*.example.com", "a base URL looks like"),
    ("IAM_BASE_URL", "", "is missing"),
    ("IAM_DATABASE_URL", "", "is missing"),
    ("IAM_DATABASE_URL", "postgres://x", "must be sqlite://"),
    ("IAM_DATABASE_URL", "sqlite::memory:", "a database in memory"),
    ("IAM_DATABASE_URL", "sqlite://:memory:", "a database in memory"),
    ("IAM_DATABASE_URL", "sqlite://a\nb.db", "a control character"),
    ("IAM_SECRET_KEY", "3Kf0mZ0q2m8c1xw7VJt5\nrY9dLh4sQpTnUaEbGiCjOkM=", "a control character"),
    ("IAM_IDLE_CONNECTION", "0s", "between 1s and 1h"),
    ("IAM_IDLE_CONNECTION", "2h", "between 1s and 1h"),
    ("IAM_IDLE_CONNECTION", "75", "a duration such as 75s"),
    ("SMTP_HELLO", "app.example.com", "SMTP_URL is not"),
    ("IAM_SECRET_KEY", "", "is missing"),
    ("IAM_SECRET_KEY", "c2hvcnQ=", "32 are needed"),
    ("IAM_SECRET_KEY", "no base64!", "not base64"),
    ("IAM_SECRET_KEY", ZEROS, "not drawn at random"),
    // 0xff, and 0x07, over and over.
    ("IAM_SECRET_KEY", "//////////////////////////////////////////8=", "not drawn at random"),
    ("IAM_SECRET_KEY", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=", "not drawn at random"),
    // de ad be ef over and over; 00 01 02 ... 1f; `please change me to a real key!!`; a pass phrase with zeros behind it.
    ("IAM_SECRET_KEY", "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=", "not drawn at random"),
    ("IAM_SECRET_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "not drawn at random"),
    ("IAM_SECRET_KEY", "cGxlYXNlIGNoYW5nZSBtZSB0byBhIHJlYWwga2V5ISE=", "not drawn at random"),
    ("IAM_SECRET_KEY", "YSBsb25nIHBhc3MgcGhyYXNlIG9mIG1pbmUAAAAAAAA=", "not drawn at random"),
    ("MFA_ENCRYPTION_KEY", "", "is missing"),
    ("MFA_ENCRYPTION_KEY", "c2hvcnQ=", "32 are needed"),
    ("MFA_ENCRYPTION_KEY", "1:c2hvcnQ=,1:c2hvcnQ=", "32 are needed"),
    ("MFA_ENCRYPTION_KEY", ZEROS, "not drawn at random"),
    (
        "MFA_ENCRYPTION_KEY",
        "1:q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM3Kf0mZ0=,0:q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM3Kf0mZ0=",
        "one key stands under two ids",
    ),
    ("IAM_SECRET_KEY", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ=", "not drawn at random"),
    ("MFA_ENCRYPTION_KEY", KEY, "the same as IAM_SECRET_KEY"),
    (
        "MFA_ENCRYPTION_KEY",
        "2:q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM3Kf0mZ0=,1:3Kf0mZ0q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM=",
        "the same as IAM_SECRET_KEY",
    ),
    ("IAM_PASSWORD_PEPPER", "c2hvcnQ=", "32 are needed"),
    ("IAM_PASSWORD_PEPPER", "1", "not base64"),
    ("IAM_PASSWORD_PEPPER", ZEROS, "not drawn at random"),
    ("IAM_PASSWORD_PEPPER", KEY, "the same as IAM_SECRET_KEY"),
    ("IAM_PASSWORD_PEPPER", SEAL, "the same as MFA_ENCRYPTION_KEY"),
    (
        "IAM_PASSWORD_PEPPER",
        "1:q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM3Kf0mZ0=,0:Zk8s0Qh3vXn6Wb1yTg5LrJ2mPd7cFu9aEo4iKxVtBqY=",
        "the same as MFA_ENCRYPTION_KEY",
    ),
    ("IAM_ALLOWED_ORIGINS", "http://app.example.com", "entry 1: an origin must begin with https://"),
    (
        "IAM_ALLOWED_ORIGINS",
        "https://a.example,http://localhost:3000",
        "entry 2: an origin must begin with https://",
    ),
    ("IAM_ALLOWED_ORIGINS", "http://127.0.0.1", "an origin must begin with https://"),
    ("IAM_ALLOWED_ORIGINS", ",", "names no origin"),
    ("IAM_ALLOWED_ORIGINS", "https://x..example.com", "entry 1: an origin looks like"),
    ("IAM_ALLOWED_ORIGINS", "*", "an origin has no `*`"),
    ("IAM_ALLOWED_ORIGINS", "https://*.example.com", "an origin has no `*`"),
    ("IAM_ALLOWED_ORIGINS", "https://a.example/", "an origin looks like"),
    ("IAM_ALLOWED_ORIGINS", "https://a.example/path", "an origin looks like"),
    ("IAM_ALLOWED_ORIGINS", "https://amy:s3cret@a.example", "entry 1: an origin looks like"),
    ("IAM_ALLOWED_ORIGINS", "a.example", "an origin looks like"),
    ("IAM_ALLOWED_ORIGINS", "null", "an origin looks like"),
    ("IAM_TRUSTED_PROXIES", "", "or the word `none`"),
    ("IAM_TRUSTED_PROXIES", "  ", "or the word `none`"),
    ("IAM_TRUSTED_PROXIES", "0.0.0.0/0", ""),
    ("IAM_TRUSTED_PROXIES", "::/0", ""),
    ("IAM_TRUSTED_PROXIES", "0.0.0.0/1,128.0.0.0/1", ""),
    ("IAM_TRUSTED_PROXIES", "::ffff:0.0.0.0/100", ""),
    ("IAM_TRUSTED_PROXIES", "nobody", ""),
    ("IAM_CLIENT_IP_HEADER", "x-real-ip", "x-forwarded-for or forwarded"),
    ("IAM_LONG_SESSIONS", "30d/90d", "IAM_LONG_SESSIONS_FOR: is missing"),
    ("IAM_LONG_SESSIONS", "30d", "`none`, or two durations"),
    ("IAM_LONG_SESSIONS_FOR", "customer", "IAM_LONG_SESSIONS is not"),
    ("IAM_TRUSTED_DEVICES", "31d", "between 1s and 30d"),
    ("IAM_TRUSTED_DEVICES", "0s", "between 1s and 30d"),
    ("IAM_TRUSTED_DEVICES", "always", "`none`, or a duration"),
    ("IAM_AUDIT_RETENTION", "1h", "a day at least"),
    ("IAM_HSTS", "yes", "must begin with a duration"),
    ("IAM_HSTS", "730d; includeSubdomain", "`; includeSubDomains`"),
    ("IAM_HSTS", "730d; preload", "needs includeSubDomains"),
    ("IAM_SESSION_TIMEOUT", "2h", "between 1s and 1h"),
    ("IAM_SESSION_TIMEOUT", "0s", "between 1s and 1h"),
    ("IAM_SESSION_TIMEOUT", "soon", "a duration"),
    ("IAM_SESSION_ABSOLUTE_TIMEOUT", "25h", "and 1day"),
    ("IAM_DEMO_USERS", "bob:a long pass phrase:", "for development mode only"),
    ("IAM_ADMIN_PASSWORD", "a long pass phrase", "IAM_ADMIN_USERNAME: is missing"),
    ("IAM_ADMIN_USERNAME", "root", "IAM_ADMIN_PASSWORD: is missing"),
    ("IAM_LISTEN", "nowhere", "an address and port"),
];

#[test]
fn what_is_insecure_in_production_is_refused_by_name() {
    assert!(production_with(&[]).is_ok());
    for &(name, value, reason) in INSECURE {
        let Err(error) = production_with(&[(name, value)]) else { panic!("{name}={value} starts") };
        let [problem] = error.problems() else { panic!("{name}={value}: {error}") };
        assert!(problem.contains(name) && problem.contains(reason), "{name}={value}: {problem}");
        // A key, or a password of an address.
        assert!(value.len() < 20 || !problem.contains(value) && !problem.contains("s3cret"), "{problem}");
    }
}

#[test]
fn what_is_insecure_in_development_is_refused_by_name() {
    for (name, value, reason) in [
        ("IAM_LISTEN", "0.0.0.0:3000", "loopback"),
        ("IAM_BASE_URL", "https://app.example.com", "localhost"),
        ("IAM_ALLOWED_ORIGINS", "http://app.example.com", "https://"),
        ("IAM_ALLOWED_ORIGINS", "http://localhost:3000/", "an origin looks like"),
        ("IAM_SECRET_KEY", KEY, "MFA_ENCRYPTION_KEY: is missing"),
        ("MFA_ENCRYPTION_KEY", KEY, "IAM_SECRET_KEY: is missing"),
        ("IAM_PASSWORD_PEPPER", ZEROS, "not drawn at random"),
        ("IAM_DEMO_USERS", "bob:a long pass phrase:iam:platform-admin", "IAM_ADMIN_USERNAME"),
        ("IAM_HSTS", "always", "must begin with a duration"),
    ] {
        let error = read(&[(name, value)]).unwrap_err().to_string();
        // Of two that belong together the one that is missing is named.
        assert!((error.contains(name) || reason.contains(": ")) && error.contains(reason), "{name}: {error}");
    }
    let error = read(&[("IAM_SECRET_KEY", KEY), ("MFA_ENCRYPTION_KEY", KEY)]).unwrap_err().to_string();
    assert!(error.contains("MFA_ENCRYPTION_KEY: is the same as IAM_SECRET_KEY"), "{error}");
    assert!(read(&[("IAM_ALLOWED_ORIGINS", "http://127.0.0.1:81, https://a.example")]).is_ok());
}

/// Who made a key up, or has one in two places, must be able to leave it.
#[test]
fn a_key_that_was_made_up_may_stand_behind_the_one_that_seals() {
    let old = "1:q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM3Kf0mZ0=,0:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert!(production_with(&[("MFA_ENCRYPTION_KEY", old)]).is_ok());
    assert!(production_with(&[("IAM_PASSWORD_PEPPER", old)]).is_ok());
}

#[test]
fn production_wants_a_word_on_proxies() {
    for word in ["none", " none ", "10.0.0.0/8", "10.0.0.0/8, 192.0.2.7"] {
        assert!(production_with(&[("IAM_TRUSTED_PROXIES", word)]).is_ok(), "{word}");
    }
    assert!(read(&[]).is_ok(), "development has none");
}

#[test]
fn a_database_elsewhere_whose_certificate_nobody_checks_is_warned_of() {
    let warnings = |url| production_with(&[("IAM_DATABASE_URL", url)]).unwrap().warnings;
    for url in [
        "mysql://iam:hunter2secret@db/iam",
        "mariadb://iam:hunter2secret@db.example:3306/iam",
        "mysql://iam:hunter2secret@192.0.2.7/iam?ssl-mode=REQUIRED",
        "mysql://iam:hunter2secret@[2001:db8::1]/iam?ssl-mode=preferred",
        "mysql://iam:hunter2secret@localhost.example/iam?sslmode=disabled",
        "mysql://iam:hunter2secret@db/iam?ssl-mode=VERIFY_CA&ssl-mode=REQUIRED",
    ] {
        let [warning] = &warnings(url)[..] else { panic!("{url}: {:?}", warnings(url)) };
        assert!(
            warning.starts_with("IAM_DATABASE_URL ") && warning.contains("ssl-mode=VERIFY_IDENTITY"),
            "{warning}"
        );
        assert!(!warning.contains("hunter2secret"), "{warning}");
    }
    for url in [
        "sqlite:///var/lib/iam.db",
        "mysql://iam@localhost/iam",
        "mysql://iam@127.0.0.1:3306/iam",
        "mysql://iam@[::1]/iam",
        "mysql://iam@db/iam?socket=/run/mysqld/mysqld.sock",
        "mysql://iam@db/iam?ssl-mode=VERIFY_CA",
        "mariadb://iam@db/iam?ssl-mode=verify_identity&ssl-ca=/etc/ca.pem",
        "mysql://iam@db/iam?ssl-mode=REQUIRED&sslmode=Verify_Identity",
    ] {
        assert_eq!(warnings(url), [""; 0], "{url}");
    }
    assert_eq!(read(&[("IAM_DATABASE_URL", "mysql://iam@db/iam")]).unwrap().warnings, [""; 0]);
}

#[test]
fn hsts_is_said_only_where_it_is_set() {
    assert_eq!(production_with(&[]).unwrap().hsts, None);
    let hsts = production_with(&[("IAM_HSTS", "730d")]).unwrap().hsts;
    assert_eq!(hsts.map(|hsts| hsts.to_string()).as_deref(), Some("max-age=63072000"));
}

#[test]
fn cookies_have_names_of_their_own_where_that_is_set() {
    assert_eq!(production_with(&[]).unwrap().cookie_prefix, CookiePrefix::default());
    let prefix = production_with(&[("IAM_COOKIE_PREFIX", "shop_")]).unwrap().cookie_prefix;
    assert_eq!(prefix, CookiePrefix::parse("shop_").unwrap());
    for wrong in ["a b", "__Host-shop_", "a;b", "é"] {
        let error = production_with(&[("IAM_COOKIE_PREFIX", wrong)]).unwrap_err();
        assert!(error.problems().iter().any(|problem| problem.starts_with("IAM_COOKIE_PREFIX:")), "{error}");
    }
}

#[test]
fn a_pepper_may_be_there_and_is_another_key() {
    assert!(read(&production()).unwrap().pepper.is_none());
    let good = production_with(&[("IAM_PASSWORD_PEPPER", PEPPER)]).unwrap();
    assert_eq!(format!("{:?}", good.pepper), "Some([0])");
}

#[test]
fn people_stay_signed_in_only_where_it_is_said() {
    let long = |values: &[(&'static str, &'static str)]| read(values).map(|settings| settings.long_sessions);
    assert_eq!(long(&[]).unwrap(), None);
    assert_eq!(long(&[("IAM_LONG_SESSIONS", "none")]).unwrap(), None);
    let days = |days: u64| Duration::from_hours(24 * days);
    let policy = LongSessions::new(days(30), days(90));
    let everybody = long(&[("IAM_LONG_SESSIONS", "30d/90d"), ("IAM_LONG_SESSIONS_FOR", "*")]);
    assert_eq!(everybody.unwrap(), Some(policy.clone().for_everybody()));
    let error = long(&[("IAM_LONG_SESSIONS", "30d/90d")]).unwrap_err().to_string();
    assert!(error.contains("IAM_LONG_SESSIONS_FOR: is missing"), "in development, too: {error}");
    let named = long(&[("IAM_LONG_SESSIONS", "30d / 90d"), ("IAM_LONG_SESSIONS_FOR", "customer, @acme")]);
    assert_eq!(named.unwrap(), Some(policy.for_role("customer").for_parent("acme")));
    for (durations, whom) in [
        ("31d/90d", "*"),
        ("30d/91d", "*"),
        ("2d/1d", "*"),
        ("30d/90d", "iam:platform-admin"),
        ("30d/90d", "@"),
        ("30d/90d", "no role"),
    ] {
        let values = [("IAM_LONG_SESSIONS", durations), ("IAM_LONG_SESSIONS_FOR", whom)];
        let Err(error) = read(&values) else { panic!("{values:?} starts") };
        assert!(error.problems()[0].contains("IAM_LONG_SESSIONS"), "{error}");
    }
}

#[test]
fn who_may_stay_signed_in_is_somebody() {
    for nobody in [",", " , ", ",,"] {
        let values = [("IAM_LONG_SESSIONS", "30d/90d"), ("IAM_LONG_SESSIONS_FOR", nobody)];
        let error = read(&values).unwrap_err().to_string();
        assert!(
            error.contains("IAM_LONG_SESSIONS_FOR: names nobody: roles and parents are needed"),
            "{error}"
        );
    }
    // What stands behind the last comma, or between two, is no entry, as in every list.
    let values = [("IAM_LONG_SESSIONS", "30d/90d"), ("IAM_LONG_SESSIONS_FOR", "customer,,@acme,")];
    let days = |days: u64| Duration::from_hours(24 * days);
    let long = LongSessions::new(days(30), days(90)).for_role("customer").for_parent("acme");
    assert_eq!(read(&values).unwrap().long_sessions, Some(long));
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
    assert!(refused("bob:bob bob bob bob bob:").contains("name"), "{}", refused("bob:bob bob bob bob bob:"));
    for wrong in ["bob", "bob:hunter2secret:", "b b:a long pass phrase:", "bob:a long pass phrase:@A"] {
        let error = users(wrong).unwrap_err().to_string();
        assert!(error.contains("entry 1") && !error.contains("hunter2secret"), "{error}");
    }
}
