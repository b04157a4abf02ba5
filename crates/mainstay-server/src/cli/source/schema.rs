//! `mainstay source schema`: what the events of a source are expected to look like.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::cli::{
    Context,
    api::{Api, SOURCES, list, text},
    args::{Consent, JsonArg, PageArgs, time_short},
    failure::Failure,
    table::{Column, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Set the JSON Schema of some types: in force for what comes in from then on, as a new version
    Set {
        /// The source's name or id
        source: String,
        /// Which types: "invoice.paid", "invoice.*" or "*"; of several that match, the most exact one counts
        types: String,
        /// The JSON Schema: itself, @FILE, or - for standard input
        schema: JsonArg,
    },
    /// List the schemas of a source, with what they counted in 24 hours
    #[command(visible_alias = "ls")]
    List {
        /// The source's name or id
        source: String,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a schema and its versions
    Show {
        /// The source's name or id
        source: String,
        /// Its types, or its id
        schema: String,
        /// Print this version alone, as JSON
        #[arg(long)]
        version: Option<i64>,
    },
    /// Remove a schema with its versions: events of its types are checked no more
    #[command(visible_alias = "rm")]
    Remove {
        /// The source's name or id
        source: String,
        /// Its types, or its id
        schema: String,
        #[command(flatten)]
        consent: Consent,
    },
}

pub(super) async fn run(
    context: &Context,
    api: &Api,
    command: SchemaCommand,
) -> Result<(), Failure> {
    match command {
        SchemaCommand::Set {
            source,
            types,
            schema,
        } => {
            let path = path(api, &source).await?;
            let body = json!({ "types": types, "schema": schema.read()? });
            let made = api.post(&path, &body).await?;
            context.show(&made, |out| {
                out.table(&table(std::slice::from_ref(&made)), "")
            })
        }
        SchemaCommand::List { source, page } => {
            let path = path(api, &source).await?;
            let found = api.list(&path, &[], page.cursor, page.limit).await?;
            context.list(
                &found,
                table(&found.items),
                "no schemas; `mainstay source schema set` adds one",
            )
        }
        SchemaCommand::Show {
            source,
            schema,
            version,
        } => {
            let path = path(api, &source).await?;
            let id = find(api, &path, &schema).await?;
            let found = api.get(&format!("{path}/{id}"), &[]).await?;
            show(context, &found, version)
        }
        SchemaCommand::Remove {
            source,
            schema,
            consent,
        } => {
            let path = path(api, &source).await?;
            let id = find(api, &path, &schema).await?;
            consent.ask(&format!(
                "Remove the schema for {schema} with all its versions? Events of its types are checked no more."
            ))?;
            api.delete(&format!("{path}/{id}")).await?;
            context.done(&format!("schema for {schema} removed"))
        }
    }
}

async fn path(api: &Api, source: &str) -> Result<String, Failure> {
    let id = api.find_id(SOURCES, source).await?;
    Ok(format!("{}/{id}/schemas", SOURCES.path))
}

/// The id of a schema that is named by its types or its id.
async fn find(api: &Api, path: &str, schema: &str) -> Result<String, Failure> {
    // A source has no more of them than fit into one page.
    let found = api.list(path, &[], None, 200).await?;
    let mut schemas = found.items.iter();
    schemas
        .find(|one| text(one, "/types") == schema || text(one, "/id") == schema)
        .map(|one| text(one, "/id"))
        .ok_or_else(|| Failure::usage(format!("the source has no schema for {schema}")))
}

fn show(context: &Context, found: &Value, version: Option<i64>) -> Result<(), Failure> {
    let versions = list(found, "/versions");
    let Some(version) = version else {
        return context.show(found, |out| {
            out.table(&table(std::slice::from_ref(found)), "")?;
            let mut made = Table::new(&[Column::Number("VERSION"), Column::Whole("SINCE")]);
            for one in versions {
                made.row([
                    text(one, "/version").into(),
                    time_short(&text(one, "/created_at")).into(),
                ]);
            }
            out.line("")?;
            out.table(&made, "")?;
            out.line("")?;
            out.line(&format!("{:#}", found["schema"]))
        });
    };
    let wanted = |one: &&Value| one["version"].as_i64() == Some(version);
    let one = versions.iter().find(wanted);
    let one = one.ok_or_else(|| Failure::usage(format!("version {version} is not kept")))?;
    context.show(&one["schema"], |out| {
        out.line(&format!("{:#}", one["schema"]))
    })
}

fn table(schemas: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Text("TYPES"),
        Column::Number("VERSION"),
        Column::Whole("SINCE"),
        Column::Number("CHECKED"),
        Column::Number("VIOLATED"),
        Column::Number("UNCHECKED"),
        Column::Whole("ID"),
    ]);
    for schema in schemas {
        table.row([
            text(schema, "/types").into(),
            text(schema, "/version").into(),
            time_short(&text(schema, "/created_at")).into(),
            text(schema, "/stats/checked").into(),
            text(schema, "/stats/violated").into(),
            text(schema, "/stats/unchecked").into(),
            text(schema, "/id").into(),
        ]);
    }
    table
}
