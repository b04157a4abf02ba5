//! Billing: the providers' events of money.

pub(crate) mod queries;

use async_trait::async_trait;
use mainstay_domain::{
    EventId, StoreError, StoreResult, TenantId,
    billing::{BillingEvent, BillingTx},
};

use crate::{
    sql::Row,
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

    async fn billing_event_get(
        &mut self,
        tenant: TenantId,
        event: EventId,
    ) -> StoreResult<Option<BillingEvent>> {
        self.scope.admit(tenant)?;
        let read = |row: &Row| {
            Ok(BillingEvent {
                tenant,
                event,
                kind: row.get(0)?,
                amount_minor: row.get(1)?,
                currency: row.get(2)?,
                occurred_at: row.get(3)?,
                created_at: row.get(4)?,
            })
        };
        self.first(&queries::BILLING_EVENT_GET, values![tenant, event], read)
            .await
    }
}
