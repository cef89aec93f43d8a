//! How to reach a server: from a URL.

use std::str::FromStr;

use iam_core::StoreError;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use url::{Host, Url};

use crate::error::{failed, refused};

pub(crate) fn from_url(text: &str) -> Result<MySqlConnectOptions, StoreError> {
    // Neither the text nor a part of it is in any error: there is a password in it.
    let url =
        Url::parse(text).map_err(|error| refused(format!("the database's URL can't be read: {error}")))?;
    if !matches!(url.scheme(), "mysql" | "mariadb") {
        return Err(refused("the database's URL must begin with mysql:// or mariadb://"));
    }
    if url.path().trim_start_matches('/').is_empty() {
        return Err(refused(
            "the database's URL must name a database: mysql://user:password@host:3306/database",
        ));
    }
    let mut options = MySqlConnectOptions::from_str(text).map_err(failed)?;
    if let Some(Host::Ipv6(address)) = address(&url) {
        // Without the brackets that it has in a URL.
        options = options.host(&address.to_string());
    }
    let says = |names: [&str; 2]| url.query_pairs().any(|(key, _)| names.contains(&&*key));
    if !says(["ssl-mode", "sslmode"]) {
        let here = options.get_socket().is_some() || is_loopback(&url);
        options = options.ssl_mode(if here { MySqlSslMode::Preferred } else { MySqlSslMode::Required });
    }
    Ok(options.charset("utf8mb4").pipes_as_concat(false).timezone(Some("+00:00".to_owned())))
}

/// The host. `url` reads the hosts of schemes that it does not know as names only.
fn address(url: &Url) -> Option<Host<String>> {
    match url.host()? {
        Host::Domain(name) => Host::parse(name).ok(),
        host => Some(host.to_owned()),
    }
}

fn is_loopback(url: &Url) -> bool {
    match address(url) {
        None => true,
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> String {
        format!("{:?}", from_url(url).unwrap().get_ssl_mode())
    }

    #[test]
    fn tls_is_required_of_a_server_elsewhere() {
        for there in
            ["db.example.com", "192.0.2.1", "[2001:db8::1]", "localhost.example.com", "10.0.0.1:3307"]
        {
            assert_eq!(mode(&format!("mysql://u:p@{there}/iam")), "Required", "{there}");
        }
        for here in ["localhost", "127.0.0.1", "127.9.9.9:3307", "[::1]", "LOCALHOST"] {
            assert_eq!(mode(&format!("mariadb://u:p@{here}/iam")), "Preferred", "{here}");
        }
    }

    #[test]
    fn what_the_url_says_of_tls_holds() {
        assert_eq!(mode("mysql://u:p@db.example.com/iam?ssl-mode=VERIFY_IDENTITY"), "VerifyIdentity");
        assert_eq!(mode("mysql://u:p@db.example.com/iam?sslmode=disabled"), "Disabled");
        assert_eq!(mode("mysql://u:p@127.0.0.1/iam?ssl-mode=REQUIRED"), "Required");
    }

    #[test]
    fn an_ipv6_address_has_no_brackets() {
        assert_eq!(from_url("mysql://u:p@[::1]:3307/iam").unwrap().get_host(), "::1");
    }

    #[test]
    fn no_error_tells_the_password() {
        for bad in [
            "mysql://u:hunter2@host",
            "postgres://u:hunter2@host/x",
            "mysql://u:hunter2@ho st/x",
            "u:hunter2@host",
        ] {
            let error = from_url(bad).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
        }
    }
}
