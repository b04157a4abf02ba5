//! One request as it arrived, and why it was refused.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Extension, Json, extract::State};
use mainstay::intake::Diagnosed;
use mainstay_domain::{
    ReceiptId, SourceId, StoreExt,
    intake::{RefusedReceipt, Verdict},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::events::{ReceiptView, headers};
use crate::{
    access::{Caller, reads::InTenant},
    http::{Problem, extract::Id},
    state::App,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(receipt_get))
}

/// Which rule a refused request fails by, with what its source knows now and the clock of the time when it came.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Diagnosis)]
pub(crate) struct DiagnosisView {
    /// A stable word: `genuine`, `secret_missing`, `header_missing`, `malformed`, `clock_skew`, `address_not_allowed`,
    /// `certificate_missing`, `not_kept`, `body_malformed`, `other_source`, `key_encoding`, `body_altered`, `url_differs`,
    /// `test_mode`, `wrong_secret`, `body_not_kept` or `unreadable`.
    cause: String,
    /// The same in a sentence.
    detail: String,
    /// For `clock_skew`: when it came less when it was signed, in seconds; positive when it was signed before.
    clock_difference_secs: Option<i64>,
    /// For `other_source`: the tenant's source whose secret it is signed with.
    #[schema(value_type = Option<String>)]
    other_source_id: Option<SourceId>,
    other_source_name: Option<String>,
}

impl From<Diagnosed> for DiagnosisView {
    fn from(told: Diagnosed) -> Self {
        let (id, name) = told.other_source.unzip();
        Self {
            cause: told.cause.to_owned(),
            detail: told.detail,
            clock_difference_secs: told.clock_difference_secs,
            other_source_id: id,
            other_source_name: name,
        }
    }
}

/// A request with everything that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReceiptDetail {
    #[serde(flatten)]
    receipt: ReceiptView,
    /// Its headers, without credentials.
    headers: BTreeMap<String, String>,
    /// Why it is refused; null where it is not, or where its source is gone.
    diagnosis: Option<DiagnosisView>,
}

/// Show a request, and why it was refused
#[utoipa::path(get, path = "/v1/receipts/{id}", tag = "intake", params(("id" = String, Path, description = "`rcp_…`")),
    responses((status = 200, body = ReceiptDetail)))]
async fn receipt_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<ReceiptId>,
) -> Result<(Option<Extension<InTenant>>, Json<ReceiptDetail>), Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                let Some(receipt) = tx.receipt_get(id).await? else {
                    return Ok(None);
                };
                let body = match receipt.verdict {
                    Verdict::Refused => tx.receipt_body(id).await?,
                    _ => None,
                };
                let source = tx.source_get(receipt.source).await?;
                let tenant = source.map(|source| source.tenant);
                Ok(Some((tenant, RefusedReceipt { receipt, body })))
            })
        })
        .await?;
    let (tenant, found) = found.ok_or_else(|| Problem::not_found("receipt"))?;
    let diagnosis = match found.receipt.verdict {
        Verdict::Refused => app.mainstay.intake.diagnose(&found, app.url()).await,
        _ => None,
    };
    let detail = ReceiptDetail {
        headers: headers(&found.receipt.headers)?,
        receipt: found.receipt.into(),
        diagnosis: diagnosis.map(Into::into),
    };
    // Of a source that is gone nobody knows any more whose it was.
    Ok((
        tenant.map(|tenant| Extension(InTenant(tenant))),
        Json(detail),
    ))
}
