//! Intake: signature schemes.

mod scheme_events;
mod scheme_explain;
mod scheme_meta;
mod scheme_properties;
mod scheme_vectors;
