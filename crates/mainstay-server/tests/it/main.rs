//! The real binary, from outside.

mod access;
mod audit;
mod away;
mod certificates;
mod cli;
mod client;
mod configuration;
mod deliveries;
mod drift;
mod encrypted;
mod endpoints;
mod filters;
mod idempotency;
mod lines;
mod links;
mod listen;
mod quarantine;
mod receiver;
mod replays;
mod routes;
mod schemas;
mod schemes;
mod server;
mod timeline;
mod vault;
mod wire;
