//! Intake: signature schemes.

mod scheme_diagnose;
mod scheme_events;
mod scheme_explain;
mod scheme_meta;
mod scheme_paypal;
mod scheme_presets;
mod scheme_properties;
mod scheme_twilio;
mod scheme_unsigned;
mod scheme_v1a;
pub(crate) mod scheme_vectors;
