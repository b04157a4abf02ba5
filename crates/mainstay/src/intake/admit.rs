//! Who is let in: what is looked at before a request is read, and what its source may be sent once it proves genuine.

use std::net::IpAddr;

use mainstay_domain::watch::Series;

use super::{Answer, Door, Inbound, Intake};

/// What becomes of a request before its body is read.
#[derive(Debug)]
pub enum Knock {
    /// It may have so many bytes.
    Open {
        /// The largest body that the source takes.
        body_limit: usize,
    },
    /// There is no such source.
    Unknown,
    /// It is turned away unread.
    TurnedAway(Answer),
}

impl Intake {
    /// What becomes of a request from this address to this source, so that the server need not read what is turned away,
    /// nor more than the source takes.
    pub async fn knock(&self, source: &str, address: IpAddr) -> Knock {
        let Some((_, door)) = self.door(source).await else {
            return Knock::Unknown;
        };
        match self.turned_away(&door, address) {
            Some(answer) => Knock::TurnedAway(answer),
            None => Knock::Open {
                body_limit: door.settings.body_limit_bytes,
            },
        }
    }

    /// Where too many of the address have failed: unless it has proved genuine to the source before, or the source can
    /// spare a verification.
    fn turned_away(&self, door: &Door, address: IpAddr) -> Option<Answer> {
        if !self.failures.any() {
            return None;
        }
        let (network, now) = (self.failures.network(address), self.clock.now());
        let wait = self.failures.distrusted(network, now);
        let verified = wait == 0 || door.allowance.has_proved(network) || door.allowance.spare(now);
        if verified {
            return None;
        }
        let source = door.source.id.uuid();
        self.samples.count(Series::TurnedAway, source, 1);
        Some(Answer::distrusted(wait))
    }

    /// Notes that a request proved genuine, and takes it from what its source may be sent; answers it where more came.
    pub(super) fn admit(&self, door: &Door, inbound: &Inbound) -> Option<Answer> {
        if let Ok(address) = inbound.remote.parse() {
            door.allowance.proved(self.failures.network(address));
        }
        let settings = door.settings.rate?;
        let now = inbound.received_at;
        let wait = door.allowance.take(settings.rate(), now).err()?;
        let source = &door.source;
        self.samples
            .count(Series::RateExceeded, source.id.uuid(), 1);
        if let Some(requests) = door.allowance.over(now) {
            const KIND: &str = "intake.rate_exceeded";
            let payload = serde_json::json!({
                "type": KIND,
                "source_id": source.id,
                "source_name": source.name,
                "requests": requests,
                "per_second": settings.per_second,
            });
            let unique = format!("{KIND}:{}:{}", source.id, now.micros());
            self.tell(KIND, unique, Some(source.tenant), payload);
        }
        Some(Answer::rate_exceeded(wait))
    }

    /// Notes that a request did not prove genuine.
    pub(super) fn failed(&self, inbound: &Inbound) {
        if let Ok(address) = inbound.remote.parse() {
            let network = self.failures.network(address);
            self.failures.failed(network, self.clock.now());
        }
    }
}
