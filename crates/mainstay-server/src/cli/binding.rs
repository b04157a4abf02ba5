//! `mainstay binding`: rules that turn events into jobs.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Context,
    api::{Api, BINDINGS, ENDPOINTS, SOURCES, text},
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
        /// What events of these types must say, e.g. "body.data.object.amount > 1000"
        #[arg(long, value_name = "EXPRESSION")]
        filter: Option<String>,
        #[command(flatten)]
        order: OrderArgs,
        /// Its jobs expire so many seconds after they are made: what has not begun by then is a dead letter
        #[arg(long, value_name = "SECS")]
        expires_in_secs: Option<i64>,
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
        /// What events of these types must say from now on; "" for nothing
        #[arg(long, value_name = "EXPRESSION")]
        filter: Option<String>,
        #[command(flatten)]
        order: OrderArgs,
        /// Its jobs expire so many seconds after they are made; 0: they do not
        #[arg(long, value_name = "SECS")]
        expires_in_secs: Option<i64>,
        /// Make jobs
        #[arg(long, conflicts_with = "disable")]
        enable: bool,
        /// Make no more jobs
        #[arg(long)]
        disable: bool,
    },
    /// Try a filter on an event that is kept: whether it would make a job
    Test {
        /// The event's id
        event: String,
        #[command(flatten)]
        tried: TriedArgs,
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

/// The order that its jobs keep.
#[derive(Debug, Args)]
pub(crate) struct OrderArgs {
    /// Deliver jobs with the same key one at a time, in the order of their events: where the key stands in the body,
    /// e.g. /data/object/customer; "" for no order
    #[arg(long, value_name = "POINTER")]
    order_by: Option<String>,
    /// Where the key stands when it does not stand there
    #[arg(long, value_name = "POINTER", requires = "order_by")]
    order_fallback: Option<String>,
    /// What becomes of a key whose job ends as a dead letter
    #[arg(long, value_parser = ["park", "continue"], requires = "order_by")]
    order_on_dead: Option<String>,
}

impl OrderArgs {
    fn body(self) -> Option<Value> {
        let mut body = Body::default();
        body.set("key", Some(self.order_by?))
            .set("fallback", self.order_fallback)
            .set("on_dead", self.order_on_dead);
        Some(body.value())
    }
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

/// Whose filter is tried: one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct TriedArgs {
    /// This expression
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// The filter that this binding has
    #[arg(long)]
    binding: Option<String>,
}

impl TriedArgs {
    async fn expression(self, api: &Api) -> Result<String, Failure> {
        let text = match (self.filter, self.binding) {
            (Some(filter), _) => filter,
            (None, Some(binding)) => text(&api.find(BINDINGS, &binding).await?, "/filter"),
            (None, None) => String::new(),
        };
        if text.is_empty() {
            return Err(Failure::usage(
                "the binding has no filter: it takes every event of its types",
            ));
        }
        // A query has no line breaks.
        Ok(text.replace(['\n', '\r', '\t'], " "))
    }
}

pub(super) async fn run(context: &Context, command: BindingCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        BindingCommand::Create {
            source,
            type_pattern,
            filter,
            order,
            expires_in_secs,
            handler,
            name,
        } => {
            let mut body = Body::default();
            body.set("source_id", Some(api.find_id(SOURCES, &source).await?))
                .set("type_pattern", Some(type_pattern))
                .set("filter", filter)
                .set("ordering", order.body())
                .set("expires_in_secs", expires_in_secs)
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
            filter,
            order,
            expires_in_secs,
            enable,
            disable,
        } => {
            let mut body = Body::default();
            let enabled = (enable || disable).then_some(enable);
            body.set("name", name)
                .set("type_pattern", type_pattern)
                .set("filter", filter)
                .set("ordering", order.body())
                .set("expires_in_secs", expires_in_secs)
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
        BindingCommand::Test { event, tried } => {
            let filter = tried.expression(&api).await?;
            let said = api
                .get(
                    &format!("/v1/events/{event}/filter"),
                    &[("filter", Some(filter))],
                )
                .await?;
            context.show(&said, |out| {
                out.line(&match text(&said, "/reason") {
                    none if none.is_empty() => text(&said, "/outcome"),
                    reason => format!("{}: {reason}", text(&said, "/outcome")),
                })
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

/// The filter, and how often it failed lately: that is worth a look.
fn filter_shown(binding: &Value) -> String {
    let filter = text(binding, "/filter");
    match text(binding, "/filter_failed").as_str() {
        "" | "0" => filter,
        failed => format!("{filter} (failed {failed}x)"),
    }
}

fn table(bindings: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Text("NAME"),
        Column::Text("SOURCE"),
        Column::Text("TYPE"),
        Column::Text("FILTER"),
        Column::Text("HANDLER"),
        Column::Text("ENABLED"),
        Column::Whole("ID"),
    ]);
    for binding in bindings {
        table.row([
            text(binding, "/name").into(),
            text(binding, "/source_name").into(),
            text(binding, "/type_pattern").into(),
            filter_shown(binding).into(),
            handler(binding).into(),
            Cell::state(yes_no(binding, "/enabled")),
            text(binding, "/id").into(),
        ]);
    }
    table
}
