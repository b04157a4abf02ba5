//! The audit log: who did what, written in the transaction of what it tells.

use mainstay_domain::{AuditId, TenantId, access::AuditEntry};

use super::Caller;
use crate::state::App;

/// An entry, without secrets in its detail.
pub(crate) fn entry(
    app: &App,
    actor: String,
    action: &str,
    subject: String,
    detail: Option<serde_json::Value>,
    tenant: Option<TenantId>,
) -> AuditEntry {
    let now = app.clock.now();
    AuditEntry {
        id: AuditId::new(now, &*app.random),
        at: now,
        actor,
        action: action.to_owned(),
        subject,
        detail: detail.map(|value| value.to_string()),
        tenant,
    }
}

impl Caller {
    /// What this caller did.
    pub(crate) fn audit(
        &self,
        app: &App,
        action: &str,
        subject: impl ToString,
        detail: Option<serde_json::Value>,
        tenant: Option<TenantId>,
    ) -> AuditEntry {
        entry(
            app,
            self.actor(),
            action,
            subject.to_string(),
            detail,
            tenant.or(self.tenant),
        )
    }
}

/// The entry in the data of the tenant that it turned out to be about.
pub(crate) fn in_tenant(entry: AuditEntry, tenant: TenantId) -> AuditEntry {
    AuditEntry {
        tenant: Some(tenant),
        ..entry
    }
}
