//! The real binary, from outside.

mod access;
mod cli;
mod client;
mod deliveries;
mod idempotency;
mod receiver;
mod routes;
mod server;
mod wire;
