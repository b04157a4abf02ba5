//! The store on its real schema, from outside: one body per test, run on both databases.

mod backups;
mod faults;
mod schema;
