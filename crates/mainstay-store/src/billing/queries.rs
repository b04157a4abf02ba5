//! The statements of billing.

use crate::queries;

queries! {
    /// Nothing happens where it is there: an error would end the whole transaction on PostgreSQL, and with it the
    /// job that is about to be done.
    BILLING_EVENT_INSERT: Tenant = "
        INSERT INTO billing_event (tenant_id, event_id, kind, amount_minor, currency, occurred_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, event_id) DO NOTHING";
    BILLING_EVENT_GET: Tenant = "
        SELECT kind, amount_minor, currency, occurred_at, created_at FROM billing_event
        WHERE tenant_id = $1 AND event_id = $2";
}
