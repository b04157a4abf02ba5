//! The words and the pure rules of Mainstay.
//!
//! Ids, time, errors, states and the ports that the rest is built against. This crate
//! knows no I/O, no SQL, no HTTP and no runtime: everything here can be run in
//! simulated time, from a seed. See `ARCHITECTURE.md` for the words.
#![warn(missing_docs)]

pub mod access;
pub mod billing;
pub mod cidr;
pub mod error;
pub mod id;
pub mod intake;
pub mod jobs;
pub mod nodes;
pub mod sagas;
pub mod schedules;
pub mod store;
pub mod time;
pub mod vault;
pub mod watch;

pub use cidr::{Cidr, CidrError};
pub use error::{Category, StoreError, StoreResult};
pub use id::*;
pub use store::{Scope, Store, StoreExt, Tx};
pub use time::{Clock, Random, Timestamp};
