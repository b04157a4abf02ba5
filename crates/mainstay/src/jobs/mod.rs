//! Jobs: the engine that carries them out.

pub mod machine;
