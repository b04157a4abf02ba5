//! Billing: the first built-in handler. It records the providers' events of money (INT-16), once each: the record and
//! the job's completion are one commit, so that exactly-once can be proven by counting.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_domain::{
    Category, Clock, StoreError, Tx,
    billing::BillingEvent,
    jobs::{EventBody, JobBody},
};
use serde::Deserialize;

use crate::{
    intake::decompress,
    jobs::{Effect, Handler, HandlerError},
    vault::event_opened,
};

/// The job kind.
pub const RECORD: &str = "billing.record";
/// The queue that it waits in.
pub const QUEUE: &str = "billing";

/// Records an event of billing.
pub struct Record {
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
}

#[async_trait]
impl Handler for Record {
    async fn run(&self, tx: &mut dyn Tx, job: &JobBody) -> Result<(), HandlerError> {
        let record = self.record(&event_opened(tx, job).await?)?;
        match tx.billing_event_insert(&record).await {
            Ok(()) => Ok(()),
            // A replay of an event that is recorded: there is nothing left to do.
            Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn effects(
        &self,
        tx: &mut dyn Tx,
        job: &JobBody,
    ) -> Result<Option<Vec<Effect>>, HandlerError> {
        let record = self.record(&event_opened(tx, job).await?)?;
        let known = tx.billing_event_get(record.tenant, record.event).await?;
        // What is recorded stays as it is.
        let after = shown(known.as_ref().unwrap_or(&record));
        Ok(Some(vec![Effect {
            what: "billing event",
            before: known.as_ref().map(shown),
            after: Some(after),
        }]))
    }
}

impl Record {
    /// What is recorded of an event.
    fn record(&self, job: &JobBody) -> Result<BillingEvent, HandlerError> {
        let Some(event) = &job.event else {
            return Err(HandlerError::new(
                Category::Validation,
                "event_missing",
                "the job has no event to record",
            ));
        };
        let money = money(event)?;
        Ok(BillingEvent {
            tenant: job.tenant,
            event: event.id,
            kind: event.kind.clone(),
            amount_minor: money.as_ref().map(|money| money.amount_minor),
            currency: money.map(|money| money.currency),
            occurred_at: event.occurred_at.unwrap_or(event.received_at),
            created_at: self.clock.now(),
        })
    }
}

/// A record as a person reads it: without when it is made.
fn shown(record: &BillingEvent) -> serde_json::Value {
    serde_json::json!({
        "event_id": record.event,
        "kind": record.kind,
        "amount_minor": record.amount_minor,
        "currency": record.currency,
        "occurred_at_secs": record.occurred_at.secs(),
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Money {
    amount_minor: i64,
    currency: String,
}

/// The fields of Stripe's objects that say how much: minor units already, in the object's currency.
#[derive(Deserialize)]
struct Payload {
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    object: Option<Object>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Object {
    amount_paid: Option<i64>,
    amount_due: Option<i64>,
    amount_total: Option<i64>,
    amount_received: Option<i64>,
    amount: Option<i64>,
    currency: Option<String>,
}

fn money(event: &EventBody) -> Result<Option<Money>, HandlerError> {
    let bytes = decompress(&event.payload)?;
    // Another provider's event: recorded without an amount rather than refused.
    let Ok(payload) = serde_json::from_slice::<Payload>(&bytes) else {
        return Ok(None);
    };
    let Some(object) = payload.data.and_then(|data| data.object) else {
        return Ok(None);
    };
    let paid_first = if event.kind.ends_with("payment_failed") {
        object.amount_due
    } else {
        object.amount_paid
    };
    let amount = paid_first
        .or(object.amount_total)
        .or(object.amount_received)
        .or(object.amount)
        .or(object.amount_due);
    Ok(amount
        .zip(object.currency)
        .map(|(amount_minor, currency)| Money {
            amount_minor,
            currency: currency.to_ascii_uppercase(),
        }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_domain::{EventId, ReceiptId, Timestamp, intake::Blob};

    fn event(kind: &str, payload: &'static str) -> EventBody {
        EventBody {
            id: EventId::NIL,
            provider_id: "evt_1".into(),
            kind: kind.into(),
            source_name: "stripe".into(),
            received_at: Timestamp::EPOCH,
            occurred_at: None,
            payload: Blob {
                zstd: false,
                bytes: payload.into(),
            },
            receipt: ReceiptId::NIL,
            headers: None,
        }
    }

    #[test]
    fn the_amount_is_taken_in_minor_units_and_never_computed() {
        let paid = event(
            "invoice.paid",
            r#"{"data":{"object":{"amount_due":900,"amount_paid":1200,"currency":"eur"}}}"#,
        );
        let expected = Money {
            amount_minor: 1_200,
            currency: "EUR".into(),
        };
        assert_eq!(money(&paid).expect("a plain payload"), Some(expected));
        let failed = event(
            "invoice.payment_failed",
            r#"{"data":{"object":{"amount_due":900,"amount_paid":0,"currency":"jpy"}}}"#,
        );
        let expected = Money {
            amount_minor: 900,
            currency: "JPY".into(),
        };
        assert_eq!(money(&failed).expect("a plain payload"), Some(expected));
    }

    #[test]
    fn an_event_without_an_amount_is_recorded_without_one() {
        assert_eq!(
            money(&event(
                "customer.created",
                r#"{"data":{"object":{"id":"cus_1"}}}"#
            ))
            .expect("plain"),
            None
        );
        assert_eq!(money(&event("push", "[]")).expect("not Stripe's"), None);
        assert_eq!(money(&event("push", "not json")).expect("not JSON"), None);
    }
}
