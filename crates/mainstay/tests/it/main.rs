//! What the engine and the modules promise, on both databases.

mod drift;
mod engine;
mod filters;
mod intake;
mod objects;
mod own;
mod paypal;
mod quarantine;
mod replay;
mod reverify;
mod schemas;
mod spool;
mod tenants;
mod world;
