//! A transaction's connection on SQLite. Every call answers at once: no future of it is ever pending.

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

use async_trait::async_trait;
use mainstay_domain::StoreResult;
use rusqlite::{
    CachedStatement, Connection, Statement, ToSql,
    types::{ToSqlOutput, ValueRef},
};

use super::{error::map_error, open::Deadline};
use crate::sql::{Conn, Row, Sql, Value};

/// The connection of one open transaction.
///
/// Held by `&mut`, because a connection may move between threads but not be shared by them. Prepared statements borrow
/// it and must be gone before the next `.await`; verbs therefore do their work in plain functions.
pub(crate) struct SqliteConn<'a> {
    connection: &'a mut Connection,
    deadline: &'a Deadline,
}

impl<'a> SqliteConn<'a> {
    pub(crate) fn new(connection: &'a mut Connection, deadline: &'a Deadline) -> Self {
        Self {
            connection,
            deadline,
        }
    }

    /// How long the rest of this transaction may take.
    pub(crate) fn statement_timeout(&self, limit: Duration) {
        self.deadline.set(limit);
    }

    /// The connection itself.
    #[cfg(test)]
    pub(crate) fn raw(&self) -> &Connection {
        self.connection
    }

    /// A statement of SQLite's own dialect (`?1` parameters) from the cache.
    pub(crate) fn prepare_cached(&self, text: &str) -> StoreResult<CachedStatement<'_>> {
        self.connection.prepare_cached(text).map_err(map_error)
    }

    /// A statement of the common subset (`$1` parameters) from the cache.
    pub(crate) fn prepare_common(&self, sql: &'static Sql) -> StoreResult<CachedStatement<'_>> {
        self.prepare_cached(&translated(sql))
    }

    fn execute_now(&self, sql: &'static Sql, params: &[Value]) -> StoreResult<u64> {
        let mut statement = self.prepare_common(sql)?;
        let changed = statement.execute(rusqlite::params_from_iter(params));
        Ok(changed.map_err(map_error)? as u64)
    }

    fn query_now(&self, sql: &'static Sql, params: &[Value]) -> StoreResult<Vec<Row>> {
        rows(&mut *self.prepare_common(sql)?, params)
    }

    fn query_built_now(&self, text: &str, params: &[Value]) -> StoreResult<Vec<Row>> {
        // Not cached: there are more of them than the cache should hold.
        let mut statement = self
            .connection
            .prepare(&translate(text))
            .map_err(map_error)?;
        rows(&mut statement, params)
    }
}

#[async_trait]
impl Conn for SqliteConn<'_> {
    async fn execute(&mut self, sql: &'static Sql, params: &[Value]) -> StoreResult<u64> {
        self.execute_now(sql, params)
    }

    async fn query(&mut self, sql: &'static Sql, params: &[Value]) -> StoreResult<Vec<Row>> {
        self.query_now(sql, params)
    }

    async fn query_built(&mut self, text: &str, params: &[Value]) -> StoreResult<Vec<Row>> {
        self.query_built_now(text, params)
    }
}

fn rows(statement: &mut Statement<'_>, params: &[Value]) -> StoreResult<Vec<Row>> {
    let columns = statement.column_count();
    let mut found = statement
        .query(rusqlite::params_from_iter(params))
        .map_err(map_error)?;
    let mut all = Vec::new();
    while let Some(row) = found.next().map_err(map_error)? {
        let cells = (0..columns).map(|column| row.get_ref(column).map(cell));
        all.push(Row(cells.collect::<Result<_, _>>().map_err(map_error)?));
    }
    Ok(all)
}

fn cell(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        // No column of the schema holds a fraction (STRICT tables); an expression that makes one is a defect.
        ValueRef::Real(number) => Value::Text(number.to_string()),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Bool(flag) => ValueRef::Integer((*flag).into()),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Uuid(id) => ValueRef::Blob(id.as_bytes()),
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

thread_local! {
    /// One entry per statement, keyed by its address; each thread of the store owns one connection.
    static TRANSLATED: RefCell<HashMap<usize, Rc<str>>> = RefCell::default();
}

fn translated(sql: &'static Sql) -> Rc<str> {
    let key = std::ptr::from_ref(sql) as usize;
    TRANSLATED.with_borrow_mut(|known| {
        Rc::clone(
            known
                .entry(key)
                .or_insert_with(|| translate(sql.text).into()),
        )
    })
}

/// `$1` becomes `?1`: SQLite numbers `$name` parameters by where they first appear, not by their name.
pub(crate) fn translate(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        quoted ^= c == '\'';
        let parameter = c == '$' && !quoted && chars.peek().is_some_and(char::is_ascii_digit);
        out.push(if parameter { '?' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn parameters_are_renumbered_and_literals_left_alone() {
        assert_eq!(
            translate("SELECT '$1', $2, json(x, '$.a') WHERE a = $12"),
            "SELECT '$1', ?2, json(x, '$.a') WHERE a = ?12"
        );
    }
}
