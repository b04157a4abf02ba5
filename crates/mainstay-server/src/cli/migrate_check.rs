//! `mainstay migrate check`: judges migrations, ours or anybody's, before they are run (MIG-04).

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use mainstay_store::migrate::check::{Finding, MigrationText, SqlDialect, check};
use serde_json::json;

use super::{
    Context,
    failure::{Exit, Failure},
    table::{Cell, Column, Table, Tone},
};

/// Migrations in one run.
const FILES_MAX: usize = 10_000;
/// Bytes of one migration.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DialectArg {
    Postgres,
    Sqlite,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Migrations in the order in which they are applied; of a folder its .sql files by name, without *.down.*
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Whose SQL it is
    #[arg(long, value_enum, default_value = "postgres")]
    dialect: DialectArg,
    /// The last migration that is applied everywhere: what is up to here is read for its tables and not judged
    #[arg(long, value_name = "FILE")]
    applied: Option<String>,
}

pub(super) fn run(context: &Context, args: &CheckArgs) -> Result<(), Failure> {
    let files = files(&args.paths)?;
    let applied = match &args.applied {
        None => 0,
        Some(last) => {
            let place = files.iter().position(|path| name(path) == *last);
            place.ok_or_else(|| Failure::usage(format!("there is no migration {last} here")))? + 1
        }
    };
    let texts: Vec<String> = files
        .iter()
        .map(|path| read(path))
        .collect::<Result<_, _>>()?;
    let names: Vec<String> = files
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let migrations: Vec<MigrationText> = names
        .iter()
        .zip(&texts)
        .enumerate()
        .map(|(place, (name, sql))| MigrationText {
            name,
            sql,
            applied: place < applied,
        })
        .collect();
    let dialect = match args.dialect {
        DialectArg::Postgres => SqlDialect::Postgres,
        DialectArg::Sqlite => SqlDialect::Sqlite,
    };
    said(context, files.len() - applied, &check(&migrations, dialect))
}

fn said(context: &Context, judged: usize, findings: &[Finding]) -> Result<(), Failure> {
    let listed: Vec<_> = findings
        .iter()
        .map(|one| {
            json!({
                "file": one.file, "line": one.line, "rule": one.rule.as_str(), "what": one.what,
            })
        })
        .collect();
    context.show(&json!({ "judged": judged, "findings": listed }), |out| {
        if findings.is_empty() {
            let word = if judged == 1 {
                "migration is"
            } else {
                "migrations are"
            };
            return out.toned(Tone::Good, &format!("{judged} {word} safe, or say why"));
        }
        let mut table = Table::new(&[
            Column::Whole("PLACE"),
            Column::Text("RULE"),
            Column::Text("WHAT IT DOES"),
        ]);
        for one in findings {
            table.row([
                format!("{}:{}", one.file, one.line).into(),
                Cell::new(one.rule.as_str()).tone(Tone::Bad),
                one.what.as_str().into(),
            ]);
        }
        out.table(&table, "")?;
        out.remark("state why it is safe above the statement:  -- safe RULE: why");
        Ok(())
    })?;
    match findings {
        [] => Ok(()),
        _ => Err(Failure::said(Exit::NotClean)),
    }
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|error| Failure::file(path, &error))?;
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| Failure::file(path, &error))?.path();
            let file = name(&entry);
            if file.ends_with(".sql") && !file.contains(".down.") {
                found.push(entry);
            }
        }
        found.sort();
        files.extend(found);
    }
    if files.is_empty() {
        return Err(Failure::usage("there is no migration here"));
    }
    if files.len() > FILES_MAX {
        return Err(Failure::usage(format!("more than {FILES_MAX} migrations")));
    }
    Ok(files)
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<String, Failure> {
    let size = std::fs::metadata(path)
        .map_err(|error| Failure::file(path, &error))?
        .len();
    if size > FILE_BYTES_MAX {
        let bound = format!("{} has more than {FILE_BYTES_MAX} bytes", path.display());
        return Err(Failure::usage(bound));
    }
    std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))
}
