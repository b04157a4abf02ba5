//! Webhooks as providers send them: the shapes are theirs, the words and numbers made up from a seed. For the proofs,
//! which play them at Mainstay from outside, and for `mainstay simulate`, which plays them at any handler.

pub mod dice;
pub mod events;
pub mod story;
