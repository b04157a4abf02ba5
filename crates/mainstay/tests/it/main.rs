//! What the engine and the modules promise, on both databases.

mod intake;
mod world;
