//! What the engine and the modules promise, on both databases.

mod abuse;
mod drift;
mod engine;
mod expect;
mod filters;
mod follow;
mod intake;
mod objects;
mod own;
mod paypal;
mod quarantine;
mod replay;
mod restored;
mod reverify;
mod rhythm;
mod sagas;
mod schedules;
mod schemas;
mod snapshot;
mod spool;
mod tenants;
mod vault;
mod world;
