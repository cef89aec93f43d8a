//! `Strict-Transport-Security` (RFC 6797).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A year: the least for which lists of browsers take a host (`preload`).
const LEAST_TO_PRELOAD: Duration = Duration::from_hours(24 * 365);

/// What browsers are told about coming by HTTPS only: for how long, and whether that holds for all names below the host's. It is sent with
/// every answer that passes the layer of a service that they reach by HTTPS, and can't be taken back before its time: begin with minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    max_age: Duration,
    include_subdomains: bool,
    preload: bool,
}

/// The text is no usable `Strict-Transport-Security`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHsts {
    /// No duration in front.
    #[error("must begin with a duration: seconds as in 63072000, or 730d")]
    MaxAge,
    /// Something else than the two words, or one of them twice.
    #[error("after the duration there may be `; includeSubDomains` and `; preload`, each once")]
    Directive,
    /// `preload` without what the browsers' lists ask for.
    #[error("`preload` needs includeSubDomains and a year (365d) at least")]
    Preload,
}

impl Hsts {
    /// For this long; `0` takes it back from browsers that come by. Of the host alone.
    pub const fn new(max_age: Duration) -> Self {
        Self { max_age, include_subdomains: false, preload: false }
    }

    /// Reads `63072000` or `730d`, perhaps with `; includeSubDomains` and `; preload`.
    pub fn parse(text: &str) -> Result<Self, InvalidHsts> {
        let mut parts = text.split(';').map(str::trim);
        let max_age = parts.next().unwrap_or_default();
        let seconds = max_age
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| max_age.parse().ok().map(Duration::from_secs));
        let duration = seconds.unwrap_or_else(|| humantime::parse_duration(max_age).ok());
        let duration = duration.ok_or(InvalidHsts::MaxAge)?;
        // Less than a second is sent as none, which takes it back: that is said by `0` alone.
        if duration < Duration::from_secs(1) && !duration.is_zero() {
            return Err(InvalidHsts::MaxAge);
        }
        let mut hsts = Self::new(duration);
        for directive in parts {
            let switch = match directive {
                _ if directive.eq_ignore_ascii_case("includeSubDomains") => &mut hsts.include_subdomains,
                _ if directive.eq_ignore_ascii_case("preload") => &mut hsts.preload,
                _ => return Err(InvalidHsts::Directive),
            };
            if std::mem::replace(switch, true) {
                return Err(InvalidHsts::Directive);
            }
        }
        if hsts.preload && !(hsts.include_subdomains && hsts.max_age >= LEAST_TO_PRELOAD) {
            return Err(InvalidHsts::Preload);
        }
        Ok(hsts)
    }
}

impl FromStr for Hsts {
    type Err = InvalidHsts;

    fn from_str(text: &str) -> Result<Self, InvalidHsts> {
        Self::parse(text)
    }
}

/// As the header has it.
impl fmt::Display for Hsts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "max-age={}", self.max_age.as_secs())?;
        if self.include_subdomains {
            f.write_str("; includeSubDomains")?;
        }
        if self.preload {
            f.write_str("; preload")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_is_not_said() {
        for (text, header) in [
            ("63072000", "max-age=63072000"),
            ("730d", "max-age=63072000"),
            ("0", "max-age=0"),
            (" 5m ", "max-age=300"),
            ("730d; includeSubDomains", "max-age=63072000; includeSubDomains"),
            ("730d;preload;INCLUDESUBDOMAINS", "max-age=63072000; includeSubDomains; preload"),
        ] {
            assert_eq!(Hsts::parse(text).map(|hsts| hsts.to_string()).as_deref(), Ok(header), "{text}");
        }
        for text in [
            "",
            " ",
            "yes",
            "-1",
            "max-age=1",
            "1.5",
            "900ms",
            "includeSubDomains",
            "99999999999999999999999",
            ";",
        ] {
            assert_eq!(Hsts::parse(text), Err(InvalidHsts::MaxAge), "{text}");
        }
        for text in [
            "1;",
            "1; x",
            "1; preload; preload",
            "1; includeSubDomains; includeSubDomains",
            "1; includeSubDomains=1",
        ] {
            assert_eq!(Hsts::parse(text), Err(InvalidHsts::Directive), "{text}");
        }
        for text in ["730d; preload", "364d; includeSubDomains; preload"] {
            assert_eq!(Hsts::parse(text), Err(InvalidHsts::Preload), "{text}");
        }
    }
}
