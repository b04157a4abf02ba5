//! Mainstay's engine and modules.
#![warn(missing_docs)]

pub mod clean;
pub mod intake;
pub mod jobs;
pub mod watch;
