//! HTTP: the accept loop with its bounds, TLS, whom a request comes from, bodies, errors.

pub(crate) mod body;
pub(crate) mod extract;
pub(crate) mod frame;
pub(crate) mod host;
mod idle;
pub(crate) mod origin;
pub(crate) mod problem;
pub(crate) mod proxies;
pub(crate) mod server;
pub(crate) mod text;
pub(crate) mod tls;

pub(crate) use problem::{Code, Problem};
