//! The domain's rules from outside, as the other crates use them.

mod chain;
mod fuzz;
mod intake;
mod sagas;
mod schedules;
mod vault;
