//! The `mainstay` binary.

mod cidr;
mod outbound;

fn main() {}
