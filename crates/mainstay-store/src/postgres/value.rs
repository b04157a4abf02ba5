//! The store's values as PostgreSQL's parameters and cells.

use bytes::BytesMut;
use mainstay_domain::{StoreError, StoreResult};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::sql::{Row, Value};

type Failure = Box<dyn std::error::Error + Sync + Send>;

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(number) => int_to_sql(*number, ty, out),
            Self::Bool(flag) => flag.to_sql_checked(ty, out),
            Self::Text(text) => text.to_sql_checked(ty, out),
            Self::Bytes(bytes) => bytes.to_sql_checked(ty, out),
            Self::Uuid(id) => id.to_sql_checked(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // Which types fit depends on the value: `to_sql` checks.
        true
    }

    to_sql_checked!();
}

fn int_to_sql(number: i64, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
    match *ty {
        Type::INT2 => i16::try_from(number)?.to_sql(ty, out),
        Type::INT4 => i32::try_from(number)?.to_sql(ty, out),
        _ => number.to_sql_checked(ty, out),
    }
}

/// The type that a parameter is sent as when the statement is not prepared first.
pub(super) fn type_of(value: &Value) -> Type {
    match value {
        // The server works out what a null is.
        Value::Null => Type::UNKNOWN,
        Value::Int(_) => Type::INT8,
        Value::Bool(_) => Type::BOOL,
        Value::Text(_) => Type::TEXT,
        Value::Bytes(_) => Type::BYTEA,
        Value::Uuid(_) => Type::UUID,
    }
}

/// Reads a row. A column of a type that the common subset does not know is a defect of the statement.
pub(super) fn row_of(row: &tokio_postgres::Row) -> StoreResult<Row> {
    let cells = (0..row.len()).map(|column| cell(row, column));
    Ok(Row(cells.collect::<StoreResult<_>>()?))
}

fn cell(row: &tokio_postgres::Row, column: usize) -> StoreResult<Value> {
    let ty = row.columns()[column].type_();
    let value = match *ty {
        Type::INT8 => row.try_get::<_, Option<i64>>(column).map(Value::from),
        Type::INT4 => row.try_get::<_, Option<i32>>(column).map(Value::from),
        Type::INT2 => row.try_get::<_, Option<i16>>(column).map(Value::from),
        Type::BOOL => row.try_get::<_, Option<bool>>(column).map(Value::from),
        Type::TEXT | Type::VARCHAR | Type::NAME => {
            row.try_get::<_, Option<String>>(column).map(Value::from)
        }
        Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(column).map(Value::from),
        Type::UUID => row
            .try_get::<_, Option<uuid::Uuid>>(column)
            .map(Value::from),
        _ => {
            return Err(StoreError::Bug(format!(
                "a column of type {ty} cannot be read"
            )));
        }
    };
    value.map_err(|error| StoreError::Bug(error.to_string()))
}
