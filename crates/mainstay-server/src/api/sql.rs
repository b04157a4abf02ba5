//! Read-only statements of a person's.

use std::sync::Arc;

use axum::{Json, extract::State};
use mainstay_domain::{Scope, StoreError, StoreExt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    access::Caller,
    http::{
        Code, Problem,
        extract::{Checks, Input},
    },
    limits,
    state::App,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(sql))
}

/// A statement.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlInput {
    /// One statement that reads.
    #[schema(min_length = 1, max_length = 65536)]
    statement: String,
}

/// What a statement answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SqlTable {
    columns: Vec<String>,
    rows: Vec<Vec<serde_json::Value>>,
    /// Whether there are more rows than are shown.
    truncated: bool,
}

/// Run a read-only statement
///
/// For owners who reach the whole installation. Bounded in rows and time; what was asked stands in the audit log.
#[utoipa::path(post, path = "/v1/sql", tag = "watch", request_body = SqlInput,
    responses((status = 200, body = SqlTable)))]
async fn sql(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<SqlInput>,
) -> Result<Json<SqlTable>, Problem> {
    caller.everywhere()?;
    let statement = input.value.statement;
    let mut checks = Checks::default();
    let fits = (1..=limits::SQL_BYTES_MAX).contains(&statement.len());
    checks.ensure(
        fits,
        "/statement",
        &format!("must have 1 to {} bytes", limits::SQL_BYTES_MAX),
    );
    checks.ensure(
        !statement.contains('\0'),
        "/statement",
        "has a NUL character in it",
    );
    checks.done()?;
    let told = caller.audit(
        &app,
        "sql.read",
        "",
        Some(serde_json::json!({ "statement": statement })),
        None,
    );
    app.store
        .transact(Scope::System("sql"), move |tx| {
            let told = told.clone();
            Box::pin(async move { tx.audit_insert(&told).await })
        })
        .await?;
    let table = app
        .store
        .query(Scope::System("sql"), statement, limits::SQL_ROWS_MAX)
        .await
        .map_err(refused)?;
    Ok(Json(SqlTable {
        columns: table.columns,
        rows: table.rows,
        truncated: table.truncated,
    }))
}

/// What is wrong with a statement is the caller's own affair, and the caller may read it all.
fn refused(error: StoreError) -> Problem {
    match error {
        StoreError::Bug(detail) => Problem::new(Code::StatementRefused, detail),
        StoreError::Timeout => Problem::new(
            Code::StatementRefused,
            "the statement took longer than it may",
        ),
        other => other.into(),
    }
}
