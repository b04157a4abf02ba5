//! From what was said to what holds: defaults filled in, every value checked.

use std::{net::SocketAddr, time::Duration};

use mainstay::intake::FAILURES_PER_MINUTE;
use mainstay_domain::{
    Cidr,
    intake::{
        quarantine::{Amount, Bounds},
        settings::BODY_LIMIT_BYTES_MAX,
    },
};

use super::{
    Config, Limits, Log, MasterKeys, NodeConfig, RequestLimits, Retention, Secret, SpoolConfig,
    Tls,
    layer::{
        ConfigError, Layer, LimitsLayer, MasterKeyLayer, NodeLayer, QuarantineLayer,
        RetentionLayer, SpoolLayer, TlsLayer,
    },
};
use crate::limits;

/// The longest period that data can be kept for, in days.
const DAYS_MAX: u64 = 36_500;
/// Refused requests of one source: so many are looked at in one go.
const QUARANTINE_ROWS_MAX: u64 = 50_000;
/// The smallest spool: the largest request fits.
const SPOOL_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// The smallest bound on bytes: some requests with their bodies.
const QUARANTINE_BYTES_MIN: u64 = 1024 * 1024;

pub(super) fn config(layer: Layer) -> Result<Config, ConfigError> {
    let listen = layer.listen.unwrap_or_else(|| limits::LISTEN.into());
    let node = node(
        layer.node,
        layer.database.is_some(),
        layer.tls.cert.is_some(),
    )?;
    Ok(Config {
        listen: listen.parse().map_err(|_| {
            wrong(
                "listen",
                "must be an address with a port, such as 127.0.0.1:8420",
            )
        })?,
        data: layer.data.unwrap_or_else(|| limits::DATA.into()),
        database: layer
            .database
            .map(|url| database("database", url))
            .transpose()?,
        database_migrate: layer
            .database_migrate
            .map(|url| database("database_migrate", url))
            .transpose()?,
        master_keys: master_keys(layer.master_key)?,
        public_url: layer
            .public_url
            .map(|url| place("public_url", url))
            .transpose()?,
        tls: tls(layer.tls)?,
        trusted_proxies: ranges("trusted_proxies", layer.trusted_proxies)?,
        outbound_allow: ranges("outbound.allow", layer.outbound.allow)?,
        outbound_ca_file: layer.outbound.ca_file,
        limits: bounds(layer.limits)?,
        retention: retention(layer.retention)?,
        quarantine: quarantine(layer.quarantine)?,
        node,
        spool: spool(layer.intake.spool)?,
        log: Log {
            json: match layer.log.as_deref() {
                None | Some("text") => false,
                Some("json") => true,
                Some(_) => return Err(wrong("log", "must be text or json")),
            },
            filter: layer.log_filter.unwrap_or_else(|| "info".into()),
        },
        demo: layer.demo.unwrap_or(false),
    })
}

/// From one place; two would leave open which key wraps.
fn master_keys(layer: MasterKeyLayer) -> Result<MasterKeys, ConfigError> {
    match (layer.text, layer.file, layer.command) {
        (None, None, None) => Ok(MasterKeys::None),
        (Some(text), None, None) => Ok(MasterKeys::Text(Secret(text))),
        (None, Some(file), None) => Ok(MasterKeys::File(file)),
        (None, None, Some(command)) if !command.is_empty() => Ok(MasterKeys::Command(command)),
        (None, None, Some(_)) => Err(wrong("master_key.command", "names no program")),
        _ => Err(wrong(
            "master_key",
            "is given in several places; one of variable, file and command is meant",
        )),
    }
}

fn database(key: &'static str, url: String) -> Result<Secret, ConfigError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        Ok(Secret(url))
    } else {
        Err(wrong(
            key,
            "must begin with postgres://; leave it out for SQLite",
        ))
    }
}

fn place(key: &'static str, url: String) -> Result<String, ConfigError> {
    let url = url.trim_end_matches('/').to_owned();
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@']) => Ok(url),
        _ => Err(wrong(
            key,
            "must be scheme and host alone, such as https://hooks.example.com",
        )),
    }
}

/// Shut unless it has a place to listen: only who runs this knows which network is for nodes alone.
fn node(layer: NodeLayer, postgres: bool, tls: bool) -> Result<NodeConfig, ConfigError> {
    const LISTEN: &str = "node.listen";
    const ADVERTISE: &str = "node.advertise";
    let listen = layer.listen.map(|text| text.parse::<SocketAddr>());
    let listen = listen.transpose().map_err(|_| {
        wrong(
            LISTEN,
            "must be an address with a port, such as 10.0.0.5:8421",
        )
    })?;
    let node = NodeConfig {
        listen,
        advertise: layer
            .advertise
            .map(|url| place(ADVERTISE, url))
            .transpose()?,
        ca_file: layer.ca_file,
    };
    match node.listen {
        None if node.advertise.is_some() => {
            Err(wrong(ADVERTISE, "means nothing without node.listen"))
        }
        Some(_) if !postgres => Err(wrong(
            LISTEN,
            "needs PostgreSQL: on SQLite there is one node",
        )),
        Some(address) if address.ip().is_unspecified() && node.advertise.is_none() => Err(wrong(
            ADVERTISE,
            "must say how other nodes reach this one: node.listen is no address of it",
        )),
        Some(_) if node.secure() && !tls => Err(wrong(
            ADVERTISE,
            "begins with https://, which takes tls.cert and tls.key",
        )),
        _ => Ok(node),
    }
}

fn tls(layer: TlsLayer) -> Result<Option<Tls>, ConfigError> {
    match (layer.cert, layer.key) {
        (Some(cert), Some(key)) => Ok(Some(Tls { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(wrong("tls.key", "is missing; a certificate needs its key")),
        (None, Some(_)) => Err(wrong("tls.cert", "is missing; a key needs its certificate")),
    }
}

fn ranges(key: &'static str, list: Option<Vec<String>>) -> Result<Vec<Cidr>, ConfigError> {
    let parsed = list
        .unwrap_or_default()
        .into_iter()
        .map(|text| text.parse::<Cidr>());
    parsed
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(key, &error.to_string()))
}

fn requests(layer: &LimitsLayer) -> Result<RequestLimits, ConfigError> {
    let count = |key, given: Option<u64>, default: usize| {
        within(key, given.unwrap_or(default as u64), 1, 100_000_000).map(|value| value as u32)
    };
    Ok(RequestLimits {
        all: count(
            "limits.requests_per_minute",
            layer.requests_per_minute,
            limits::REQUESTS_PER_MINUTE,
        )?,
        reads: count(
            "limits.reads_per_minute",
            layer.reads_per_minute,
            limits::READS_PER_MINUTE,
        )?,
        writes: count(
            "limits.writes_per_minute",
            layer.writes_per_minute,
            limits::WRITES_PER_MINUTE,
        )?,
        purchases: count(
            "limits.purchases_per_minute",
            layer.purchases_per_minute,
            limits::PURCHASES_PER_MINUTE,
        )?,
        credit_purchases: count(
            "limits.credit_purchases_per_minute",
            layer.credit_purchases_per_minute,
            limits::CREDIT_PURCHASES_PER_MINUTE,
        )?,
    })
}

fn bounds(layer: LimitsLayer) -> Result<Limits, ConfigError> {
    let count = |key, given: Option<u64>, default: usize, max: usize| match given {
        None => Ok(default),
        Some(value) => within(key, value, 1, max as u64).map(|value| value as usize),
    };
    let time = |key, given: Option<u64>, default: Duration| match given {
        None => Ok(default),
        Some(secs) => within(key, secs, 1, 3_600).map(Duration::from_secs),
    };
    Ok(Limits {
        body_bytes: count(
            "limits.body_bytes",
            layer.body_bytes,
            BODY_LIMIT_BYTES_MAX,
            BODY_LIMIT_BYTES_MAX,
        )?,
        connections: count(
            "limits.connections",
            layer.connections,
            limits::CONNECTIONS,
            1_000_000,
        )?,
        connections_per_address: count(
            "limits.connections_per_address",
            layer.connections_per_address,
            limits::CONNECTIONS_PER_ADDRESS,
            1_000_000,
        )?,
        requests: requests(&layer)?,
        failures_per_minute: match layer.failures_per_minute {
            None => FAILURES_PER_MINUTE,
            Some(count) => within("limits.failures_per_minute", count, 0, 1_000_000)? as u32,
        },
        header_timeout: time(
            "limits.header_timeout_secs",
            layer.header_timeout_secs,
            limits::HEADER_TIMEOUT,
        )?,
        body_timeout: time(
            "limits.body_timeout_secs",
            layer.body_timeout_secs,
            limits::BODY_TIMEOUT,
        )?,
        request_timeout: time(
            "limits.request_timeout_secs",
            layer.request_timeout_secs,
            limits::REQUEST_TIMEOUT,
        )?,
    })
}

fn retention(layer: RetentionLayer) -> Result<Retention, ConfigError> {
    let days = |key, given: Option<u64>, default: i64| match given {
        None => Ok(default),
        Some(days) => within(key, days, 1, DAYS_MAX).map(|days| days as i64),
    };
    Ok(Retention {
        events_days: days("retention.events_days", layer.events_days, 30)?,
        receipts_refused_days: days(
            "retention.receipts_refused_days",
            layer.receipts_refused_days,
            7,
        )?,
        samples_days: days("retention.samples_days", layer.samples_days, 90)?,
    })
}

fn quarantine(layer: QuarantineLayer) -> Result<Bounds, ConfigError> {
    let default = Bounds::default();
    let bound = |key, given: Option<u64>, default: i64, min, max| match given {
        None => Ok(default),
        Some(value) => within(key, value, min, max).map(|value| value as i64),
    };
    let rows = |key, given, default, max| bound(key, given, default, 1, max);
    let bytes = |key, given, default| bound(key, given, default, QUARANTINE_BYTES_MIN, 1 << 50);
    Ok(Bounds {
        source: Amount {
            rows: rows(
                "quarantine.rows_per_source",
                layer.rows_per_source,
                default.source.rows,
                QUARANTINE_ROWS_MAX,
            )?,
            bytes: bytes(
                "quarantine.bytes_per_source",
                layer.bytes_per_source,
                default.source.bytes,
            )?,
        },
        all: Amount {
            rows: rows("quarantine.rows", layer.rows, default.all.rows, 100_000_000)?,
            bytes: bytes("quarantine.bytes", layer.bytes, default.all.bytes)?,
        },
        per_second: rows(
            "quarantine.per_second",
            layer.per_second,
            default.per_second,
            10_000,
        )?,
    })
}

/// Off unless it has a folder: only who runs this knows which disk outlives the machine.
fn spool(layer: SpoolLayer) -> Result<Option<SpoolConfig>, ConfigError> {
    const MAX_BYTES: &str = "intake.spool.max_bytes";
    let max_bytes = match layer.max_bytes {
        None => limits::SPOOL_BYTES,
        Some(bytes) => within(MAX_BYTES, bytes, SPOOL_BYTES_MIN, 1 << 50)?,
    };
    match layer.dir {
        Some(dir) if dir.is_absolute() => Ok(Some(SpoolConfig { dir, max_bytes })),
        Some(_) => Err(wrong(
            "intake.spool.dir",
            "must be an absolute path, on a disk that outlives the machine",
        )),
        None if layer.max_bytes.is_some() => {
            Err(wrong(MAX_BYTES, "means nothing without intake.spool.dir"))
        }
        None => Ok(None),
    }
}

fn within(key: &'static str, value: u64, min: u64, max: u64) -> Result<u64, ConfigError> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(wrong(key, &format!("must be between {min} and {max}")))
    }
}

fn wrong(key: &'static str, problem: &str) -> ConfigError {
    ConfigError::Value {
        key,
        problem: problem.to_owned(),
    }
}
