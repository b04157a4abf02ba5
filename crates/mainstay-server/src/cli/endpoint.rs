//! `mainstay endpoint`: the team's own URLs that jobs are pushed to.

use clap::{Args, Subcommand};
use mainstay_domain::jobs::secret::OVERLAP_SECS;
use serde_json::{Map, Value, json};

use super::{
    Context,
    api::{Api, ENDPOINTS, TENANTS, text},
    args::{Body, Consent, JsonArg, PageArgs, time_short},
    failure::Failure,
    source::yes_no,
    table::{Cell, Column, Fields, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum EndpointCommand {
    /// Add an endpoint; its signing secret is shown this once
    Create {
        /// Its name
        name: String,
        /// Where requests go
        #[arg(value_name = "URL")]
        target: String,
        /// Whose it is (default: the first tenant)
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// List endpoints
    #[command(visible_alias = "ls")]
    List(PageArgs),
    /// Show an endpoint
    Show {
        /// Its name or id
        endpoint: String,
    },
    /// Change an endpoint
    Update {
        /// Its name or id
        endpoint: String,
        /// A new name
        #[arg(long)]
        name: Option<String>,
        /// Where requests go from now on
        #[arg(long, value_name = "URL")]
        to: Option<String>,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Delete an endpoint that no binding names
    #[command(visible_alias = "rm")]
    Delete {
        /// Its name or id
        endpoint: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Make a new signing secret; until the overlap ends, requests carry a signature of the one before as well
    RotateSecret {
        /// Its name or id
        endpoint: String,
        /// How long the one before signs along, in seconds, a week at most; 0: not at all
        #[arg(long, value_name = "SECS", default_value_t = OVERLAP_SECS)]
        overlap_secs: u32,
    },
    /// Sign with the newest secret alone from now on
    EndOverlap {
        /// Its name or id
        endpoint: String,
    },
    /// Send to it again
    Enable {
        /// Its name or id
        endpoint: String,
    },
    /// Send nothing more to it; its jobs wait
    Disable {
        /// Its name or id
        endpoint: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    /// How requests are signed
    #[arg(long, value_parser = ["standard_webhooks", "original"])]
    signing: Option<String>,
    /// Bound on connecting, TLS included
    #[arg(long, value_name = "MS")]
    connect_timeout_ms: Option<u32>,
    /// Bound on the whole call
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u32>,
    /// How many requests may be under way at once
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u32>,
    /// When jobs are tried again: a policy as JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    retry: Option<JsonArg>,
    /// A header to add to each request, "Name: value"; several times for several; "@FILE" reads such lines from a file,
    /// which keeps them out of the list of processes
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// A header to add no more
    #[arg(long, value_name = "NAME")]
    remove_header: Vec<String>,
    /// When its breaker opens, and for how long: settings as JSON, @FILE, or -
    #[arg(long, value_name = "JSON")]
    breaker: Option<JsonArg>,
}

impl SettingsArgs {
    fn into_body(self, body: &mut Body) -> Result<(), Failure> {
        let headers = header_changes(&self.headers, &self.remove_header)?;
        body.set("headers", (!headers.is_empty()).then_some(headers));
        body.set("signing", self.signing)
            .set("connect_timeout_ms", self.connect_timeout_ms)
            .set("timeout_ms", self.timeout_ms)
            .set("max_in_flight", self.max_in_flight)
            .set("retry", self.retry.map(|retry| retry.read()).transpose()?)
            .set(
                "breaker_settings",
                self.breaker.map(|breaker| breaker.read()).transpose()?,
            );
        Ok(())
    }
}

/// The headers to set, and with null those to remove.
fn header_changes(set: &[String], remove: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut lines = Vec::new();
    for given in set {
        match given.strip_prefix('@') {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| Failure::usage(format!("{file}: {error}")))?;
                lines.extend(text.lines().map(ToOwned::to_owned));
            }
            None => lines.push(given.clone()),
        }
    }
    let mut changes = Map::new();
    for line in lines.iter().filter(|line| !line.trim().is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            // The line is not shown: it may be a secret that went astray.
            return Err(Failure::usage("a header is given as \"Name: value\""));
        };
        changes.insert(name.trim().to_owned(), value.trim().into());
    }
    changes.extend(remove.iter().map(|name| (name.clone(), Value::Null)));
    Ok(changes)
}

pub(super) async fn run(context: &Context, command: EndpointCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        EndpointCommand::Create {
            name,
            target,
            tenant,
            settings,
        } => {
            let tenant = api.find_id_some(TENANTS, tenant).await?;
            let mut body = Body::default();
            body.set("name", Some(name))
                .set("url", Some(target))
                .set("tenant_id", tenant);
            settings.into_body(&mut body)?;
            let made = api.post(ENDPOINTS.path, &body.value()).await?;
            created(context, &made)
        }
        EndpointCommand::List(page) => {
            let found = api
                .list(ENDPOINTS.path, &[], page.cursor, page.limit)
                .await?;
            context.list(
                &found,
                table(&found.items),
                "no endpoints; `mainstay endpoint create` adds one",
            )
        }
        EndpointCommand::Show { endpoint } => {
            let id = api.find_id(ENDPOINTS, &endpoint).await?;
            let found = api.get(&path(&id), &[]).await?;
            context.show(&found, |_| show(context, &found))
        }
        EndpointCommand::Update {
            endpoint,
            name,
            to,
            settings,
        } => {
            let mut body = Body::default();
            body.set("name", name).set("url", to);
            settings.into_body(&mut body)?;
            if body.is_empty() {
                return Err(Failure::usage("nothing to change"));
            }
            update(context, &api, &endpoint, &body.value()).await
        }
        EndpointCommand::Delete { endpoint, consent } => {
            let found = api.find(ENDPOINTS, &endpoint).await?;
            consent.ask(&format!("Delete the endpoint {}?", text(&found, "/name")))?;
            api.delete(&path(&text(&found, "/id"))).await?;
            context.done(&format!("endpoint {} deleted", text(&found, "/name")))
        }
        EndpointCommand::RotateSecret {
            endpoint,
            overlap_secs,
        } => {
            let id = api.find_id(ENDPOINTS, &endpoint).await?;
            let made = api
                .post(
                    &format!("{}/secret", path(&id)),
                    &json!({ "overlap_secs": overlap_secs }),
                )
                .await?;
            match time_short(&text(&made, "/previous_until")) {
                none if none.is_empty() => {}
                until => context
                    .out
                    .remark(&format!("the secret before it signs along until {until}")),
            }
            context.out.remark("this is shown once:");
            context.show(&made, |out| out.line(&text(&made, "/secret")))
        }
        EndpointCommand::EndOverlap { endpoint } => {
            let id = api.find_id(ENDPOINTS, &endpoint).await?;
            api.delete(&format!("{}/secret/previous", path(&id)))
                .await?;
            context.done(&format!("{endpoint}: only the newest secret signs"))
        }
        EndpointCommand::Enable { endpoint } => {
            update(context, &api, &endpoint, &json!({ "enabled": true })).await
        }
        EndpointCommand::Disable { endpoint } => {
            update(context, &api, &endpoint, &json!({ "enabled": false })).await
        }
    }
}

async fn update(context: &Context, api: &Api, endpoint: &str, body: &Value) -> Result<(), Failure> {
    let id = api.find_id(ENDPOINTS, endpoint).await?;
    let changed = api.patch(&path(&id), body).await?;
    context.show(&changed, |_| show(context, &changed))
}

fn path(id: &str) -> String {
    format!("{}/{id}", ENDPOINTS.path)
}

fn created(context: &Context, made: &Value) -> Result<(), Failure> {
    let endpoint = made.get("endpoint").unwrap_or(made);
    context.show(made, |out| {
        show(context, endpoint)?;
        out.line(&format!("\nsecret (shown once): {}", text(made, "/secret")))
    })
}

fn show(context: &Context, endpoint: &Value) -> Result<(), Failure> {
    let mut fields = Fields::default();
    fields
        .add("id", text(endpoint, "/id"))
        .add("name", text(endpoint, "/name"))
        .add("url", text(endpoint, "/url"))
        .add("enabled", Cell::state(yes_no(endpoint, "/enabled")))
        .add("tenant", text(endpoint, "/tenant_id"))
        .add("signing", text(endpoint, "/signing"))
        .add("connect timeout", ms(endpoint, "/connect_timeout_ms"))
        .add("timeout", ms(endpoint, "/timeout_ms"))
        .add("max in flight", text(endpoint, "/max_in_flight"))
        .add("retry", text(endpoint, "/retry"))
        .add("headers", names_shown(endpoint))
        .add("secrets", secrets_shown(endpoint))
        .add("health", health_shown(endpoint))
        .add("breaker", Cell::state(text(endpoint, "/breaker/state")))
        .add("dependency", text(endpoint, "/breaker_settings/dependency"))
        .add("breaker error", text(endpoint, "/breaker/last_error"))
        .add(
            "next probe",
            time_short(&text(endpoint, "/breaker/probe_at")),
        )
        .add("waiting", text(endpoint, "/stats/waiting"))
        .add("in flight", text(endpoint, "/stats/in_flight"))
        .add("succeeded", text(endpoint, "/stats/succeeded"))
        .add("failed", text(endpoint, "/stats/failed"))
        .add("dead letters", text(endpoint, "/stats/dead"))
        .add("p50", ms(endpoint, "/stats/p50_ms"))
        .add("p99", ms(endpoint, "/stats/p99_ms"))
        .add(
            "last success",
            time_short(&text(endpoint, "/stats/last_success_at")),
        )
        .add(
            "last failure",
            time_short(&text(endpoint, "/stats/last_failure_at")),
        );
    context.out.fields(&fields)
}

/// `85 healthy`, or `unknown` while nothing was sent.
fn health_short(endpoint: &Value) -> String {
    let (score, state) = (
        text(endpoint, "/stats/health/score"),
        text(endpoint, "/stats/health/state"),
    );
    format!("{score} {state}").trim_start().to_owned()
}

/// The same with what it lost by: `55 degraded (failures -45)`.
fn health_shown(endpoint: &Value) -> String {
    let lost = endpoint.pointer("/stats/health/lost");
    let causes: Vec<String> = lost
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|one| format!("{} -{}", text(one, "/cause"), text(one, "/points")))
        .collect();
    match causes.is_empty() {
        true => health_short(endpoint),
        false => format!("{} ({})", health_short(endpoint), causes.join(", ")),
    }
}

fn names_shown(endpoint: &Value) -> String {
    let all = endpoint.pointer("/header_names").and_then(Value::as_array);
    let names = all.into_iter().flatten().filter_map(Value::as_str);
    names.collect::<Vec<_>>().join(", ")
}

/// `…abcd, …wxyz until 21 Nov 12:00`.
fn secrets_shown(endpoint: &Value) -> String {
    let all = endpoint.pointer("/secrets").and_then(Value::as_array);
    let shown = all
        .into_iter()
        .flatten()
        .map(|one| match time_short(&text(one, "/until")) {
            none if none.is_empty() => text(one, "/hint"),
            until => format!("{} until {until}", text(one, "/hint")),
        });
    shown.collect::<Vec<_>>().join(", ")
}

fn ms(value: &Value, pointer: &str) -> String {
    match text(value, pointer) {
        none if none.is_empty() => none,
        number => format!("{number} ms"),
    }
}

fn table(endpoints: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Text("NAME"),
        Column::Text("URL"),
        Column::Text("ENABLED"),
        Column::Text("HEALTH"),
        Column::Text("BREAKER"),
        Column::Number("WAITING"),
        Column::Number("SUCCEEDED"),
        Column::Number("FAILED"),
        Column::Number("DEAD"),
        Column::Whole("ID"),
    ]);
    for endpoint in endpoints {
        table.row([
            text(endpoint, "/name").into(),
            text(endpoint, "/url").into(),
            Cell::state(yes_no(endpoint, "/enabled")),
            health_short(endpoint).into(),
            Cell::state(text(endpoint, "/breaker/state")),
            text(endpoint, "/stats/waiting").into(),
            text(endpoint, "/stats/succeeded").into(),
            text(endpoint, "/stats/failed").into(),
            text(endpoint, "/stats/dead").into(),
            text(endpoint, "/id").into(),
        ]);
    }
    table
}
