//! What the engine and the modules promise, on both databases.

mod engine;
mod intake;
mod own;
mod paypal;
mod quarantine;
mod reverify;
mod world;
