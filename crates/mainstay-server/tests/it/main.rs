//! The real binary, from outside.

mod cli;
mod receiver;
mod server;
