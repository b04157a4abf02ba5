//! Billing: the providers' events of money.

pub(crate) mod queries;

use async_trait::async_trait;
use mainstay_domain::{
    StoreError, StoreResult,
    billing::{BillingEvent, BillingTx},
};

use crate::{
    tx::SqlTx,
    verbs::{reference, values},
};

#[async_trait]
impl BillingTx for SqlTx<'_> {
    async fn billing_event_insert(&mut self, event: &BillingEvent) -> StoreResult<()> {
        self.scope.admit(event.tenant)?;
        let params = values![
            event.tenant,
            event.event,
            &*event.kind,
            event.amount_minor,
            event.currency.as_deref(),
            event.occurred_at,
            event.created_at,
        ];
        let inserted = self.changed(&queries::BILLING_EVENT_INSERT, params).await;
        match reference(inserted, "billing event")? {
            true => Ok(()),
            false => Err(StoreError::Conflict {
                what: "billing event",
            }),
        }
    }
}
