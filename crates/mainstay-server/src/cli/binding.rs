//! `mainstay binding`: rules that turn events into jobs.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Context,
    api::{BINDINGS, ENDPOINTS, SOURCES, text},
    args::{Body, Consent, PageArgs},
    failure::Failure,
    source::yes_no,
    table::{Cell, Column, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum BindingCommand {
    /// Add a binding: matching events make jobs from then on
    Create {
        /// The source whose events it takes
        #[arg(long)]
        source: String,
        /// Which types: "invoice.paid", "invoice.*" or "*"; several separated by commas
        #[arg(long = "type", default_value = "*", value_name = "PATTERN")]
        type_pattern: String,
        #[command(flatten)]
        handler: HandlerArgs,
        /// A name for people
        #[arg(long)]
        name: Option<String>,
    },
    /// List bindings
    #[command(visible_alias = "ls")]
    List(PageArgs),
    /// Change a binding
    Update {
        /// Its id or name
        binding: String,
        /// A new name
        #[arg(long)]
        name: Option<String>,
        /// Which types from now on
        #[arg(long = "type", value_name = "PATTERN")]
        type_pattern: Option<String>,
        /// Make jobs
        #[arg(long, conflicts_with = "disable")]
        enable: bool,
        /// Make no more jobs
        #[arg(long)]
        disable: bool,
    },
    /// Delete a binding; its jobs go on
    #[command(visible_alias = "rm")]
    Delete {
        /// Its id or name
        binding: String,
        #[command(flatten)]
        consent: Consent,
    },
}

/// What carries the jobs out: one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct HandlerArgs {
    /// Push to this endpoint
    #[arg(long)]
    endpoint: Option<String>,
    /// Run this built-in handler, e.g. billing.record
    #[arg(long, value_name = "NAME")]
    builtin: Option<String>,
}

pub(super) async fn run(context: &Context, command: BindingCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        BindingCommand::Create {
            source,
            type_pattern,
            handler,
            name,
        } => {
            let mut body = Body::default();
            body.set("source_id", Some(api.find_id(SOURCES, &source).await?))
                .set("type_pattern", Some(type_pattern))
                .set("name", name);
            if let Some(endpoint) = handler.endpoint {
                body.set(
                    "endpoint_id",
                    Some(api.find_id(ENDPOINTS, &endpoint).await?),
                );
            }
            let builtin = handler
                .builtin
                .map(|name| json!({ "kind": "builtin", "name": name }));
            body.set("handler", builtin);
            let made = api.post(BINDINGS.path, &body.value()).await?;
            context.show(&made, |out| {
                out.table(&table(std::slice::from_ref(&made)), "")
            })
        }
        BindingCommand::List(page) => {
            let found = api
                .list(BINDINGS.path, &[], page.cursor, page.limit)
                .await?;
            context.list(
                &found,
                table(&found.items),
                "no bindings; `mainstay binding create` adds one",
            )
        }
        BindingCommand::Update {
            binding,
            name,
            type_pattern,
            enable,
            disable,
        } => {
            let mut body = Body::default();
            let enabled = (enable || disable).then_some(enable);
            body.set("name", name)
                .set("type_pattern", type_pattern)
                .set("enabled", enabled);
            if body.is_empty() {
                return Err(Failure::usage("nothing to change"));
            }
            let id = api.find_id(BINDINGS, &binding).await?;
            let changed = api
                .patch(&format!("{}/{id}", BINDINGS.path), &body.value())
                .await?;
            context.show(&changed, |out| {
                out.table(&table(std::slice::from_ref(&changed)), "")
            })
        }
        BindingCommand::Delete { binding, consent } => {
            let found = api.find(BINDINGS, &binding).await?;
            let shown = format!("{} ({})", text(&found, "/name"), text(&found, "/id"));
            consent.ask(&format!("Delete the binding {shown}?"))?;
            api.delete(&format!("{}/{}", BINDINGS.path, text(&found, "/id")))
                .await?;
            context.done(&format!("binding {shown} deleted"))
        }
    }
}

fn handler(binding: &Value) -> String {
    match text(binding, "/handler/kind").as_str() {
        "endpoint" => format!("endpoint {}", text(binding, "/handler/endpoint_name")),
        _ => format!("builtin {}", text(binding, "/handler/name")),
    }
}

fn table(bindings: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Text("NAME"),
        Column::Text("SOURCE"),
        Column::Text("TYPE"),
        Column::Text("HANDLER"),
        Column::Text("ENABLED"),
        Column::Whole("ID"),
    ]);
    for binding in bindings {
        table.row([
            text(binding, "/name").into(),
            text(binding, "/source_name").into(),
            text(binding, "/type_pattern").into(),
            handler(binding).into(),
            Cell::state(yes_no(binding, "/enabled")),
            text(binding, "/id").into(),
        ]);
    }
    table
}
