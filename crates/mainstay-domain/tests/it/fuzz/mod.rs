//! Targets that `cargo test` runs on random inputs and `make fuzz` under the fuzzer.

mod judge;
mod readers;
mod verifiers;
