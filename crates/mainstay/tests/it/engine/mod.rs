//! The engine against real databases: what is committed gets done, whatever goes wrong.

mod deadlines;
mod endpoints;
mod ends;
mod enqueue;
mod faults;
mod lines;
mod owners;
mod poison;
mod pressure;
mod speed;
mod workers;
mod works;
