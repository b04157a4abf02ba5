//! What a statement does that needs a reason.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AlterColumnOperation, AlterTableOperation, AlterTypeOperation, CascadeOption, ColumnOption,
    Delete, DropBehavior, FromTable, ObjectName, ObjectType, ReferentialAction, Statement,
    TableConstraint, TableFactor, visit_statements,
};

use super::{Rule, schema::Schema};

/// A rule that is broken, and by what.
type Broken = (Rule, String);

/// What the statement does that needs a reason. Tables that this migration itself made hold nothing of before.
pub(super) fn of(statement: &Statement, schema: &Schema) -> Vec<Broken> {
    let mut broken = Vec::new();
    // Also those inside others: `WITH gone AS (DELETE FROM …)`.
    let _ = visit_statements(statement, |one| {
        rows(one, schema, &mut broken);
        ControlFlow::<()>::Continue(())
    });
    match statement {
        Statement::Drop {
            object_type,
            names,
            cascade,
            temporary,
            ..
        } => {
            for name in names {
                dropped(
                    *object_type,
                    name,
                    schema.made(name) || *temporary,
                    &mut broken,
                );
            }
            cascades(*cascade, &mut broken);
        }
        Statement::AlterTable(alter) if !schema.made(&alter.name) => {
            for operation in &alter.operations {
                altered(&alter.name, operation, &mut broken);
            }
        }
        Statement::AlterTable(_) => {}
        Statement::DropTrigger(gone) => {
            let made = gone
                .table_name
                .as_ref()
                .is_some_and(|table| schema.made(table));
            if !made {
                let what = format!("drops the trigger {}", gone.trigger_name);
                broken.push((Rule::DropProtection, what));
            }
            cascades(gone.option == Some(ReferentialAction::Cascade), &mut broken);
        }
        Statement::DropPolicy(gone) if !schema.made(&gone.table_name) => {
            let what = format!("drops the policy {} of {}", gone.name, gone.table_name);
            broken.push((Rule::DropProtection, what));
        }
        Statement::AlterPolicy(other) if !schema.made(&other.table_name) => {
            let what = format!("changes the policy {} of {}", other.name, other.table_name);
            broken.push((Rule::DropProtection, what));
        }
        Statement::DropPolicy(_) | Statement::AlterPolicy(_) => {}
        Statement::DropFunction(gone) => {
            cascades(
                gone.drop_behavior == Some(DropBehavior::Cascade),
                &mut broken,
            );
        }
        Statement::DropDomain(gone) => {
            cascades(
                gone.drop_behavior == Some(DropBehavior::Cascade),
                &mut broken,
            );
        }
        Statement::DropExtension(gone) => {
            let cascade = gone.cascade_or_restrict == Some(ReferentialAction::Cascade);
            cascades(cascade, &mut broken);
        }
        Statement::AlterType(alter) => match alter.operation {
            AlterTypeOperation::AddValue(_) => {}
            _ => broken.push((
                Rule::Rename,
                format!("renames {} or a value of it", alter.name),
            )),
        },
        Statement::RenameTable(renamed) => {
            let renamed = renamed.iter().filter(|one| !schema.made(&one.old_name));
            broken.extend(renamed.map(|one| (Rule::Rename, format!("renames {}", one.old_name))));
        }
        // They add, change rows that they name, or take nothing.
        Statement::CreateTable(_)
        | Statement::CreateVirtualTable { .. }
        | Statement::CreateIndex(_)
        | Statement::CreateView(_)
        | Statement::CreateFunction(_)
        | Statement::CreateTrigger(_)
        | Statement::CreateType { .. }
        | Statement::CreateDomain(_)
        | Statement::CreateExtension(_)
        | Statement::CreateSequence { .. }
        | Statement::CreateSchema { .. }
        | Statement::CreateRole(_)
        | Statement::CreatePolicy(_)
        | Statement::CreateOperator(_)
        | Statement::AlterIndex { .. }
        | Statement::AlterView { .. }
        | Statement::Query(_)
        | Statement::Insert(_)
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Merge(_)
        | Statement::Truncate(_)
        | Statement::Copy { .. }
        | Statement::Grant(_)
        | Statement::Revoke(_)
        | Statement::Comment { .. }
        | Statement::Set(_)
        | Statement::Analyze(_)
        | Statement::Vacuum(_)
        | Statement::Pragma { .. }
        | Statement::Lock(_)
        | Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Savepoint { .. }
        | Statement::ReleaseSavepoint { .. } => {}
        other => {
            let words: Vec<String> = other
                .to_string()
                .split_whitespace()
                .take(3)
                .map(str::to_owned)
                .collect();
            let what = format!("it is not known what {} … does", words.join(" "));
            broken.push((Rule::NotUnderstood, what));
        }
    }
    broken
}

fn cascades(cascade: bool, broken: &mut Vec<Broken>) {
    if cascade {
        broken.push((Rule::Cascade, "drops whatever depends on it".into()));
    }
}

fn rows(statement: &Statement, schema: &Schema, broken: &mut Vec<Broken>) {
    match statement {
        Statement::Truncate(truncate) => {
            let tables = truncate.table_names.iter();
            let tables = tables.filter(|table| !schema.made(&table.name));
            broken
                .extend(tables.map(|table| (Rule::RemoveRows, format!("empties {}", table.name))));
            if truncate.cascade == Some(CascadeOption::Cascade) {
                broken.push((Rule::Cascade, "empties whatever refers to it".into()));
            }
        }
        Statement::Delete(delete) if delete.selection.is_none() => {
            if let Some(table) = deleted_from(delete).filter(|table| !schema.made(table)) {
                let what = format!("removes every row of {table}");
                broken.push((Rule::RemoveRows, what));
            }
        }
        _ => {}
    }
}

fn deleted_from(delete: &Delete) -> Option<&ObjectName> {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    match &from.first()?.relation {
        TableFactor::Table { name, .. } => Some(name),
        _ => None,
    }
}

fn dropped(kind: ObjectType, name: &ObjectName, made: bool, broken: &mut Vec<Broken>) {
    match kind {
        ObjectType::Table if !made => {
            broken.push((Rule::DropTable, format!("drops the table {name}")));
        }
        ObjectType::Schema | ObjectType::Database => {
            let kind = kind.to_string().to_lowercase();
            broken.push((
                Rule::DropTable,
                format!("drops the {kind} {name} with its tables"),
            ));
        }
        ObjectType::Sequence => {
            let what = format!("drops the sequence {name}, which knows what was given out");
            broken.push((Rule::DropTable, what));
        }
        // They hold nothing that is not elsewhere.
        ObjectType::Table
        | ObjectType::View
        | ObjectType::MaterializedView
        | ObjectType::Index
        | ObjectType::Collation
        | ObjectType::Type
        | ObjectType::Role
        | ObjectType::User => {}
        ObjectType::Stage | ObjectType::Stream | ObjectType::Warehouse => {
            broken.push((Rule::NotUnderstood, format!("drops {kind} {name}")));
        }
    }
}

fn altered(table: &ObjectName, operation: &AlterTableOperation, broken: &mut Vec<Broken>) {
    use AlterTableOperation as Op;
    let mut add = |rule: Rule, what: String| broken.push((rule, what));
    match operation {
        Op::DropColumn {
            column_names,
            drop_behavior,
            ..
        } => {
            for column in column_names {
                add(
                    Rule::DropColumn,
                    format!("drops the column {table}.{column}"),
                );
            }
            if *drop_behavior == Some(DropBehavior::Cascade) {
                add(Rule::Cascade, "drops whatever depends on the column".into());
            }
        }
        Op::DropConstraint {
            name,
            drop_behavior,
            ..
        } => {
            let what = format!("drops the constraint {name} of {table}");
            add(Rule::DropProtection, what);
            if *drop_behavior == Some(DropBehavior::Cascade) {
                add(
                    Rule::Cascade,
                    "drops whatever depends on the constraint".into(),
                );
            }
        }
        Op::AlterColumn {
            column_name,
            op: AlterColumnOperation::SetDataType { data_type, .. },
        } => {
            let what = format!("makes {table}.{column_name} {data_type}");
            add(Rule::ChangeType, what);
        }
        Op::AlterColumn {
            column_name,
            op: AlterColumnOperation::DropNotNull,
        } => {
            let what = format!("lets {table}.{column_name} be null");
            add(Rule::DropProtection, what);
        }
        Op::RenameColumn {
            old_column_name, ..
        } => add(Rule::Rename, format!("renames {table}.{old_column_name}")),
        Op::RenameTable { .. } => add(Rule::Rename, format!("renames {table}")),
        Op::DisableRowLevelSecurity | Op::NoForceRowLevelSecurity => {
            add(
                Rule::DropProtection,
                format!("takes row-level security from {table}"),
            );
        }
        Op::DisableTrigger { name } => {
            add(
                Rule::DropProtection,
                format!("disables the trigger {name} of {table}"),
            );
        }
        Op::DisableRule { name } => {
            add(
                Rule::DropProtection,
                format!("disables the rule {name} of {table}"),
            );
        }
        Op::SetUnlogged => {
            add(
                Rule::DropProtection,
                format!("a crash empties {table} from now on"),
            );
        }
        // They add, or take nothing.
        Op::AddConstraint { .. }
        | Op::AddColumn { .. }
        | Op::AlterColumn { .. }
        | Op::EnableAlwaysRule { .. }
        | Op::EnableAlwaysTrigger { .. }
        | Op::EnableReplicaRule { .. }
        | Op::EnableReplicaTrigger { .. }
        | Op::EnableRowLevelSecurity
        | Op::ForceRowLevelSecurity
        | Op::EnableRule { .. }
        | Op::EnableTrigger { .. }
        | Op::ReplicaIdentity { .. }
        | Op::RenameConstraint { .. }
        | Op::SetLogged
        | Op::OwnerTo { .. }
        | Op::ValidateConstraint { .. }
        | Op::SetOptionsParens { .. } => {}
        other => add(
            Rule::NotUnderstood,
            format!("it is not known what {other} does to {table}"),
        ),
    }
}

/// Whether the statement declares a foreign key.
pub(super) fn refers(statement: &Statement) -> bool {
    let constraint = |one: &TableConstraint| matches!(one, TableConstraint::ForeignKey(_));
    let option = |one: &ColumnOption| matches!(one, ColumnOption::ForeignKey(_));
    match statement {
        Statement::CreateTable(table) => {
            let mut columns = table.columns.iter();
            table.constraints.iter().any(constraint)
                || columns.any(|one| one.options.iter().any(|said| option(&said.option)))
        }
        Statement::AlterTable(alter) => alter.operations.iter().any(|one| match one {
            AlterTableOperation::AddConstraint {
                constraint: added, ..
            } => constraint(added),
            AlterTableOperation::AddColumn { column_def, .. } => {
                column_def.options.iter().any(|said| option(&said.option))
            }
            _ => false,
        }),
        _ => false,
    }
}
