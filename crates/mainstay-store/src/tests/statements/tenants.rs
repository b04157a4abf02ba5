//! Whose rows a statement touches, read from its text.
//!
//! SQLite has no row-level security: there, nothing but the statement keeps tenants apart. So each SELECT, UPDATE and
//! DELETE of a tenant's statement must hold every tenant table that it names to a parameter, where it names it; and an
//! INSERT must set the column to one. What the parser does not understand fails.

use std::ops::ControlFlow;

use sqlparser::{
    ast::{
        AssignmentTarget, BinaryOperator, Expr, FromTable, Insert, ObjectName, Select, SelectItem,
        SetExpr, Statement as Parsed, TableFactor, TableObject, TableWithJoins, Value, Visit,
        Visitor,
    },
    dialect::{Dialect, PostgreSqlDialect, SQLiteDialect},
    parser::Parser,
};

use super::common;
use crate::sql::Reach;

/// Tables and views with rows of tenants; the column is `tenant_id`, of the tenants themselves `id`.
const TENANT_TABLES: &[&str] = &[
    "api_key",
    "attempt",
    "attempt_start",
    "audit",
    "billing_event",
    "binding",
    "breaker_change",
    "breaker_rule",
    "breaker_state",
    "data_key",
    "dead_letter",
    "endpoint",
    "event",
    "event_conflict",
    "event_new",
    "event_schema",
    "event_shape",
    "event_status",
    "event_violation",
    "expectation",
    "expectation_met",
    "expectation_tally",
    "idempotency",
    "job",
    "job_state",
    "line",
    "line_job",
    "object_kind",
    "object_note",
    "object_source",
    "replay",
    "rhythm_counted",
    "rhythm_hour",
    "rhythm_signal",
    "rhythm_type",
    "saga",
    "saga_run",
    "saga_version",
    "schedule",
    "schedule_tick",
    "signal",
    "source",
    "source_drift",
    "source_former",
    "source_link",
    "source_secret",
    "tenant",
    "unique_key",
];

fn column(table: &str) -> &'static str {
    if table == "tenant" { "id" } else { "tenant_id" }
}

fn last(name: &ObjectName) -> String {
    name.0.last().map(ToString::to_string).unwrap_or_default()
}

/// Counts the tenant tables that are named, and those of them that are held to a parameter.
#[derive(Default)]
struct Tables {
    named: Vec<String>,
    held: Vec<String>,
}

impl Tables {
    /// The tables of one FROM, held by one WHERE.
    fn scope(&mut self, from: &[TableWithJoins], condition: Option<&Expr>) {
        let joined = from.iter().flat_map(|one| {
            std::iter::once(&one.relation).chain(one.joins.iter().map(|join| &join.relation))
        });
        let tables: Vec<(String, String)> = joined
            .filter_map(|factor| match factor {
                TableFactor::Table { name, alias, .. } => {
                    let table = last(name);
                    let alias = alias
                        .as_ref()
                        .map_or(table.clone(), |alias| alias.name.to_string());
                    Some((table, alias))
                }
                _ => None,
            })
            .collect();
        let alone = tables.len() == 1;
        let mut conjuncts = Vec::new();
        split(condition, &mut conjuncts);
        for (table, alias) in tables {
            let is_held = conjuncts
                .iter()
                .any(|one| holds(one, &alias, column(&table), alone));
            if TENANT_TABLES.contains(&&*table) && is_held {
                self.held.push(table);
            }
        }
    }

    fn insert(&mut self, insert: &Insert) {
        let TableObject::TableName(name) = &insert.table else {
            return;
        };
        let table = last(name);
        let place = insert
            .columns
            .iter()
            .position(|one| last(one) == column(&table));
        let (Some(place), Some(source)) = (place, &insert.source) else {
            return;
        };
        let value = match &*source.body {
            SetExpr::Values(values) => values
                .rows
                .iter()
                .all(|row| row.content.get(place).is_some_and(parameter)),
            SetExpr::Select(select) => matches!(select.projection.get(place),
                Some(SelectItem::UnnamedExpr(value)) if parameter(value)),
            _ => false,
        };
        if TENANT_TABLES.contains(&&*table) && value {
            self.held.push(table);
        }
    }
}

impl Visitor for Tables {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let table = last(relation);
        if TENANT_TABLES.contains(&&*table) {
            self.named.push(table);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.scope(&select.from, select.selection.as_ref());
        ControlFlow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &Parsed) -> ControlFlow<()> {
        match statement {
            Parsed::Insert(insert) => self.insert(insert),
            Parsed::Delete(delete) => {
                let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) =
                    &delete.from;
                self.scope(from, delete.selection.as_ref());
            }
            Parsed::Update(update) => {
                self.scope(
                    std::slice::from_ref(&update.table),
                    update.selection.as_ref(),
                );
                let moves = update.assignments.iter().any(|one| {
                    matches!(&one.target, AssignmentTarget::ColumnName(name) if last(name) == "tenant_id")
                });
                assert!(!moves, "a row never changes its tenant: {statement}");
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The members of an AND.
fn split<'e>(condition: Option<&'e Expr>, into: &mut Vec<&'e Expr>) {
    match condition {
        Some(Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        }) => {
            split(Some(left), into);
            split(Some(right), into);
        }
        Some(Expr::Nested(inner)) => split(Some(inner), into),
        Some(other) => into.push(other),
        None => {}
    }
}

/// `alias.column = $n`, or without the alias where there is only one table.
fn holds(condition: &Expr, alias: &str, column: &str, alone: bool) -> bool {
    let Expr::BinaryOp {
        left,
        op: BinaryOperator::Eq,
        right,
    } = condition
    else {
        return false;
    };
    let names = match &**left {
        Expr::Identifier(name) => alone && name.value == column,
        Expr::CompoundIdentifier(parts) => {
            matches!(&parts[..], [table, name] if table.value == alias && name.value == column)
        }
        _ => false,
    };
    names && parameter(right)
}

fn parameter(value: &Expr) -> bool {
    matches!(value, Expr::Value(value) if matches!(&value.value, Value::Placeholder(_)))
}

fn tables(text: &str, dialect: &dyn Dialect) -> Tables {
    let parsed = Parser::parse_sql(dialect, text);
    let parsed = parsed.unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(parsed.len(), 1, "one statement: {text}");
    let mut tables = Tables::default();
    let _ = parsed.visit(&mut tables);
    tables.named.sort();
    tables.held.sort();
    tables
}

fn proven(dialect: &dyn Dialect) {
    for one in common() {
        let found = tables(&one.text, dialect);
        match one.reach {
            Reach::Tenant => assert_eq!(found.named, found.held, "{}: {}", one.name, one.text),
            Reach::Platform => {
                assert_eq!(found.named, [] as [&str; 0], "{}: {}", one.name, one.text);
            }
            // Only ever run in the system's scope, which names itself.
            Reach::System => assert_ne!(found.named, [] as [&str; 0], "{}: {}", one.name, one.text),
        }
    }
}

#[test]
fn every_statement_holds_its_tables_to_their_tenant_as_sqlite_reads_it() {
    proven(&SQLiteDialect {});
}

#[test]
fn every_statement_holds_its_tables_to_their_tenant_as_postgres_reads_it() {
    proven(&PostgreSqlDialect {});
}

#[test]
fn a_table_that_is_not_held_is_noticed() {
    for text in [
        "SELECT id FROM job",
        "SELECT id FROM job WHERE tenant_id = tenant_id",
        "SELECT id FROM job WHERE tenant_id = $1 OR id = $2",
        "SELECT j.id FROM job AS j, event AS e WHERE j.tenant_id = $1",
        "SELECT id FROM event WHERE tenant_id = $1 AND id IN (SELECT event_id FROM job)",
        "SELECT q.number FROM queue AS q WHERE EXISTS (SELECT 1 FROM job AS j WHERE j.queue = q.number)",
        "DELETE FROM event WHERE id = $1",
        "UPDATE source SET name = $1 WHERE id = $2",
        "INSERT INTO event (tenant_id, id) SELECT tenant_id, id FROM event WHERE tenant_id = $1",
        "SELECT t.id FROM tenant AS t WHERE t.id > $1",
    ] {
        let found = tables(text, &SQLiteDialect {});
        assert_ne!(found.named, found.held, "{text}");
    }
}

#[test]
fn every_table_with_a_tenant_is_known_here() {
    mainstay_testkit::run(async {
        let scratch = mainstay_testkit::Cluster::of_this_run().migrated().await;
        let client = scratch.client().await;
        let named = "SELECT DISTINCT table_name::text FROM information_schema.columns
            WHERE table_schema = 'mainstay' AND (column_name = 'tenant_id' OR table_name = 'tenant') ORDER BY 1";
        let rows = client.query(named, &[]).await.expect("it answers");
        let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, TENANT_TABLES);
    });
}
