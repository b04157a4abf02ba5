//! Proofs from outside. The demo and the crash rounds play providers' webhooks at a real `mainstay` process, receive
//! what it delivers, kill it, and then count on every side, independently. Black box: HTTP, the command line, the
//! `api.json` of the data directory, nothing else.

pub use mainstay_shapes::{dice, events};

pub mod api;
pub mod http;
pub mod lossy;
pub mod mistyped;
pub mod plan;
pub mod postgres;
pub mod process;
pub mod progress;
pub mod receiver;
pub mod sender;
pub mod sign;
pub mod verdict;
