//! The common ground of both databases: statements, values, rows.
//!
//! Statements use `$1` parameters, `ON CONFLICT` and `RETURNING`; times and ids are always passed in. Ids are 16 bytes
//! (`BLOB` on SQLite, `uuid` on PostgreSQL), times `BIGINT` microseconds, flags `BOOLEAN`, JSON is `TEXT`.

use async_trait::async_trait;
use mainstay_domain::{StoreError, StoreResult, Timestamp};
use uuid::Uuid;

/// Whose rows a statement may touch; a test over every statement holds it to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Carries `tenant_id = $n` for every tenant table that it names.
    Tenant,
    /// Touches no tenant table.
    Platform,
    /// Goes across tenants; only ever run in the system scope.
    System,
}

/// One statement of the common subset.
#[derive(Debug, PartialEq, Eq)]
pub struct Sql {
    /// Its name, unique: shown in errors and slow-query logs.
    pub name: &'static str,
    /// Whose rows it may touch.
    pub reach: Reach,
    /// The text.
    pub text: &'static str,
}

/// Declares statements and the list `ALL` of a `queries` module:
/// `queries! { EVENT_GET: Tenant = "SELECT …"; … }`.
#[macro_export]
macro_rules! queries {
    ($($(#[$doc:meta])* $name:ident : $reach:ident = $text:expr;)*) => {
        $($(#[$doc])* pub(crate) static $name: $crate::sql::Sql = $crate::sql::Sql {
            name: stringify!($name),
            reach: $crate::sql::Reach::$reach,
            text: $text,
        };)*
        /// Every statement of this module, for the tests that prepare and parse them all.
        #[cfg(test)]
        #[allow(dead_code, reason = "tests have statements of their own")]
        pub(crate) static ALL: &[&$crate::sql::Sql] = &[$(&$name),*];
    };
}

/// A parameter or a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A whole number, a time in microseconds.
    Int(i64),
    /// A flag.
    Bool(bool),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An id.
    Uuid(Uuid),
}

macro_rules! value_from {
    ($($from:ty => |$value:ident| $to:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $to
            }
        }
    )*};
}

value_from! {
    i64 => |value| Self::Int(value);
    i32 => |value| Self::Int(value.into());
    i16 => |value| Self::Int(value.into());
    bool => |value| Self::Bool(value);
    &str => |value| Self::Text(value.to_owned());
    String => |value| Self::Text(value);
    &[u8] => |value| Self::Bytes(value.to_vec());
    Vec<u8> => |value| Self::Bytes(value);
    Uuid => |value| Self::Uuid(value);
    Timestamp => |value| Self::Int(value.micros());
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row: its cells in the order of the statement's columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub Vec<Value>);

/// What a cell can be read as.
pub trait Cell: Sized {
    /// Reads the cell; `None` when it holds something else.
    fn read(value: &Value) -> Option<Self>;
}

macro_rules! cell {
    ($($to:ty => |$value:ident| $read:expr;)*) => {$(
        impl Cell for $to {
            fn read($value: &Value) -> Option<Self> {
                $read
            }
        }
    )*};
}

cell! {
    i64 => |value| match value { Value::Int(n) => Some(*n), _ => None };
    i32 => |value| match value { Value::Int(n) => i32::try_from(*n).ok(), _ => None };
    i16 => |value| match value { Value::Int(n) => i16::try_from(*n).ok(), _ => None };
    // SQLite has no flags: they come back as 0 and 1.
    bool => |value| match value { Value::Bool(flag) => Some(*flag), Value::Int(n) => Some(*n != 0), _ => None };
    String => |value| match value { Value::Text(text) => Some(text.clone()), _ => None };
    Vec<u8> => |value| match value { Value::Bytes(bytes) => Some(bytes.clone()), _ => None };
    // SQLite has no ids: they come back as 16 bytes.
    Uuid => |value| match value {
        Value::Uuid(id) => Some(*id),
        Value::Bytes(bytes) => Uuid::from_slice(bytes).ok(),
        _ => None,
    };
    Timestamp => |value| match value { Value::Int(n) => Some(Self::from_micros(*n)), _ => None };
}

impl<T: Cell> Cell for Option<T> {
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            other => T::read(other).map(Some),
        }
    }
}

impl Row {
    /// The cell in this column. A cell of another type is a defect of the statement or of the data.
    pub fn get<T: Cell>(&self, column: usize) -> StoreResult<T> {
        self.0.get(column).and_then(T::read).ok_or_else(|| {
            StoreError::Corrupt(format!(
                "column {column} is not what the statement promises"
            ))
        })
    }
}

/// One open transaction on either database.
#[async_trait]
pub trait Conn: Send {
    /// Runs a statement; answers how many rows it changed.
    async fn execute(&mut self, sql: &'static Sql, params: &[Value]) -> StoreResult<u64>;
    /// Runs a statement and reads all of its rows.
    async fn query(&mut self, sql: &'static Sql, params: &[Value]) -> StoreResult<Vec<Row>>;
    /// Runs a statement that was put together from checked parts (a list's filter). `text` has `$n` parameters.
    async fn query_built(&mut self, text: &str, params: &[Value]) -> StoreResult<Vec<Row>>;
}
