//! Jobs: the engine that carries them out, what it pushes, and what people do about those that died.

pub mod dead_letter;
mod deliver;
mod engine;
mod handler;
pub mod machine;
pub mod workers;

pub(crate) use deliver::Deliver;
pub(crate) use engine::LEASE as ENGINE_LEASE;
pub use engine::{Engine, EngineHandle, EngineOptions};
pub use handler::{
    Announcement, Announcer, AttemptInfo, BuiltinHandlers, Effect, Handler, HandlerError, NOOP,
    NOOP_QUEUE, Noop, Outbound, Registry,
};
pub use machine::{EngineSnapshot, Failure, PaceSnapshot, QueueSnapshot, Report, TenantUse};
