//! The tables that migrations made so far, as far as their keys and indexes go.

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::ast::{
    AlterTableOperation, ColumnDef, ColumnOption, CreateIndex, CreateTable, Expr, Ident,
    IndexColumn, ObjectName, ObjectType, RenameTableNameKind, Statement, TableConstraint,
};

use super::{Finding, Place, Rule};

/// What is known of the tables.
#[derive(Default)]
pub(super) struct Schema {
    tables: BTreeMap<String, Table>,
}

#[derive(Default)]
struct Table {
    /// By the migration that is being read.
    new: bool,
    indexes: Vec<Index>,
    references: Vec<Reference>,
}

struct Index {
    name: Option<String>,
    columns: Vec<String>,
}

struct Reference {
    name: Option<String>,
    columns: BTreeSet<String>,
    to: String,
    place: Place,
    /// It was applied long ago, or says why it is safe.
    unjudged: bool,
}

impl Schema {
    /// Another migration begins.
    pub(super) fn begin(&mut self) {
        self.tables.values_mut().for_each(|table| table.new = false);
    }

    /// Whether the migration that is being read made this table.
    pub(super) fn made(&self, name: &ObjectName) -> bool {
        self.tables.get(&key(name)).is_some_and(|table| table.new)
    }

    /// What the statement changes. `unjudged`: its foreign keys need no index.
    pub(super) fn apply(&mut self, statement: &Statement, place: &Place, unjudged: bool) {
        match statement {
            Statement::CreateTable(table) => self.created(table, place, unjudged),
            Statement::CreateIndex(index) => self.indexed(index),
            Statement::Drop {
                object_type, names, ..
            } => {
                for name in names {
                    self.dropped(*object_type, name);
                }
            }
            Statement::AlterTable(alter) => {
                let mut name = key(&alter.name);
                for operation in &alter.operations {
                    if let AlterTableOperation::RenameTable {
                        table_name: RenameTableNameKind::As(to) | RenameTableNameKind::To(to),
                    } = operation
                    {
                        let table = self.tables.remove(&name).unwrap_or_default();
                        name = key(to);
                        self.tables.insert(name.clone(), table);
                        continue;
                    }
                    let table = self.tables.entry(name.clone()).or_default();
                    table.altered(operation, place, unjudged);
                }
            }
            _ => {}
        }
    }

    fn created(&mut self, created: &CreateTable, place: &Place, unjudged: bool) {
        let name = key(&created.name);
        // It may have been there, with its rows.
        if created.if_not_exists && self.tables.contains_key(&name) {
            return;
        }
        let mut table = Table {
            new: !created.if_not_exists,
            ..Table::default()
        };
        for column in &created.columns {
            table.column(column, place, unjudged);
        }
        for constraint in &created.constraints {
            table.constraint(constraint, place, unjudged);
        }
        self.tables.insert(name, table);
    }

    fn indexed(&mut self, index: &CreateIndex) {
        let columns = names(&index.columns);
        // A part of the rows is enough where it has all that refer to something.
        let whole = match &index.predicate {
            None => true,
            Some(Expr::IsNotNull(column)) => match &**column {
                Expr::Identifier(column) => columns.contains(&plain(column)),
                _ => false,
            },
            Some(_) => false,
        };
        if whole {
            let table = self.tables.entry(key(&index.table_name)).or_default();
            table.indexes.push(Index {
                name: index.name.as_ref().map(key),
                columns,
            });
        }
    }

    fn dropped(&mut self, kind: ObjectType, name: &ObjectName) {
        let name = key(name);
        match kind {
            ObjectType::Table => drop(self.tables.remove(&name)),
            ObjectType::Index => {
                for table in self.tables.values_mut() {
                    table
                        .indexes
                        .retain(|index| index.name.as_ref() != Some(&name));
                }
            }
            _ => {}
        }
    }

    /// The foreign keys that no index leads from, after all migrations.
    pub(super) fn foreign_keys_without_index(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, table) in &self.tables {
            for reference in &table.references {
                if !reference.unjudged && !table.leads(&reference.columns) {
                    let columns: Vec<&str> = reference.columns.iter().map(String::as_str).collect();
                    let what = format!(
                        "{name} ({}) refers to {}, and no index begins with that",
                        columns.join(", "),
                        reference.to
                    );
                    findings.push(reference.place.finding(Rule::ForeignKeyWithoutIndex, what));
                }
            }
        }
        findings
    }
}

impl Table {
    fn leads(&self, columns: &BTreeSet<String>) -> bool {
        self.indexes.iter().any(|index| {
            let first = index.columns.iter().take(columns.len()).cloned();
            first.collect::<BTreeSet<_>>() == *columns
        })
    }

    fn column(&mut self, column: &ColumnDef, place: &Place, unjudged: bool) {
        let name = plain(&column.name);
        for option in &column.options {
            match &option.option {
                ColumnOption::PrimaryKey(_) | ColumnOption::Unique(_) => self.indexes.push(Index {
                    name: option.name.as_ref().map(plain),
                    columns: vec![name.clone()],
                }),
                ColumnOption::ForeignKey(to) => self.references.push(Reference {
                    name: option.name.as_ref().map(plain),
                    columns: BTreeSet::from([name.clone()]),
                    to: key(&to.foreign_table),
                    place: place.clone(),
                    unjudged,
                }),
                _ => {}
            }
        }
    }

    fn constraint(&mut self, constraint: &TableConstraint, place: &Place, unjudged: bool) {
        match constraint {
            TableConstraint::PrimaryKey(one) => self.indexes.push(Index {
                name: one.name.as_ref().map(plain),
                columns: names(&one.columns),
            }),
            TableConstraint::Unique(one) => self.indexes.push(Index {
                name: one.name.as_ref().map(plain),
                columns: names(&one.columns),
            }),
            TableConstraint::ForeignKey(one) => self.references.push(Reference {
                name: one.name.as_ref().map(plain),
                columns: one.columns.iter().map(plain).collect(),
                to: key(&one.foreign_table),
                place: place.clone(),
                unjudged,
            }),
            _ => {}
        }
    }

    fn altered(&mut self, operation: &AlterTableOperation, place: &Place, unjudged: bool) {
        match operation {
            AlterTableOperation::AddColumn { column_def, .. } => {
                self.column(column_def, place, unjudged);
            }
            AlterTableOperation::AddConstraint { constraint, .. } => {
                self.constraint(constraint, place, unjudged);
            }
            AlterTableOperation::DropConstraint { name, .. } => {
                let name = Some(plain(name));
                self.indexes.retain(|index| index.name != name);
                self.references.retain(|reference| reference.name != name);
            }
            AlterTableOperation::DropColumn { column_names, .. } => {
                let gone: BTreeSet<String> = column_names.iter().map(plain).collect();
                let stays = |column: &String| !gone.contains(column);
                self.indexes.retain(|index| index.columns.iter().all(stays));
                self.references
                    .retain(|reference| reference.columns.iter().all(stays));
            }
            AlterTableOperation::RenameColumn {
                old_column_name,
                new_column_name,
            } => {
                let (old, new) = (plain(old_column_name), plain(new_column_name));
                let columns = self.indexes.iter_mut().flat_map(|index| &mut index.columns);
                columns
                    .filter(|column| **column == old)
                    .for_each(|column| *column = new.clone());
                for reference in &mut self.references {
                    if reference.columns.remove(&old) {
                        reference.columns.insert(new.clone());
                    }
                }
            }
            _ => {}
        }
    }
}

/// Unquoted names know no case.
fn plain(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

/// A table's name, without the schema that is the usual one.
fn key(name: &ObjectName) -> String {
    let parts: Vec<String> = name
        .0
        .iter()
        .map(|part| part.as_ident().map_or_else(|| part.to_string(), plain))
        .collect();
    match parts.as_slice() {
        [schema, table] if ["public", "mainstay", "main"].contains(&schema.as_str()) => {
            table.clone()
        }
        _ => parts.join("."),
    }
}

/// The columns that an index begins with, up to the first that is an expression.
fn names(columns: &[IndexColumn]) -> Vec<String> {
    let named = columns.iter().map_while(|one| match &one.column.expr {
        Expr::Identifier(name) => Some(plain(name)),
        _ => None,
    });
    named.collect()
}
