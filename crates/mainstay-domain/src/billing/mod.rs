//! Billing: the providers' events of money, stored locally.

use async_trait::async_trait;

use crate::{
    error::StoreResult,
    id::{EventId, TenantId},
    time::Timestamp,
};

/// A provider's event of billing, stored locally (INT-16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillingEvent {
    /// Whose it is.
    pub tenant: TenantId,
    /// The event behind it.
    pub event: EventId,
    /// The provider's type, e.g. `invoice.paid`.
    pub kind: String,
    /// The amount in minor units, where the provider's object has one.
    pub amount_minor: Option<i64>,
    /// The ISO 4217 code of the amount, upper case.
    pub currency: Option<String>,
    /// When the provider says that it happened, else when it was received.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub created_at: Timestamp,
}

/// The store's verbs of billing.
#[async_trait]
pub trait BillingTx: Send {
    /// Records a billing event. Conflict when the event is recorded already: a built-in effect happens once.
    async fn billing_event_insert(&mut self, event: &BillingEvent) -> StoreResult<()>;
    /// What is recorded of an event.
    async fn billing_event_get(
        &mut self,
        tenant: TenantId,
        event: EventId,
    ) -> StoreResult<Option<BillingEvent>>;
}
