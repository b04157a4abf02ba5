//! What the doors for webhooks, and the frame around every request, need of a server: of a whole one, or of one that has
//! started without its database.

use std::sync::Arc;

use mainstay::intake::Intake;
use mainstay_domain::{Cidr, Clock, Random};

use crate::{config::Limits, metrics::Metrics, state::App};

/// A server, as far as webhooks see it.
pub(crate) trait Host: Send + Sync + 'static {
    /// Takes webhooks in.
    fn intake(&self) -> &Arc<Intake>;
    /// Where "now" comes from.
    fn clock(&self) -> &dyn Clock;
    /// Where ids come from.
    fn random(&self) -> &dyn Random;
    /// Counts of requests.
    fn metrics(&self) -> &Metrics;
    /// Bounds.
    fn limits(&self) -> &Limits;
    /// Proxies that are believed.
    fn trusted_proxies(&self) -> &[Cidr];
    /// How the server is reached.
    fn url(&self) -> &str;
    /// Whether browsers come over TLS.
    fn secure(&self) -> bool;
    /// Whether what it knows of sources is as of an earlier time: one that it does not know may be there.
    fn away(&self) -> bool;
}

impl Host for App {
    fn intake(&self) -> &Arc<Intake> {
        &self.mainstay.intake
    }

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn random(&self) -> &dyn Random {
        &*self.random
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn trusted_proxies(&self) -> &[Cidr] {
        &self.trusted_proxies
    }

    fn url(&self) -> &str {
        Self::url(self)
    }

    fn secure(&self) -> bool {
        self.secure
    }

    fn away(&self) -> bool {
        false
    }
}
