//! The database's address, and how its connection is secured. Never shown with its password.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

use crate::setup::{SetupError, SetupResult};

/// How much of the connection's security is demanded, as libpq has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verify {
    /// Encrypted, whoever the other side is: `prefer`, and `require` without a root certificate.
    Nobody,
    /// The certificate must be trusted and for this host: `verify-full`, `verify-ca`, and `require` with a root.
    Host,
}

/// A `postgres://` URL. `sslmode` is `disable`, `prefer` (the default), `require`, `verify-ca` or `verify-full`; the
/// last two are one here: the certificate must be trusted by the platform, or by the file `sslrootcert`, and name the
/// host.
#[derive(Clone)]
pub struct PostgresUrl {
    pub(super) config: Config,
    pub(super) verify: Verify,
    pub(super) roots: Option<PathBuf>,
}

impl FromStr for PostgresUrl {
    type Err = SetupError;

    fn from_str(text: &str) -> SetupResult<Self> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(refused("it must begin with postgres://"));
        }
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => roots = Some(PathBuf::from(decoded(value)?)),
                _ => rest.push(pair),
            }
        }
        let plain = format!("{address}?{}", rest.join("&"));
        let mut config = Config::from_str(plain.trim_end_matches('?'))
            // The error's own text names the parameter, never its value; its cause might.
            .map_err(|error| refused(&error.to_string()))?;
        let (ssl, verify) = security(mode.unwrap_or("prefer"), roots.is_some())?;
        config.ssl_mode(ssl);
        defaults(&mut config);
        Ok(Self {
            config,
            verify,
            roots,
        })
    }
}

fn security(mode: &str, roots: bool) -> SetupResult<(SslMode, Verify)> {
    Ok(match mode {
        "disable" => (SslMode::Disable, Verify::Nobody),
        "allow" | "prefer" => (SslMode::Prefer, Verify::Nobody),
        "require" if !roots => (SslMode::Require, Verify::Nobody),
        "require" | "verify-ca" | "verify-full" => (SslMode::Require, Verify::Host),
        _ => {
            return Err(refused(
                "sslmode is none of disable, prefer, require, verify-ca, verify-full",
            ));
        }
    })
}

/// What notices a dead or demoted server soon, and tells the server who we are.
fn defaults(config: &mut Config) {
    if config.get_application_name().is_none() {
        config.application_name("mainstay");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(10));
    }
    config
        .tcp_user_timeout(Duration::from_secs(10))
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(15))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3)
        .target_session_attrs(TargetSessionAttrs::ReadWrite);
}

fn decoded(value: &str) -> SetupResult<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = tail
            .get(..2)
            .filter(|two| two.iter().all(u8::is_ascii_hexdigit))
            .and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(byte.ok_or_else(|| refused("a % is not followed by two digits"))?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8"))
}

fn refused(why: &str) -> SetupError {
    SetupError::Url(why.to_owned())
}

impl PostgresUrl {
    /// The same server and user, another database.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.config.dbname(name);
        other
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        let user = || self.config.get_user().unwrap_or("postgres");
        self.config.get_dbname().unwrap_or_else(user)
    }

    /// What PostgreSQL's own programs need: variables for their environment, so that no password shows in a process
    /// list.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("PGDATABASE", self.database().to_owned()),
            ("PGAPPNAME", "mainstay".to_owned()),
            ("PGSSLMODE", self.sslmode().to_owned()),
        ];
        let host = self.config.get_hosts().first().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let password = self
            .config
            .get_password()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let port = self.config.get_ports().first().map(ToString::to_string);
        let roots = self.roots.as_ref().map(|path| path.display().to_string());
        let user = self.config.get_user().map(ToOwned::to_owned);
        let optional = [
            ("PGHOST", host),
            ("PGPORT", port),
            ("PGUSER", user),
            ("PGPASSWORD", password),
            ("PGSSLROOTCERT", roots),
        ];
        let given = optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        variables.extend(given);
        variables
    }

    fn sslmode(&self) -> &'static str {
        match (self.config.get_ssl_mode(), self.verify) {
            (SslMode::Disable, _) => "disable",
            (_, Verify::Host) => "verify-full",
            (SslMode::Require, Verify::Nobody) => "require",
            _ => "prefer",
        }
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => f.write_str(name)?,
            Some(Host::Unix(path)) => write!(f, "{}", path.display())?,
            None => f.write_str("localhost")?,
        }
        if let Some(port) = self.config.get_ports().first() {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.database())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> PostgresUrl {
        text.parse().expect("a good URL")
    }

    #[test]
    fn a_password_is_never_shown() {
        let url = url("postgres://ada:s3cret@db.example:5433/shop?sslmode=require");
        assert_eq!(format!("{url} {url:?}"), {
            let shown = "postgres://ada@db.example:5433/shop";
            format!("{shown} {shown}")
        });
    }

    #[test]
    fn a_bad_url_does_not_show_its_password_either() {
        let error =
            PostgresUrl::from_str("postgres://ada:s3cret@h:notaport/db").expect_err("bad port");
        assert!(!error.to_string().contains("s3cret"));
    }

    #[test]
    fn sslmode_is_understood_as_libpq_does() {
        assert_eq!(url("postgres://h/d").config.get_ssl_mode(), SslMode::Prefer);
        let full = url("postgres://h/d?sslmode=verify-full&connect_timeout=3");
        assert_eq!(full.verify, Verify::Host);
        assert_eq!(
            full.config.get_connect_timeout(),
            Some(&Duration::from_secs(3))
        );
        let root = url("postgres://h/d?sslmode=require&sslrootcert=/etc/ca%20s.pem");
        assert_eq!(root.verify, Verify::Host);
        assert_eq!(root.roots, Some(PathBuf::from("/etc/ca s.pem")));
        assert!(PostgresUrl::from_str("postgres://h/d?sslmode=perhaps").is_err());
        assert!(PostgresUrl::from_str("postgres://h/d?sslrootcert=%+f").is_err());
        assert!(PostgresUrl::from_str("mysql://h/d").is_err());
    }

    #[test]
    fn a_connection_says_whose_it_is_and_notices_a_dead_server() {
        let url = url("postgres://h/d");
        assert_eq!(url.config.get_application_name(), Some("mainstay"));
        assert!(url.config.get_keepalives());
    }
}
