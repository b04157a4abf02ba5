//! Configuration: `mainstay.toml`, then `MAINSTAY_*` variables, then flags; the later one wins. Everything has a safe
//! default, and what nobody knows is refused with its place.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

mod check;
mod layer;
mod master_key;

pub(crate) use layer::{ConfigError, Layer};
pub(crate) use master_key::MasterKeys;

use mainstay_domain::{Cidr, access::RateClass, intake::quarantine::Bounds};

use crate::limits;

/// Everything that can be configured, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where to listen. Port 0 lets the system choose.
    pub(crate) listen: SocketAddr,
    /// The data directory.
    pub(crate) data: PathBuf,
    /// The database's URL; `None`: SQLite in the data directory.
    pub(crate) database: Option<Secret>,
    /// The owner's URL, which migrations run as.
    pub(crate) database_migrate: Option<Secret>,
    /// Where the keys come from that everything is sealed under.
    pub(crate) master_keys: MasterKeys,
    /// How people and providers reach this server, without a slash at the end.
    pub(crate) public_url: Option<String>,
    /// The certificate chain and the key, as PEM files.
    pub(crate) tls: Option<Tls>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: Vec<Cidr>,
    /// Ranges that deliveries may go to although the guard would refuse them.
    pub(crate) outbound_allow: Vec<Cidr>,
    /// A PEM file of certificate authorities that endpoints are trusted by beside the platform's.
    pub(crate) outbound_ca_file: Option<PathBuf>,
    /// Bounds.
    pub(crate) limits: Limits,
    /// How long data is kept.
    pub(crate) retention: Retention,
    /// How much is kept of what was refused.
    pub(crate) quarantine: Bounds,
    /// This node among others.
    pub(crate) node: NodeConfig,
    /// Where requests go while the database is gone; none: they are sent away.
    pub(crate) spool: Option<SpoolConfig>,
    /// How logs are written.
    pub(crate) log: Log,
    /// Whether this is the demo: shown in the dashboard.
    pub(crate) demo: bool,
}

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Where the server's certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    /// The chain, the server's own certificate first.
    pub(crate) cert: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

/// The bounds that an operator may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The largest body that any source can be given.
    pub(crate) body_bytes: usize,
    /// Connections at the same time.
    pub(crate) connections: usize,
    /// Connections at the same time from one address.
    pub(crate) connections_per_address: usize,
    /// Requests to the API that one key or person may make in a minute.
    pub(crate) requests: RequestLimits,
    /// Webhooks of one address that may fail in a minute before it is distrusted; 0: as many as like.
    pub(crate) failures_per_minute: u32,
    /// Bound on a request's headers.
    pub(crate) header_timeout: Duration,
    /// Bound on a request's body.
    pub(crate) body_timeout: Duration,
    /// Bound on the rest of a request.
    pub(crate) request_timeout: Duration,
}

/// Requests to the API in a minute, on each node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestLimits {
    /// Of one person; and of one key that submits jobs or follows events.
    pub(crate) all: u32,
    /// Of one key that look at something.
    pub(crate) reads: u32,
    /// Of one key that change something.
    pub(crate) writes: u32,
    /// Of one key that buy something.
    pub(crate) purchases: u32,
    /// Of one key that buy credits.
    pub(crate) credit_purchases: u32,
}

impl RequestLimits {
    /// What a key may make of a class, unless an override says otherwise.
    pub(crate) const fn of_key(&self, class: RateClass) -> u32 {
        match class {
            RateClass::Reads => self.reads,
            RateClass::Writes => self.writes,
            RateClass::Purchases => self.purchases,
            RateClass::CreditPurchases => self.credit_purchases,
            RateClass::Work => self.all,
        }
    }
}

/// How long each kind of data is kept, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Events with their jobs and attempts.
    pub(crate) events_days: i64,
    /// Requests that were refused.
    pub(crate) receipts_refused_days: i64,
    /// The counts behind the charts.
    pub(crate) samples_days: i64,
}

/// Where the spool is and what it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpoolConfig {
    /// Its folder.
    pub(crate) dir: PathBuf,
    /// The most that its files take.
    pub(crate) max_bytes: u64,
}

/// How other nodes reach this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeConfig {
    /// Where the internal door is; none: there is none.
    pub(crate) listen: Option<SocketAddr>,
    /// How the others reach it, without a slash at the end; none: where it listens.
    pub(crate) advertise: Option<String>,
    /// A PEM file of certificate authorities that other nodes' doors are trusted by beside the platform's.
    pub(crate) ca_file: Option<PathBuf>,
}

impl NodeConfig {
    /// Whether the door speaks TLS.
    pub(crate) fn secure(&self) -> bool {
        let https = |url: &String| url.starts_with("https://");
        self.advertise.as_ref().is_some_and(https)
    }
}

/// How logs are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    /// One JSON object a line instead of text.
    pub(crate) json: bool,
    /// Which: a level, or directives such as `info,mainstay=debug`.
    pub(crate) filter: String,
}

impl Config {
    /// Puts file, variables and flags together and checks the whole. A file that is named must be there; the default
    /// one may be missing.
    pub(crate) fn load(file: Option<PathBuf>, flags: Layer) -> Result<Self, ConfigError> {
        let from_file = match file {
            Some(path) => Layer::from_file(&path)?,
            None => Layer::from_default_file(limits::CONFIG_FILE.as_ref())?,
        };
        let from_environment = Layer::from_variables(std::env::vars_os())?;
        Self::from_layers([from_file, from_environment, flags])
    }

    /// Puts layers together, the later one winning.
    pub(crate) fn from_layers(layers: [Layer; 3]) -> Result<Self, ConfigError> {
        let merged = layers.into_iter().fold(Layer::default(), Layer::over);
        check::config(merged)
    }

    /// Whether browsers reach us over TLS, here or at a proxy.
    pub(crate) fn secure(&self) -> bool {
        self.tls.is_some()
            || self
                .public_url
                .as_deref()
                .is_some_and(|url| url.starts_with("https://"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Layer, ConfigError> {
        Layer::from_text("mainstay.toml".as_ref(), text)
    }

    fn variables(list: &[(&str, &str)]) -> Result<Layer, ConfigError> {
        Layer::from_variables(list.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn nothing_configured_is_a_working_configuration() {
        let config = Config::from_layers(Default::default()).expect("the defaults hold");
        assert_eq!(config.listen.to_string(), "127.0.0.1:8420");
        assert_eq!(config.database, None);
        assert_eq!(config.retention.events_days, 30);
        assert!(!config.secure());
    }

    #[test]
    fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
        let from_file = file(
            "listen = \"127.0.0.1:1\"\ndata = \"/file\"\npublic_url = \"https://a.example\"\n",
        );
        let from_environment = variables(&[
            ("MAINSTAY_LISTEN", "127.0.0.1:2"),
            ("MAINSTAY_DATA", "/env"),
        ]);
        let flags = Layer {
            listen: Some("127.0.0.1:3".into()),
            ..Layer::default()
        };
        let layers = [
            from_file.expect("the file is right"),
            from_environment.expect("the variables are right"),
            flags,
        ];
        let config = Config::from_layers(layers).expect("the whole is right");
        assert_eq!(config.listen.port(), 3);
        assert_eq!(config.data, PathBuf::from("/env"));
        assert!(config.secure());
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = file("data = \"x\"\nlisten_on = 1\n").expect_err("no such key");
        let text = error.to_string();
        assert!(text.contains("mainstay.toml:2"), "{text}");
        assert!(text.contains("listen_on"), "{text}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_with_its_line() {
        let error = file("\n[limits]\nconnections = \"many\"\n").expect_err("not a number");
        assert!(error.to_string().contains("mainstay.toml:3"), "{error}");
    }

    #[test]
    fn lists_and_numbers_can_be_given_as_variables() {
        let layer = variables(&[
            ("MAINSTAY_TRUSTED_PROXIES", "10.0.0.0/8, 192.168.1.1"),
            ("MAINSTAY_LIMITS_CONNECTIONS", "10"),
            ("MAINSTAY_TLS_CERT", "/c.pem"),
            ("MAINSTAY_TLS_KEY", "/k.pem"),
        ]);
        let layers = [
            Layer::default(),
            layer.expect("the variables are right"),
            Layer::default(),
        ];
        let config = Config::from_layers(layers).expect("the whole is right");
        assert_eq!(config.trusted_proxies.len(), 2);
        assert_eq!(config.limits.connections, 10);
        assert!(config.secure());
    }

    #[test]
    fn the_quarantine_has_bounds_of_which_some_can_be_moved() {
        let from_file = file("[quarantine]\nrows_per_source = 7\n");
        let layers = [
            from_file.expect("the file is right"),
            variables(&[("MAINSTAY_QUARANTINE_BYTES", "1048576")]).expect("they are right"),
            Layer::default(),
        ];
        let bounds = Config::from_layers(layers).expect("the whole is right");
        let (bounds, default) = (bounds.quarantine, Bounds::default());
        assert_eq!((bounds.source.rows, bounds.all.bytes), (7, 1_048_576));
        assert_eq!(bounds.source.bytes, default.source.bytes);
        assert_eq!(bounds.per_second, default.per_second);
    }

    #[test]
    fn the_internal_door_is_shut_until_it_is_said_where_it_listens() {
        let config = Config::from_layers(Default::default()).expect("the defaults hold");
        assert_eq!(config.node, NodeConfig::default());
        let from_file = file("database = \"postgres://h/d\"\n[node]\nlisten = \"0.0.0.0:8421\"\n");
        let advertised = [("MAINSTAY_NODE_ADVERTISE", "http://10.0.0.5:8421/")];
        let layers = [
            from_file.expect("the file is right"),
            variables(&advertised).expect("they are right"),
            Layer::default(),
        ];
        let node = Config::from_layers(layers)
            .expect("the whole is right")
            .node;
        assert_eq!(node.listen.map(|address| address.port()), Some(8421));
        assert_eq!(node.advertise.as_deref(), Some("http://10.0.0.5:8421"));
        assert!(!node.secure());
    }

    #[test]
    fn a_spool_is_off_until_it_has_a_folder() {
        let config = Config::from_layers(Default::default()).expect("the defaults hold");
        assert_eq!(config.spool, None);
        let from_file = file("[intake.spool]\nmax_bytes = 134217728\n");
        let layers = [
            from_file.expect("the file is right"),
            variables(&[("MAINSTAY_INTAKE_SPOOL_DIR", "/srv/spool")]).expect("they are right"),
            Layer::default(),
        ];
        let config = Config::from_layers(layers).expect("the whole is right");
        let expected = SpoolConfig {
            dir: "/srv/spool".into(),
            max_bytes: 134_217_728,
        };
        assert_eq!(config.spool, Some(expected));
    }

    #[test]
    fn a_secret_can_be_read_from_a_file_and_is_not_shown() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("url");
        std::fs::write(&path, "postgres://u:hush@h/d\n").expect("written");
        let layer =
            Layer::from_variables([("MAINSTAY_DATABASE_FILE".into(), path.into_os_string())]);
        let layers = [
            Layer::default(),
            layer.expect("the file is there"),
            Layer::default(),
        ];
        let config = Config::from_layers(layers).expect("the whole is right");
        assert_eq!(
            config.database,
            Some(Secret("postgres://u:hush@h/d".into()))
        );
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn a_variable_and_its_file_together_are_refused() {
        let error = variables(&[
            ("MAINSTAY_DATABASE", "postgres://h"),
            ("MAINSTAY_DATABASE_FILE", "/x"),
        ]);
        assert!(error.is_err());
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for text in [
            "listen = \"localhost\"",
            "database = \"mysql://h/d\"",
            "public_url = \"ftp://h\"",
            "public_url = \"https://h/path?x=1\"",
            "trusted_proxies = [\"10.0.0.1/8\"]",
            "[tls]\ncert = \"a.pem\"",
            "[limits]\nconnections = 0",
            "[limits]\nbody_bytes = 99999999999",
            "[retention]\nevents_days = 0",
            "[quarantine]\nper_second = 0",
            "[quarantine]\nrows_per_source = 50001",
            "log = \"xml\"",
            "[intake.spool]\ndir = \"beside\"",
            "[intake.spool]\ndir = \"/srv/spool\"\nmax_bytes = 1",
            "[intake.spool]\nmax_bytes = 134217728",
            "[node]\nlisten = \"127.0.0.1:8421\"",
            "database = \"postgres://h/d\"\n[node]\nlisten = \"0.0.0.0:8421\"",
            "database = \"postgres://h/d\"\n[node]\nlisten = \"here\"",
            "database = \"postgres://h/d\"\n[node]\nadvertise = \"http://10.0.0.5\"",
            "database = \"postgres://h/d\"\n[node]\nlisten = \"127.0.0.1:1\"\nadvertise = \"https://a.internal:1\"",
        ] {
            let layer = file(text).expect("the form is right");
            let layers = [layer, Layer::default(), Layer::default()];
            assert!(Config::from_layers(layers).is_err(), "{text}");
        }
    }
}
