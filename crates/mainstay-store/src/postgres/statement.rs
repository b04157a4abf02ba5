//! A person's read-only statement.

use std::{pin::pin, time::Duration};

use deadpool_postgres::ClientWrapper;
use futures_util::TryStreamExt;
use mainstay_domain::{StoreError, StoreResult, store::Table};
use serde_json::Value as Json;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow, types::Type};

use super::error::map_error;

/// What a statement may begin with. The transaction is read-only whatever it is; this keeps out commands that change
/// the session or reach outside the database.
const BEGINNINGS: [&str; 6] = ["SELECT", "WITH", "VALUES", "TABLE", "EXPLAIN", "SHOW"];

/// The most that is answered, over all cells.
const BYTES_MAX: usize = 16 << 20;

/// Runs one statement for at most `limit` and reads at most `rows_max` rows. The connection must not be used again.
pub(super) async fn run(
    client: &ClientWrapper,
    statement: &str,
    rows_max: usize,
    limit: Duration,
) -> StoreResult<Table> {
    let word: String = statement
        .trim_start_matches(|c: char| c.is_whitespace() || c == '(')
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect();
    if !BEGINNINGS.contains(&word.to_ascii_uppercase().as_str()) {
        return Err(StoreError::Bug(
            "only statements that read are allowed".into(),
        ));
    }
    let limit = limit.as_millis();
    let begin = format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {limit}");
    client.batch_execute(&begin).await.map_err(failed)?;
    // Refuses more than one statement, and says what the columns are.
    let prepared = client.prepare(statement).await.map_err(failed)?;
    let columns = prepared.columns();
    let types: Vec<Type> = columns
        .iter()
        .map(|column| column.type_().clone())
        .collect();
    let mut table = Table {
        columns: columns
            .iter()
            .map(|column| column.name().to_owned())
            .collect(),
        rows: Vec::new(),
        truncated: false,
    };
    // As text: every type has one, also those that we have never heard of.
    let mut messages = pin!(client.simple_query_raw(statement).await.map_err(failed)?);
    let mut bytes = 0;
    while let Some(message) = messages.try_next().await.map_err(failed)? {
        let SimpleQueryMessage::Row(row) = message else {
            continue;
        };
        if table.rows.len() == rows_max || bytes > BYTES_MAX {
            table.truncated = true;
            break;
        }
        bytes += (0..row.len())
            .map(|column| row.get(column).map_or(4, str::len))
            .sum::<usize>();
        table.rows.push(cells(&row, &types));
    }
    Ok(table)
}

fn failed(error: tokio_postgres::Error) -> StoreError {
    map_error(&error).error
}

fn cells(row: &SimpleQueryRow, types: &[Type]) -> Vec<Json> {
    let cell = |(column, ty)| row.get(column).map_or(Json::Null, |text| json(text, ty));
    types.iter().enumerate().map(cell).collect()
}

fn json(text: &str, ty: &Type) -> Json {
    let parsed = match *ty {
        Type::BOOL => Some(Json::Bool(text == "t")),
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::FLOAT4 | Type::FLOAT8 => {
            serde_json::from_str(text).ok()
        }
        Type::JSON | Type::JSONB => serde_json::from_str(text).ok(),
        _ => None,
    };
    parsed.unwrap_or_else(|| text.into())
}
