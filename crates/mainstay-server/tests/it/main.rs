//! The real binary, from outside.

mod access;
mod cli;
mod client;
mod idempotency;
mod receiver;
mod routes;
mod server;
mod wire;
