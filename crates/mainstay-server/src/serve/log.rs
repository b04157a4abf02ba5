//! Logs on standard error, and the few lines on standard output that a person waits for.

use std::io::{IsTerminal, Write};

use mainstay_domain::Store;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::{
    config::{Config, Log},
    state::App,
};

/// Sets logging up, once in a process.
pub(super) fn init(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    let set = match log.json {
        true => registry
            .with(fmt::layer().json().with_writer(std::io::stderr))
            .try_init(),
        false => registry
            .with(
                fmt::layer()
                    .with_target(false)
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(std::io::stderr),
            )
            .try_init(),
    };
    // Somebody who embeds this may have set it up already.
    drop(set);
    Ok(())
}

/// Says where a server is that has started without its database.
pub(super) fn meanwhile(address: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "mainstay {} is listening on {address} (postgres cannot be reached: webhooks go into the spool, and nothing else is \
         answered until it can be)",
        env!("CARGO_PKG_VERSION"),
    )?;
    Ok(out.flush()?)
}

/// Says where the server is, and how to sign in for the first time.
pub(super) fn started(
    config: &Config,
    store: &dyn Store,
    app: &App,
    link: Option<&str>,
) -> anyhow::Result<()> {
    let place = match &config.database {
        Some(_) => String::new(),
        None => format!(" in {}", config.data.display()),
    };
    let sign_in = match link {
        Some(link) => format!(
            "sign in    {link}\n           works once, for 24 hours; a new start makes a new one\n"
        ),
        None => format!("sign in    {}/signin\n", app.url()),
    };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "mainstay {} is listening on {} ({}{place})",
        env!("CARGO_PKG_VERSION"),
        app.address,
        store.database().as_str(),
    )?;
    write!(out, "dashboard  {}/\n{sign_in}", app.url())?;
    Ok(out.flush()?)
}
