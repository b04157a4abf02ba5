//! Targets that `cargo test` runs on random inputs.

mod judge;
mod readers;
mod verifiers;
