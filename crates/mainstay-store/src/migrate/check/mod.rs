//! The validator of migrations (MIG-04): finds what would lose data, break the version that still runs, or leave a
//! foreign key without an index, before anything is run.
//!
//! Nothing is guessed: a statement that the parser does not understand is a finding too. A migration may do any of it
//! that states why it is safe, in a comment above the statement:
//!
//! ```sql
//! -- safe drop-column: nothing has read it since version 12, and its values are in `status`
//! ALTER TABLE job DROP COLUMN state;
//! ```

mod reason;
mod rules;
mod schema;
mod statements;
#[cfg(test)]
mod tests;

use std::fmt;

use reason::Reasons;
use schema::Schema;
use statements::Piece;

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlDialect {
    /// Of PostgreSQL.
    Postgres,
    /// Of SQLite.
    Sqlite,
}

/// One migration's text.
#[derive(Debug, Clone, Copy)]
pub struct MigrationText<'a> {
    /// What it is called in findings.
    pub name: &'a str,
    /// Its statements.
    pub sql: &'a str,
    /// It was applied long ago: read for the tables and indexes that it made, and not judged.
    pub applied: bool,
}

/// What a migration must not do without saying why it is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A table goes with all its rows; so does one in a schema or database that goes.
    DropTable,
    /// A column goes with all its values.
    DropColumn,
    /// All rows of a table go: `TRUNCATE`, or `DELETE` without a condition.
    RemoveRows,
    /// A column's values are converted, which can lose some and rewrites the table.
    ChangeType,
    /// What the version that still runs knows by another name.
    Rename,
    /// A constraint, a trigger or row-level security no longer protects the rows.
    DropProtection,
    /// Whatever depends on it goes as well, named nowhere.
    Cascade,
    /// Each delete of the row that it refers to reads the whole table.
    ForeignKeyWithoutIndex,
    /// What it does cannot be told from its text.
    NotUnderstood,
    /// A reason that names no rule, gives no reason, or stands where none is needed.
    Reason,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::DropTable,
        Self::DropColumn,
        Self::RemoveRows,
        Self::ChangeType,
        Self::Rename,
        Self::DropProtection,
        Self::Cascade,
        Self::ForeignKeyWithoutIndex,
        Self::NotUnderstood,
        Self::Reason,
    ];

    /// As it is written in findings and reasons.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DropTable => "drop-table",
            Self::DropColumn => "drop-column",
            Self::RemoveRows => "remove-rows",
            Self::ChangeType => "change-type",
            Self::Rename => "rename",
            Self::DropProtection => "drop-protection",
            Self::Cascade => "cascade",
            Self::ForeignKeyWithoutIndex => "foreign-key-without-index",
            Self::NotUnderstood => "not-understood",
            Self::Reason => "reason",
        }
    }

    /// The rule of this name that a reason can be given for.
    fn named(name: &str) -> Option<Self> {
        let rule = Self::ALL.into_iter().find(|rule| rule.as_str() == name)?;
        (rule != Self::Reason).then_some(rule)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that a migration does and does not say why it is safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The migration.
    pub file: String,
    /// The line that the statement begins on, from 1.
    pub line: u64,
    /// The rule.
    pub rule: Rule,
    /// What it does, for a person.
    pub what: String,
}

/// Where a statement stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    file: String,
    line: u64,
}

impl Place {
    fn finding(&self, rule: Rule, what: impl Into<String>) -> Finding {
        Finding {
            file: self.file.clone(),
            line: self.line,
            rule,
            what: what.into(),
        }
    }
}

/// Judges migrations, which are in the order in which they are applied. Empty: all is safe, or says why.
pub fn check(migrations: &[MigrationText<'_>], dialect: SqlDialect) -> Vec<Finding> {
    let mut schema = Schema::default();
    let mut findings = Vec::new();
    for migration in migrations {
        schema.begin();
        for piece in statements::split(migration.sql, dialect) {
            let place = Place {
                file: migration.name.to_owned(),
                line: piece.line,
            };
            let judged = judged(&piece, &place, dialect, &mut schema, migration.applied);
            if !migration.applied {
                findings.extend(judged);
            }
        }
    }
    findings.extend(schema.foreign_keys_without_index());
    findings.sort_by(|a, b| (&a.file, a.line, a.rule).cmp(&(&b.file, b.line, b.rule)));
    findings
}

fn judged(
    piece: &Piece,
    place: &Place,
    dialect: SqlDialect,
    schema: &mut Schema,
    applied: bool,
) -> Vec<Finding> {
    let (mut reasons, mut findings) = Reasons::read(&piece.comments, place);
    match &piece.tokens {
        // What stands behind the last statement.
        Ok(tokens) if tokens.is_empty() => {}
        Ok(tokens) => match statements::parse(tokens, dialect) {
            Ok(statement) => {
                for (rule, what) in rules::of(&statement, schema) {
                    if !reasons.given(rule) {
                        findings.push(place.finding(rule, what));
                    }
                }
                // Judged at the end: the index may come later. A reason counts as needed where a key is declared.
                let unjudged = applied
                    || reasons.given_if(Rule::ForeignKeyWithoutIndex, rules::refers(&statement));
                schema.apply(&statement, place, unjudged);
            }
            Err(error) => {
                if !reasons.given(Rule::NotUnderstood) {
                    findings.push(place.finding(Rule::NotUnderstood, error));
                }
            }
        },
        Err(error) => findings.push(place.finding(Rule::NotUnderstood, error.clone())),
    }
    findings.extend(reasons.unused(place));
    findings
}
