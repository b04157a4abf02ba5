//! `mainstay sql`: one read-only statement, run by the server.

use clap::Args;
use serde_json::{Value, json};

use super::{
    Context,
    api::{list, text},
    args::input_read,
    failure::Failure,
    table::{Cell, Table, Tone},
};

#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// The statement, or - for standard input
    statement: String,
}

pub(super) async fn run(context: &Context, args: SqlArgs) -> Result<(), Failure> {
    let statement = match args.statement.as_str() {
        "-" => String::from_utf8(input_read(std::path::Path::new("-"))?)
            .map_err(|_| Failure::usage("the statement is not text"))?,
        _ => args.statement,
    };
    let api = context.api()?;
    let answer = api
        .post("/v1/sql", &json!({ "statement": statement }))
        .await?;
    context.show(&answer, |out| {
        let columns = list(&answer, "/columns");
        let titles = columns.iter().map(|name| text(name, ""));
        let mut table = Table::titled(titles);
        for row in list(&answer, "/rows") {
            table.row_of(
                row.as_array()
                    .map_or(&[][..], Vec::as_slice)
                    .iter()
                    .map(cell)
                    .collect(),
            );
        }
        out.table(&table, "no rows")?;
        if answer.get("truncated").and_then(Value::as_bool) == Some(true) {
            context
                .out
                .remark("there are more rows; the server shows no more at once");
        }
        Ok(())
    })
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::new("null").tone(Tone::Dim),
        other => text(other, "").into(),
    }
}
