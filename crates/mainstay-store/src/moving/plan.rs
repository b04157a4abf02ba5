//! Which tables and columns are moved: what both catalogues say, and nothing that only one of them knows.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use tokio_postgres::Client;

use super::failed;
use crate::{
    setup::{SetupError, SetupResult},
    sqlite::map_error,
};

/// Each database's own.
const OWN: [&str; 1] = ["schema_migration"];
/// The order of commits: each database counts it in its own way.
const ORDER: [(&str, &str); 3] = [("job", "seq"), ("job", "xid"), ("signal", "xid")];
/// What stands there before anybody has used a database, and is replaced.
const MADE_BY_MIGRATIONS: [&str; 9] = [
    "audit_head",
    "checkpoint",
    "config_version",
    "lease",
    "object_index",
    "queue",
    "retention",
    "tally",
    "vault_state",
];

/// How a value is stored on either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// 16 bytes.
    Uuid,
    /// Any bytes.
    Bytes,
    /// Text of UTF-8 without the character 0.
    Text,
    /// 0 or 1.
    Flag,
    /// A number of 2, 4 or 8 bytes.
    Number(u8),
    /// Bytes on SQLite, on PostgreSQL the number that they are, the highest first.
    NumberOfBytes,
}

/// A column that is moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Counted by the database: afterwards it goes on behind what was moved.
    pub(super) counted: bool,
}

/// A table that is moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The columns of the target's primary key, by their places in `columns`.
    pub(super) key: Vec<usize>,
    /// Whether the target's owner is held to its row-level security.
    pub(super) forced: bool,
    /// Whether it refers to others or others refer to it.
    pub(super) referred: bool,
}

/// A column of the target's catalogue.
struct Known {
    name: String,
    of_type: String,
    counted: bool,
}

impl Table {
    /// Whether a database has rows of it that nobody would miss.
    pub(super) fn made_by_migrations(&self) -> bool {
        MADE_BY_MIGRATIONS.contains(&self.name.as_str())
    }

    /// Whether it may be copied before the server is stopped, and mended afterwards: rows come and go without a word to
    /// another table, and its index leads to a part of it, whatever the order of text is on the target.
    pub(super) fn ahead(&self) -> bool {
        let by_text = self.key_columns().any(|column| column.kind == Kind::Text);
        !self.referred && !by_text && !self.made_by_migrations()
    }

    /// The columns of the key, in its order.
    pub(super) fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().filter_map(|place| self.columns.get(*place))
    }

    /// Its columns, quoted.
    pub(super) fn listed(&self) -> String {
        let quoted = self.columns.iter().map(|column| quoted(&column.name));
        quoted.collect::<Vec<_>>().join(", ")
    }

    /// All rows in the order of the key, on SQLite. Nobody holds a lease when a move is over.
    pub(super) fn select_sqlite(&self) -> String {
        let columns =
            self.columns
                .iter()
                .map(|column| match (self.name.as_str(), column.name.as_str()) {
                    ("lease", "expires_at") => "0".to_owned(),
                    (_, name) => quoted(name),
                });
        let key: Vec<String> = self
            .key_columns()
            .map(|column| quoted(&column.name))
            .collect();
        format!(
            "SELECT {} FROM {} ORDER BY {}",
            columns.collect::<Vec<_>>().join(", "),
            quoted(&self.name),
            key.join(", ")
        )
    }

    /// The same on PostgreSQL, of the rows for which the condition holds.
    pub(super) fn select_postgres(&self, condition: &str) -> String {
        format!(
            "SELECT {} FROM {} WHERE {condition} ORDER BY {}",
            self.listed(),
            quoted(&self.name),
            self.key_postgres()
        )
    }

    /// The key's columns on PostgreSQL: text in the order of its bytes, as SQLite has it.
    pub(super) fn key_postgres(&self) -> String {
        let ordered = self.key_columns().map(|column| match column.kind {
            Kind::Text => format!("{} COLLATE \"C\"", quoted(&column.name)),
            _ => quoted(&column.name),
        });
        ordered.collect::<Vec<_>>().join(", ")
    }
}

/// A name as both databases take it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The tables to move, each behind those that it refers to. Fails where the two catalogues do not match.
pub(super) async fn tables(source: &Connection, target: &Client) -> SetupResult<Vec<Table>> {
    let from = sqlite(source)?;
    let mut to = columns(target).await?;
    let (mut keys, forced) = (keys(target).await?, forced(target).await?);
    let references = references(target).await?;
    let mut tables = Vec::new();
    for (name, declared) in from {
        let Some(known) = to.remove(&name) else {
            return Err(odd(&name, "PostgreSQL has no table of this name"));
        };
        let columns = matched(&name, declared, known)?;
        // Numbers of bytes have another order than the bytes.
        let place = |part: &String| {
            let of_name =
                |column: &Column| column.name == *part && column.kind != Kind::NumberOfBytes;
            columns.iter().position(of_name)
        };
        let key = keys.remove(&name).unwrap_or_default();
        let key: Option<Vec<usize>> = key.iter().map(place).collect();
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            return Err(odd(&name, "it has no primary key that is moved"));
        };
        tables.push(Table {
            forced: forced.contains(&name),
            referred: references.contains_key(&name)
                || references.values().any(|parents| parents.contains(&name)),
            name,
            columns,
            key,
        });
    }
    if let Some(name) = to.keys().next() {
        return Err(odd(name, "SQLite has no table of this name"));
    }
    parents_first(tables, &references)
}

fn matched(
    table: &str,
    mut declared: BTreeMap<String, String>,
    known: Vec<Known>,
) -> SetupResult<Vec<Column>> {
    let ordered = |name: &str| ORDER.contains(&(table, name));
    declared.retain(|name, _| !ordered(name));
    let mut columns = Vec::new();
    for Known {
        name,
        of_type,
        counted,
    } in known
    {
        if ordered(&name) {
            continue;
        }
        let Some(own) = declared.remove(&name) else {
            return Err(odd(table, &format!("SQLite has no column {name}")));
        };
        let kind = kind(&own, &of_type).ok_or_else(|| {
            let problem = format!("{name} is {own} on SQLite and {of_type} on PostgreSQL");
            odd(table, &problem)
        })?;
        columns.push(Column {
            name,
            kind,
            counted,
        });
    }
    match declared.keys().next() {
        Some(name) => Err(odd(table, &format!("PostgreSQL has no column {name}"))),
        None => Ok(columns),
    }
}

fn kind(sqlite: &str, postgres: &str) -> Option<Kind> {
    Some(match (sqlite, postgres) {
        ("BLOB", "uuid") => Kind::Uuid,
        ("BLOB", "bytea") => Kind::Bytes,
        ("BLOB", "bigint") => Kind::NumberOfBytes,
        ("TEXT", "text") => Kind::Text,
        ("INTEGER", "boolean") => Kind::Flag,
        ("INTEGER", "smallint") => Kind::Number(2),
        ("INTEGER", "integer") => Kind::Number(4),
        ("INTEGER", "bigint") => Kind::Number(8),
        _ => return None,
    })
}

/// Tables with their columns and these columns' types.
fn sqlite(source: &Connection) -> SetupResult<BTreeMap<String, BTreeMap<String, String>>> {
    let text = "SELECT t.name, c.name, upper(c.type) FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
        WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut statement = source.prepare(text).map_err(map_error)?;
    let mut rows = statement.query([]).map_err(map_error)?;
    let mut tables: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    while let Some(row) = rows.next().map_err(map_error)? {
        let table: String = row.get(0).map_err(map_error)?;
        if OWN.contains(&table.as_str()) {
            continue;
        }
        let (name, of_type) = (
            row.get(1).map_err(map_error)?,
            row.get(2).map_err(map_error)?,
        );
        tables.entry(table).or_default().insert(name, of_type);
    }
    Ok(tables)
}

async fn columns(target: &Client) -> SetupResult<BTreeMap<String, Vec<Known>>> {
    let text = "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attidentity <> ''
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'mainstay'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY c.relname, a.attnum";
    let mut tables: BTreeMap<String, Vec<Known>> = BTreeMap::new();
    for row in target.query(text, &[]).await.map_err(failed)? {
        let table: String = row.get(0);
        if OWN.contains(&table.as_str()) {
            continue;
        }
        tables.entry(table).or_default().push(Known {
            name: row.get(1),
            of_type: row.get(2),
            counted: row.get(3),
        });
    }
    Ok(tables)
}

async fn keys(target: &Client) -> SetupResult<BTreeMap<String, Vec<String>>> {
    let text = "SELECT c.relname::text, a.attname::text
        FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
        WHERE i.indisprimary AND c.relnamespace = 'mainstay'::regnamespace
        ORDER BY c.relname, k.place";
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in target.query(text, &[]).await.map_err(failed)? {
        keys.entry(row.get(0)).or_default().push(row.get(1));
    }
    Ok(keys)
}

async fn forced(target: &Client) -> SetupResult<BTreeSet<String>> {
    let text = "SELECT relname::text FROM pg_catalog.pg_class
        WHERE relnamespace = 'mainstay'::regnamespace AND relforcerowsecurity";
    let rows = target.query(text, &[]).await.map_err(failed)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Which table refers to which others.
async fn references(target: &Client) -> SetupResult<BTreeMap<String, BTreeSet<String>>> {
    let text = "SELECT c.relname::text, p.relname::text
        FROM pg_catalog.pg_constraint AS r
        JOIN pg_catalog.pg_class AS c ON c.oid = r.conrelid JOIN pg_catalog.pg_class AS p ON p.oid = r.confrelid
        WHERE r.contype = 'f' AND c.relnamespace = 'mainstay'::regnamespace AND c.oid <> p.oid";
    let mut references: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in target.query(text, &[]).await.map_err(failed)? {
        references.entry(row.get(0)).or_default().insert(row.get(1));
    }
    Ok(references)
}

fn parents_first(
    mut rest: Vec<Table>,
    references: &BTreeMap<String, BTreeSet<String>>,
) -> SetupResult<Vec<Table>> {
    let mut ordered: Vec<Table> = Vec::new();
    while !rest.is_empty() {
        let waiting: BTreeSet<String> = rest.iter().map(|table| table.name.clone()).collect();
        let waits = |table: &Table| {
            let parents = references.get(&table.name);
            parents.is_some_and(|parents| !parents.is_disjoint(&waiting))
        };
        let (later, ready): (Vec<Table>, Vec<Table>) = rest.into_iter().partition(waits);
        if let (Some(first), true) = (later.first(), ready.is_empty()) {
            return Err(odd(&first.name, "it refers to itself by way of others"));
        }
        ordered.extend(ready);
        rest = later;
    }
    Ok(ordered)
}

fn odd(table: &str, problem: &str) -> SetupError {
    SetupError::Unmovable {
        table: table.to_owned(),
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use mainstay_testkit::TestDatabase;

    use super::*;
    use crate::{postgres::connect_plain, sqlite::open_reader};

    #[test]
    fn every_table_and_column_of_either_database_is_moved_or_known_to_be_its_own() {
        mainstay_testkit::run(async {
            let (sqlite, postgres) = (TestDatabase::sqlite().await, TestDatabase::postgres().await);
            let file = sqlite.sqlite_file().expect("a file");
            let source = open_reader(&file, 1_024).expect("it opens");
            let scratch = postgres.scratch().expect("a database");
            let url = scratch.url_as("postgres").parse().expect("a good URL");
            let target = connect_plain(&url).await.expect("it connects");
            let tables = tables(&source, &target).await.expect("they match");
            let place = |name: &str| tables.iter().position(|table| table.name == name);
            assert!(place("tenant") < place("source"), "parents come first");
            assert!(place("source") < place("source_secret"));
            // What grows with every webhook is copied before the pause.
            for name in [
                "event",
                "receipt",
                "dedup",
                "job",
                "attempt",
                "attempt_start",
                "object_mention",
            ] {
                assert!(
                    tables
                        .iter()
                        .any(|table| table.name == name && table.ahead()),
                    "{name}"
                );
            }
            assert!(
                tables
                    .iter()
                    .any(|table| table.name == "tenant" && !table.ahead())
            );
            // Whatever is there before anybody has used a database would stand in the way of a move.
            for table in tables.iter().filter(|table| !table.made_by_migrations()) {
                let count = format!("SELECT count(*) FROM {}", quoted(&table.name));
                let rows = target.query_one(&count, &[]).await.expect("it is counted");
                assert_eq!(rows.get::<_, i64>(0), 0, "{}", table.name);
            }
            drop(source);
            sqlite.finish().await;
            postgres.finish().await;
        });
    }

    #[test]
    fn values_that_the_other_side_has_no_form_for_are_refused() {
        assert_eq!(kind("REAL", "double precision"), None);
        assert_eq!(kind("TEXT", "jsonb"), None);
        assert_eq!(kind("BLOB", "uuid"), Some(Kind::Uuid));
    }

    #[test]
    fn tables_that_refer_to_each_other_in_a_circle_are_refused() {
        let table = |name: &str| Table {
            name: name.to_owned(),
            columns: Vec::new(),
            key: Vec::new(),
            forced: false,
            referred: true,
        };
        let to = |name: &str| BTreeSet::from([name.to_owned()]);
        let circle = BTreeMap::from([("a".to_owned(), to("b")), ("b".to_owned(), to("a"))]);
        assert!(parents_first(vec![table("a"), table("b")], &circle).is_err());
        let line = BTreeMap::from([("a".to_owned(), to("b"))]);
        let ordered = parents_first(vec![table("a"), table("b")], &line).expect("an order");
        assert_eq!(ordered[0].name, "b");
    }
}
