//! The store on its real schema, from outside: one body per test, run on both databases.

mod access;
mod append;
mod attempts;
mod audit;
mod backups;
mod breakers;
mod circles;
mod discovery;
mod faults;
mod follow;
mod fuzz;
mod kit;
mod lines;
mod links;
mod lists;
mod looks;
mod objects;
mod queues;
mod retention;
mod sagas;
mod schedules;
mod schema;
mod schemas;
mod sources;
mod tenants;
mod ways_back;
