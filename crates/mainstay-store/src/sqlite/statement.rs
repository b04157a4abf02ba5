//! A person's read-only statement, on a connection of its own that can do nothing but read this one file.

use std::{path::Path, time::Duration};

use mainstay_domain::{StoreError, StoreResult, store::Table};
use rusqlite::{
    Connection,
    hooks::{AuthAction, AuthContext, Authorization},
    limits::Limit,
    types::ValueRef,
};
use serde_json::Value as Json;

use super::{
    error::map_error,
    open::{Deadline, open_reader},
};

/// The longest text or blob that a statement may make.
const CELL_BYTES_MAX: i32 = 4 << 20;
/// The most that is answered, over all cells.
const BYTES_MAX: usize = 16 << 20;
const CACHE_KIB: u32 = 2_048;

/// Runs one statement for at most `limit` and reads at most `rows_max` rows.
pub(super) fn run(
    path: &Path,
    statement: &str,
    rows_max: usize,
    limit: Duration,
) -> StoreResult<Table> {
    let mut connection = open_reader(path, CACHE_KIB)?;
    let deadline = Deadline::watch(&mut connection)?;
    connection
        .set_limit(Limit::SQLITE_LIMIT_LENGTH, CELL_BYTES_MAX)
        .map_err(map_error)?;
    connection.authorizer(Some(authorize)).map_err(map_error)?;
    deadline.set(limit);
    read(&connection, statement, rows_max)
}

/// Reading and what pages of documentation name for looking at the schema and at what it takes; nothing that opens another file or changes
/// the connection.
fn authorize(context: AuthContext<'_>) -> Authorization {
    const PRAGMAS: [&str; 6] = [
        "foreign_key_list",
        "index_info",
        "index_list",
        "table_info",
        "table_list",
        "table_xinfo",
    ];
    const SIZES: [&str; 3] = ["freelist_count", "page_count", "page_size"];
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => {
            Authorization::Allow
        }
        AuthAction::Function { function_name } if function_name != "load_extension" => {
            Authorization::Allow
        }
        AuthAction::Pragma { pragma_name, .. } if PRAGMAS.contains(&pragma_name) => {
            Authorization::Allow
        }
        // With a value it would change the file.
        AuthAction::Pragma {
            pragma_name,
            pragma_value: None,
        } if SIZES.contains(&pragma_name) => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

fn read(connection: &Connection, statement: &str, rows_max: usize) -> StoreResult<Table> {
    let mut prepared = connection.prepare(statement).map_err(map_error)?;
    if !prepared.readonly() {
        return Err(StoreError::Bug(
            "only statements that read are allowed".into(),
        ));
    }
    let columns: Vec<String> = prepared.column_names().map(ToOwned::to_owned).collect();
    let mut table = Table {
        rows: Vec::new(),
        truncated: false,
        columns,
    };
    let mut found = prepared.query([]).map_err(map_error)?;
    let mut bytes = 0;
    while let Some(row) = found.next().map_err(map_error)? {
        if table.rows.len() == rows_max || bytes > BYTES_MAX {
            table.truncated = true;
            break;
        }
        let cells = (0..table.columns.len()).map(|column| row.get_ref(column));
        let cells: Vec<ValueRef<'_>> = cells.collect::<Result<_, _>>().map_err(map_error)?;
        bytes += cells.iter().map(size).sum::<usize>();
        table.rows.push(cells.into_iter().map(json).collect());
    }
    Ok(table)
}

fn size(value: &ValueRef<'_>) -> usize {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
        _ => 8,
    }
}

fn json(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => crate::hex::shown(bytes).into(),
    }
}
