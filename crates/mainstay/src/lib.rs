//! Mainstay's engine and modules.
#![warn(missing_docs)]

pub mod jobs;
