//! One layer of configuration: what a file, the variables or the flags say, unchecked.

use std::{
    collections::HashMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file could not be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}:{line}: {problem}")]
    Place {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A variable is not what it should be.
    #[error("{variable}: {problem}")]
    Variable {
        /// Its name.
        variable: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A value cannot be.
    #[error("{key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// What one place says. Flags fill this as well.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Layer {
    /// Where to listen.
    pub(crate) listen: Option<String>,
    /// The data directory.
    pub(crate) data: Option<PathBuf>,
    /// The database's URL.
    pub(crate) database: Option<String>,
    /// The owner's URL.
    pub(crate) database_migrate: Option<String>,
    /// Where master keys come from.
    pub(crate) master_key: MasterKeyLayer,
    /// How the server is reached.
    pub(crate) public_url: Option<String>,
    /// Proxies to believe.
    pub(crate) trusted_proxies: Option<Vec<String>>,
    /// `text` or `json`.
    pub(crate) log: Option<String>,
    /// What is logged; from `MAINSTAY_LOG` or a flag.
    #[serde(skip)]
    pub(crate) log_filter: Option<String>,
    /// Whether this is the demo; from a flag or a variable.
    #[serde(skip)]
    pub(crate) demo: Option<bool>,
    /// The certificate.
    pub(crate) tls: TlsLayer,
    /// Deliveries.
    pub(crate) outbound: OutboundLayer,
    /// Bounds.
    pub(crate) limits: LimitsLayer,
    /// How long data is kept.
    pub(crate) retention: RetentionLayer,
    /// How much is kept of what was refused.
    pub(crate) quarantine: QuarantineLayer,
    /// Taking webhooks in.
    pub(crate) intake: IntakeLayer,
    /// This node among others.
    pub(crate) node: NodeLayer,
}

/// The table `node`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NodeLayer {
    /// Where the internal door listens.
    pub(crate) listen: Option<String>,
    /// How other nodes reach it.
    pub(crate) advertise: Option<String>,
    /// Certificate authorities beside the platform's.
    pub(crate) ca_file: Option<PathBuf>,
}

/// The table `master_key`.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MasterKeyLayer {
    /// The keys themselves; only from a variable: a configuration file is no place for them.
    #[serde(skip)]
    pub(crate) text: Option<String>,
    /// A file with them.
    pub(crate) file: Option<PathBuf>,
    /// A program that prints them, and its arguments.
    pub(crate) command: Option<Vec<String>>,
}

impl std::fmt::Debug for MasterKeyLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterKeyLayer")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl MasterKeyLayer {
    /// One place wins as a whole.
    fn over(self, upper: Self) -> Self {
        match (&upper.text, &upper.file, &upper.command) {
            (None, None, None) => self,
            _ => upper,
        }
    }
}

/// The table `intake`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct IntakeLayer {
    /// Where requests go while the database is gone.
    pub(crate) spool: SpoolLayer,
}

/// The table `intake.spool`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SpoolLayer {
    /// Its folder.
    pub(crate) dir: Option<PathBuf>,
    /// The most that it takes.
    pub(crate) max_bytes: Option<u64>,
}

/// The table `tls`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TlsLayer {
    /// The chain's file.
    pub(crate) cert: Option<PathBuf>,
    /// The key's file.
    pub(crate) key: Option<PathBuf>,
}

/// The table `outbound`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OutboundLayer {
    /// Ranges that deliveries may go to.
    pub(crate) allow: Option<Vec<String>>,
    /// Certificate authorities beside the platform's.
    pub(crate) ca_file: Option<PathBuf>,
}

/// The table `limits`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsLayer {
    /// The largest body.
    pub(crate) body_bytes: Option<u64>,
    /// Connections.
    pub(crate) connections: Option<u64>,
    /// Connections from one address.
    pub(crate) connections_per_address: Option<u64>,
    /// Requests of one person, or of a key's work.
    pub(crate) requests_per_minute: Option<u64>,
    /// Requests of one key that look at something.
    pub(crate) reads_per_minute: Option<u64>,
    /// Requests of one key that change something.
    pub(crate) writes_per_minute: Option<u64>,
    /// Requests of one key that buy something.
    pub(crate) purchases_per_minute: Option<u64>,
    /// Requests of one key that buy credits.
    pub(crate) credit_purchases_per_minute: Option<u64>,
    /// Webhooks of one address that may fail.
    pub(crate) failures_per_minute: Option<u64>,
    /// Bound on headers.
    pub(crate) header_timeout_secs: Option<u64>,
    /// Bound on bodies.
    pub(crate) body_timeout_secs: Option<u64>,
    /// Bound on the rest.
    pub(crate) request_timeout_secs: Option<u64>,
}

/// The table `retention`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RetentionLayer {
    /// Events.
    pub(crate) events_days: Option<u64>,
    /// Refused requests.
    pub(crate) receipts_refused_days: Option<u64>,
    /// Counts.
    pub(crate) samples_days: Option<u64>,
}

/// The table `quarantine`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct QuarantineLayer {
    /// Requests of each source.
    pub(crate) rows_per_source: Option<u64>,
    /// Bytes of each source.
    pub(crate) bytes_per_source: Option<u64>,
    /// Requests of all sources.
    pub(crate) rows: Option<u64>,
    /// Bytes of all sources.
    pub(crate) bytes: Option<u64>,
    /// Requests of each source in a second.
    pub(crate) per_second: Option<u64>,
}

impl Layer {
    /// Reads a file.
    pub(super) fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|source| ConfigError::File {
            path: path.to_owned(),
            source,
        })?;
        Self::from_text(path, &text)
    }

    /// Reads a file that may be missing.
    pub(super) fn from_default_file(path: &Path) -> Result<Self, ConfigError> {
        match Self::from_file(path) {
            Err(ConfigError::File { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(Self::default())
            }
            other => other,
        }
    }

    /// Reads the text of a file.
    pub(super) fn from_text(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start).min(text.len());
            ConfigError::Place {
                path: path.to_owned(),
                line: text.as_bytes()[..start]
                    .iter()
                    .filter(|byte| **byte == b'\n')
                    .count()
                    + 1,
                problem: error.message().to_owned(),
            }
        })
    }

    /// Reads the `MAINSTAY_*` variables that are settings; others (a container platform adds some) are left alone.
    pub(super) fn from_variables(
        all: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let ours = all.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            name.starts_with("MAINSTAY_").then_some((name, value))
        });
        let variables = Variables(ours.collect());
        Ok(Self {
            listen: variables.text("MAINSTAY_LISTEN")?,
            data: variables.path("MAINSTAY_DATA"),
            database: variables.secret("MAINSTAY_DATABASE")?,
            database_migrate: variables.secret("MAINSTAY_DATABASE_MIGRATE")?,
            master_key: MasterKeyLayer {
                text: variables.text("MAINSTAY_MASTER_KEY")?,
                file: variables.path("MAINSTAY_MASTER_KEY_FILE"),
                command: variables.list("MAINSTAY_MASTER_KEY_COMMAND")?,
            },
            public_url: variables.text("MAINSTAY_PUBLIC_URL")?,
            trusted_proxies: variables.list("MAINSTAY_TRUSTED_PROXIES")?,
            log: variables.text("MAINSTAY_LOG_FORMAT")?,
            log_filter: variables.text("MAINSTAY_LOG")?,
            demo: variables
                .text("MAINSTAY_DEMO")?
                .map(|value| value == "1" || value == "true"),
            tls: TlsLayer {
                cert: variables.path("MAINSTAY_TLS_CERT"),
                key: variables.path("MAINSTAY_TLS_KEY"),
            },
            outbound: OutboundLayer {
                allow: variables.list("MAINSTAY_OUTBOUND_ALLOW")?,
                ca_file: variables.path("MAINSTAY_OUTBOUND_CA_FILE"),
            },
            limits: LimitsLayer {
                body_bytes: variables.number("MAINSTAY_LIMITS_BODY_BYTES")?,
                connections: variables.number("MAINSTAY_LIMITS_CONNECTIONS")?,
                connections_per_address: variables
                    .number("MAINSTAY_LIMITS_CONNECTIONS_PER_ADDRESS")?,
                requests_per_minute: variables.number("MAINSTAY_LIMITS_REQUESTS_PER_MINUTE")?,
                reads_per_minute: variables.number("MAINSTAY_LIMITS_READS_PER_MINUTE")?,
                writes_per_minute: variables.number("MAINSTAY_LIMITS_WRITES_PER_MINUTE")?,
                purchases_per_minute: variables.number("MAINSTAY_LIMITS_PURCHASES_PER_MINUTE")?,
                credit_purchases_per_minute: variables
                    .number("MAINSTAY_LIMITS_CREDIT_PURCHASES_PER_MINUTE")?,
                failures_per_minute: variables.number("MAINSTAY_LIMITS_FAILURES_PER_MINUTE")?,
                header_timeout_secs: variables.number("MAINSTAY_LIMITS_HEADER_TIMEOUT_SECS")?,
                body_timeout_secs: variables.number("MAINSTAY_LIMITS_BODY_TIMEOUT_SECS")?,
                request_timeout_secs: variables.number("MAINSTAY_LIMITS_REQUEST_TIMEOUT_SECS")?,
            },
            retention: RetentionLayer {
                events_days: variables.number("MAINSTAY_RETENTION_EVENTS_DAYS")?,
                receipts_refused_days: variables
                    .number("MAINSTAY_RETENTION_RECEIPTS_REFUSED_DAYS")?,
                samples_days: variables.number("MAINSTAY_RETENTION_SAMPLES_DAYS")?,
            },
            quarantine: QuarantineLayer {
                rows_per_source: variables.number("MAINSTAY_QUARANTINE_ROWS_PER_SOURCE")?,
                bytes_per_source: variables.number("MAINSTAY_QUARANTINE_BYTES_PER_SOURCE")?,
                rows: variables.number("MAINSTAY_QUARANTINE_ROWS")?,
                bytes: variables.number("MAINSTAY_QUARANTINE_BYTES")?,
                per_second: variables.number("MAINSTAY_QUARANTINE_PER_SECOND")?,
            },
            node: NodeLayer {
                listen: variables.text("MAINSTAY_NODE_LISTEN")?,
                advertise: variables.text("MAINSTAY_NODE_ADVERTISE")?,
                ca_file: variables.path("MAINSTAY_NODE_CA_FILE"),
            },
            intake: IntakeLayer {
                spool: SpoolLayer {
                    dir: variables.path("MAINSTAY_INTAKE_SPOOL_DIR"),
                    max_bytes: variables.number("MAINSTAY_INTAKE_SPOOL_MAX_BYTES")?,
                },
            },
        })
    }

    /// What `upper` says, and where it says nothing, what this says.
    pub(super) fn over(self, upper: Self) -> Self {
        Self {
            listen: upper.listen.or(self.listen),
            data: upper.data.or(self.data),
            database: upper.database.or(self.database),
            database_migrate: upper.database_migrate.or(self.database_migrate),
            master_key: self.master_key.over(upper.master_key),
            public_url: upper.public_url.or(self.public_url),
            trusted_proxies: upper.trusted_proxies.or(self.trusted_proxies),
            log: upper.log.or(self.log),
            log_filter: upper.log_filter.or(self.log_filter),
            demo: upper.demo.or(self.demo),
            tls: TlsLayer {
                cert: upper.tls.cert.or(self.tls.cert),
                key: upper.tls.key.or(self.tls.key),
            },
            outbound: OutboundLayer {
                allow: upper.outbound.allow.or(self.outbound.allow),
                ca_file: upper.outbound.ca_file.or(self.outbound.ca_file),
            },
            limits: self.limits.over(upper.limits),
            retention: self.retention.over(upper.retention),
            quarantine: self.quarantine.over(upper.quarantine),
            node: NodeLayer {
                listen: upper.node.listen.or(self.node.listen),
                advertise: upper.node.advertise.or(self.node.advertise),
                ca_file: upper.node.ca_file.or(self.node.ca_file),
            },
            intake: IntakeLayer {
                spool: SpoolLayer {
                    dir: upper.intake.spool.dir.or(self.intake.spool.dir),
                    max_bytes: upper.intake.spool.max_bytes.or(self.intake.spool.max_bytes),
                },
            },
        }
    }
}

impl LimitsLayer {
    fn over(self, upper: Self) -> Self {
        Self {
            body_bytes: upper.body_bytes.or(self.body_bytes),
            connections: upper.connections.or(self.connections),
            connections_per_address: upper
                .connections_per_address
                .or(self.connections_per_address),
            requests_per_minute: upper.requests_per_minute.or(self.requests_per_minute),
            reads_per_minute: upper.reads_per_minute.or(self.reads_per_minute),
            writes_per_minute: upper.writes_per_minute.or(self.writes_per_minute),
            purchases_per_minute: upper.purchases_per_minute.or(self.purchases_per_minute),
            credit_purchases_per_minute: upper
                .credit_purchases_per_minute
                .or(self.credit_purchases_per_minute),
            failures_per_minute: upper.failures_per_minute.or(self.failures_per_minute),
            header_timeout_secs: upper.header_timeout_secs.or(self.header_timeout_secs),
            body_timeout_secs: upper.body_timeout_secs.or(self.body_timeout_secs),
            request_timeout_secs: upper.request_timeout_secs.or(self.request_timeout_secs),
        }
    }
}

impl RetentionLayer {
    fn over(self, upper: Self) -> Self {
        Self {
            events_days: upper.events_days.or(self.events_days),
            receipts_refused_days: upper.receipts_refused_days.or(self.receipts_refused_days),
            samples_days: upper.samples_days.or(self.samples_days),
        }
    }
}

impl QuarantineLayer {
    fn over(self, upper: Self) -> Self {
        Self {
            rows_per_source: upper.rows_per_source.or(self.rows_per_source),
            bytes_per_source: upper.bytes_per_source.or(self.bytes_per_source),
            rows: upper.rows.or(self.rows),
            bytes: upper.bytes.or(self.bytes),
            per_second: upper.per_second.or(self.per_second),
        }
    }
}

struct Variables(HashMap<String, OsString>);

impl Variables {
    fn text(&self, name: &str) -> Result<Option<String>, ConfigError> {
        let value = self.0.get(name).map(|value| value.clone().into_string());
        value
            .transpose()
            .map_err(|_| wrong(name, "is not valid UTF-8"))
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get(name).map(PathBuf::from)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, ConfigError> {
        let parsed = self.text(name)?.map(|text| text.trim().parse());
        parsed
            .transpose()
            .map_err(|_| wrong(name, "is not a whole number"))
    }

    fn list(&self, name: &str) -> Result<Option<Vec<String>>, ConfigError> {
        let split = |text: String| {
            let parts = text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        };
        Ok(self.text(name)?.map(split))
    }

    /// The variable, or the content of the file that `<name>_FILE` names.
    fn secret(&self, name: &str) -> Result<Option<String>, ConfigError> {
        let from_file = format!("{name}_FILE");
        match (self.text(name)?, self.path(&from_file)) {
            (Some(_), Some(_)) => Err(wrong(
                &from_file,
                &format!("{name} is set as well; one of the two is meant"),
            )),
            (text, None) => Ok(text),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => Ok(Some(text.trim_end().to_owned())),
                Err(error) => Err(wrong(&from_file, &format!("{}: {error}", path.display()))),
            },
        }
    }
}

fn wrong(variable: &str, problem: &str) -> ConfigError {
    ConfigError::Variable {
        variable: variable.to_owned(),
        problem: problem.to_owned(),
    }
}
