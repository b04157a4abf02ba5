//! The `mainstay` binary.

mod access;
mod api;
mod cidr;
mod config;
mod health;
mod http;
mod intake;
mod limits;
mod metrics;
mod outbound;
mod serve;
mod state;
mod stats;
mod stream;
mod time;
mod ui;
mod web;

use std::io::Write as _;

use anyhow::Context as _;
use config::{Config, Layer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    anyhow::ensure!(
        installed.is_ok(),
        "another crypto provider is there already"
    );
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("openapi") => Ok(std::io::stdout().write_all(api::openapi_json().as_bytes())?),
        Some("serve") => {
            let mut layer = Layer::default();
            while let (Some(flag), Some(value)) = (arguments.next(), arguments.next()) {
                match flag.as_str() {
                    "--data" => layer.data = Some(value.into()),
                    "--listen" => layer.listen = Some(value),
                    "--database" => layer.database = Some(value),
                    _ => anyhow::bail!("no such flag: {flag}"),
                }
            }
            let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
            runtime.block_on(serve::serve(Config::load(None, layer)?))
        }
        _ => anyhow::bail!("serve or openapi"),
    }
}
