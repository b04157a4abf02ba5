//! The `mainstay` binary.

mod access;
mod api;
mod bench;
mod cli;
mod config;
mod health;
mod http;
mod intake;
mod limits;
mod metrics;
mod nodes;
mod outbound;
mod serve;
mod sizes;
mod state;
mod stats;
mod stream;
mod time;
mod ui;
mod web;

use std::process::ExitCode;

/// Measured: a third more intake than with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Once, before the first connection: rustls would otherwise have to guess between providers.
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    debug_assert!(installed.is_ok(), "nobody else installs a provider");
    ExitCode::from(cli::main())
}
