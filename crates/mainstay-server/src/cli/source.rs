//! `mainstay source`: the doors that webhooks come in by.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

mod drift;
mod expected;
mod link;
mod reverify;
mod rhythm;
mod schema;

use super::{
    Context,
    api::{Api, SOURCES, TENANTS, list, number, text},
    args::{Body, Consent, JsonArg, PageArgs, SecretArg, time_short},
    failure::Failure,
    table::{Cell, Column, Fields, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum SourceCommand {
    /// Add a source: POST /in/NAME takes its webhooks from then on
    Create {
        /// Its name, which becomes part of its URL
        name: String,
        /// How its provider signs
        #[arg(long, value_parser = super::SCHEMES)]
        scheme: String,
        /// The signing secret: itself, @FILE, or - for standard input (default: one is made)
        #[arg(long)]
        secret: Option<SecretArg>,
        /// Whose events come in here (default: the first tenant)
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// List sources
    #[command(visible_alias = "ls")]
    List(PageArgs),
    /// Show a source
    Show {
        /// Its name or id
        source: String,
    },
    /// Change a source
    Update {
        /// Its name or id
        source: String,
        /// A new name; the URL changes with it
        #[arg(long)]
        name: Option<String>,
        /// Take requests
        #[arg(long, conflicts_with = "disable")]
        enable: bool,
        /// Take no more requests
        #[arg(long)]
        disable: bool,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Delete a source that no binding names; its events stay
    #[command(visible_alias = "rm")]
    Delete {
        /// Its name or id
        source: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Verify refused requests again, once a secret or setting was mended: shows the plan, then asks
    Reverify {
        /// Its name or id
        source: String,
        /// Show the plan and do nothing
        #[arg(long)]
        plan: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// Add and remove signing secrets, to rotate them
    #[command(subcommand, subcommand_required = true)]
    Secret(SecretCommand),
    /// Say what events are expected to look like: JSON Schemas by type, in versions
    #[command(subcommand, subcommand_required = true)]
    Schema(schema::SchemaCommand),
    /// List what its events began to say that they never said before, newest first; or acknowledge it
    Drift {
        /// The source's name or id
        source: String,
        /// Those as well that somebody acknowledged
        #[arg(long)]
        all: bool,
        /// Acknowledge these findings, or all that there are
        #[arg(long, value_name = "ID", num_args = 0.., conflicts_with_all = ["all", "cursor", "limit"])]
        acknowledge: Option<Vec<String>>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show how many events of each type are expected and came, and when that did not fit
    Rhythm {
        /// The source's name or id
        source: String,
        /// This type by the hour (default: all types, each summed up)
        #[arg(long = "type", value_name = "TYPE", conflicts_with = "signals")]
        event_type: Option<String>,
        /// The last seven days instead of the last 24 hours
        #[arg(long, conflicts_with = "signals")]
        week: bool,
        /// List when it was silent or brought too much, newest first
        #[arg(long)]
        signals: bool,
        /// Of these only the ones that go on
        #[arg(long, requires = "signals")]
        open: bool,
        #[command(flatten)]
        page: PageArgs,
    },
    /// List expected events that did not come in time, newest first; or acknowledge them
    Expected {
        /// The source's name or id
        source: String,
        /// Those as well that somebody acknowledged
        #[arg(long)]
        all: bool,
        /// Those that may still come
        #[arg(long, conflicts_with = "all")]
        waiting: bool,
        /// What became of each rule's
        #[arg(long, conflicts_with_all = ["all", "waiting", "cursor", "limit"])]
        rules: bool,
        /// Acknowledge these, or all that there are
        #[arg(long, value_name = "ID", num_args = 0.., conflicts_with_all = ["all", "waiting", "rules", "cursor", "limit"])]
        acknowledge: Option<Vec<String>>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Link a value, such as a provider's account, to a tenant: what waited for it is given to the tenant
    Link {
        /// The source's name or id
        source: String,
        /// The value; an empty one stands for events in which no value is found
        #[arg(requires = "tenant", conflicts_with = "import")]
        value: Option<String>,
        /// The tenant's slug or id
        tenant: Option<String>,
        /// Link many: a JSON list of objects with value and tenant: itself, @FILE, or - for standard input
        #[arg(long, value_name = "JSON")]
        import: Option<JsonArg>,
    },
    /// Remove the link of a value: what comes from now on waits
    Unlink {
        /// The source's name or id
        source: String,
        /// The value
        value: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// List the links of a source
    Links {
        /// The source's name or id
        source: String,
        /// Only to this tenant
        #[arg(long)]
        tenant: Option<String>,
        /// Only values that begin so
        #[arg(long, short = 'q', value_name = "TEXT")]
        search: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Add a secret; any of a source's secrets may match
    Add {
        /// The source's name or id
        source: String,
        /// The secret: itself, @FILE, or - for standard input (default: one is made)
        #[arg(long)]
        secret: Option<SecretArg>,
    },
    /// Remove a secret
    #[command(visible_alias = "rm")]
    Remove {
        /// The source's name or id
        source: String,
        /// The secret's id, as `source show` lists it
        secret: String,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    /// How many seconds a signature's time may be off
    #[arg(long, value_name = "SECS")]
    tolerance_secs: Option<u32>,
    /// The largest body
    #[arg(long, value_name = "BYTES")]
    body_limit_bytes: Option<u32>,
    /// For the scheme hmac: its rule as JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    hmac: Option<JsonArg>,
    /// For the scheme bearer: where the token stands, as JSON with header and prefix
    #[arg(long, value_name = "JSON")]
    bearer: Option<JsonArg>,
    /// For the schemes bearer and address: where the event's id, type and time stand, as JSON
    #[arg(long, value_name = "JSON")]
    event: Option<JsonArg>,
    /// An address or a range that requests may come from, such as 192.0.2.0/24; may be given several times
    #[arg(long, value_name = "RANGE")]
    allow: Vec<String>,
    /// Let requests in from any address again
    #[arg(long, conflicts_with = "allow")]
    allow_all: bool,
    /// For the scheme twilio: the URL as Twilio has it, without its query (default: the server's public URL)
    #[arg(long, value_name = "URL")]
    sent_to: Option<String>,
    /// For the scheme meta: the verify token: itself, @FILE, or - for standard input
    #[arg(long, value_name = "TOKEN")]
    verify_token: Option<SecretArg>,
    /// What accepted requests are answered with: JSON with status, content_type and body, or null
    #[arg(long, value_name = "JSON")]
    answer: Option<JsonArg>,
    /// How the tenant of each event is found: JSON such as {"find":[{"pointer":"/account"}]}, or null for the source's own
    #[arg(long, value_name = "JSON")]
    tenant_rule: Option<JsonArg>,
    /// What must come after what: a JSON list of rules, @FILE, or - for standard input; [] for none
    #[arg(long, value_name = "JSON")]
    expect: Option<JsonArg>,
    /// How much its provider sends at the most: JSON such as {"per_second":50,"burst":500}, or null for as much as it likes
    #[arg(long, value_name = "JSON")]
    rate: Option<JsonArg>,
}

impl SettingsArgs {
    /// What was given, over what there is: the API takes settings as a whole.
    fn into_body(self, body: &mut Body, known: Option<&Value>) -> Result<(), Failure> {
        let mut settings = Body::default();
        settings
            .set("tolerance_secs", self.tolerance_secs)
            .set("body_limit_bytes", self.body_limit_bytes)
            .set("hmac", self.hmac.map(|rule| rule.read()).transpose()?)
            .set("bearer", self.bearer.map(|rule| rule.read()).transpose()?)
            .set("event", self.event.map(|rule| rule.read()).transpose()?)
            .set("url", self.sent_to)
            .set(
                "allow",
                (self.allow_all || !self.allow.is_empty()).then_some(self.allow),
            )
            .set(
                "answer",
                self.answer.map(|answer| answer.read()).transpose()?,
            )
            .set(
                "tenant",
                self.tenant_rule.map(|rule| rule.read()).transpose()?,
            )
            .set("expect", self.expect.map(|rules| rules.read()).transpose()?)
            .set("rate", self.rate.map(|rate| rate.read()).transpose()?);
        let token = self.verify_token.map(|token| token.read()).transpose()?;
        let settings = settings.some().map(|given| over(known, given));
        body.set("verify_token", token).set("settings", settings);
        Ok(())
    }
}

fn over(known: Option<&Value>, given: Value) -> Value {
    let mut merged = known
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    if let Value::Object(given) = given {
        merged.extend(given);
    }
    Value::Object(merged)
}

pub(super) async fn run(context: &Context, command: SourceCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        SourceCommand::Create {
            name,
            scheme,
            secret,
            tenant,
            settings,
        } => {
            let mut body = Body::default();
            let tenant = api.find_id_some(TENANTS, tenant).await?;
            body.set("name", Some(name))
                .set("scheme", Some(scheme))
                .set("tenant_id", tenant)
                .set("secret", secret.map(|secret| secret.read()).transpose()?);
            settings.into_body(&mut body, None)?;
            let made = api.post(SOURCES.path, &body.value()).await?;
            created(context, &api, &made)
        }
        SourceCommand::List(page) => {
            let found = api.list(SOURCES.path, &[], page.cursor, page.limit).await?;
            context.list(
                &found,
                table(&found.items),
                "no sources; `mainstay source create` adds one",
            )
        }
        SourceCommand::Show { source } => {
            let found = get(&api, &source).await?;
            context.show(&found, |_| show(context, &api, &found))
        }
        SourceCommand::Update {
            source,
            name,
            enable,
            disable,
            settings,
        } => {
            let mut body = Body::default();
            let enabled = (enable || disable).then_some(enable);
            body.set("name", name).set("enabled", enabled);
            let known = get(&api, &source).await?;
            settings.into_body(&mut body, known.get("settings"))?;
            if body.is_empty() {
                return Err(Failure::usage("nothing to change"));
            }
            let id = text(&known, "/id");
            let changed = api.patch(&path(&id), &body.value()).await?;
            context.show(&changed, |_| show(context, &api, &changed))
        }
        SourceCommand::Delete { source, consent } => {
            let found = api.find(SOURCES, &source).await?;
            consent.ask(&format!(
                "Delete the source {}? Its URL stops working.",
                text(&found, "/name")
            ))?;
            api.delete(&path(&text(&found, "/id"))).await?;
            context.done(&format!("source {} deleted", text(&found, "/name")))
        }
        SourceCommand::Reverify {
            source,
            plan,
            consent,
        } => reverify::run(context, &api, &source, plan, consent).await,
        SourceCommand::Secret(command) => secret(context, &api, command).await,
        SourceCommand::Schema(command) => schema::run(context, &api, command).await,
        SourceCommand::Drift {
            source,
            all,
            acknowledge,
            page,
        } => {
            let asked = drift::Asked {
                all,
                acknowledge,
                page,
            };
            drift::run(context, &api, &source, asked).await
        }
        SourceCommand::Rhythm {
            source,
            event_type,
            week,
            signals,
            open,
            page,
        } => {
            let asked = rhythm::Asked {
                event_type,
                week,
                signals,
                open,
                page,
            };
            rhythm::run(context, &api, &source, asked).await
        }
        SourceCommand::Expected {
            source,
            all,
            waiting,
            rules,
            acknowledge,
            page,
        } => {
            let asked = expected::Asked {
                all,
                waiting,
                rules,
                acknowledge,
                page,
            };
            expected::run(context, &api, &source, asked).await
        }
        SourceCommand::Link {
            source,
            value,
            tenant,
            import,
        } => link::link(context, &api, &source, (value, tenant), import).await,
        SourceCommand::Unlink {
            source,
            value,
            consent,
        } => link::unlink(context, &api, &source, &value, consent).await,
        SourceCommand::Links {
            source,
            tenant,
            search,
            page,
        } => link::links(context, &api, &source, tenant, search, page).await,
    }
}

async fn secret(context: &Context, api: &Api, command: SecretCommand) -> Result<(), Failure> {
    match command {
        SecretCommand::Add { source, secret } => {
            let id = api.find_id(SOURCES, &source).await?;
            let mut body = Body::default();
            body.set("secret", secret.map(|secret| secret.read()).transpose()?);
            let made = api
                .post(&format!("{}/secrets", path(&id)), &body.value())
                .await?;
            context.show(&made, |out| {
                let mut fields = Fields::default();
                fields
                    .add("id", text(&made, "/id"))
                    .add("secret", text(&made, "/secret"));
                out.fields(&fields)
            })
        }
        SecretCommand::Remove {
            source,
            secret,
            consent,
        } => {
            let id = api.find_id(SOURCES, &source).await?;
            consent.ask(&format!(
                "Remove the secret {secret}? Requests signed with it are refused."
            ))?;
            api.delete(&format!("{}/secrets/{secret}", path(&id)))
                .await?;
            context.done("secret removed")
        }
    }
}

fn path(id: &str) -> String {
    format!("{}/{id}", SOURCES.path)
}

async fn get(api: &Api, source: &str) -> Result<Value, Failure> {
    let id = api.find_id(SOURCES, source).await?;
    api.get(&path(&id), &[]).await
}

/// A source that was just made: where to point the provider, and a secret that was made for it.
fn created(context: &Context, api: &Api, made: &Value) -> Result<(), Failure> {
    let source = made.get("source").unwrap_or(made);
    context.show(made, |out| {
        show(context, api, source)?;
        let secret = text(made, "/secret");
        if !secret.is_empty() {
            out.line(&format!("\nsecret (shown once): {secret}"))?;
        }
        Ok(())
    })
}

/// How many were refused, and how many of them were only counted.
fn refused(source: &Value) -> String {
    let all = number(source, "/stats/refused");
    match number(source, "/stats/refused_not_kept") {
        0 => all.to_string(),
        not_kept => {
            let since = time_short(&text(source, "/stats/refused_not_kept_since"));
            format!("{all}, of which {not_kept} not kept since {since}")
        }
    }
}

/// A share of the last 24 hours with what it is of.
fn score(source: &Value, name: &str) -> String {
    let at = |field: &str| format!("/stats/quality/{name}/{field}");
    match source.pointer(&at("score")).and_then(Value::as_f64) {
        None => "no data".to_owned(),
        Some(score) => format!(
            "{:.1} % ({} of {})",
            score * 100.0,
            number(source, &at("numerator")),
            number(source, &at("denominator"))
        ),
    }
}

fn show(context: &Context, api: &Api, source: &Value) -> Result<(), Failure> {
    let mut fields = Fields::default();
    let settings = source.get("settings").cloned().unwrap_or_else(|| json!({}));
    fields
        .add("id", text(source, "/id"))
        .add("name", text(source, "/name"))
        .add("scheme", text(source, "/scheme"))
        .add("enabled", Cell::state(yes_no(source, "/enabled")))
        .add("tenant", text(source, "/tenant_id"))
        .add("url", url(api, source))
        .add("settings", settings.to_string())
        .add("received", number(source, "/stats/received").to_string())
        .add("events", number(source, "/stats/events").to_string())
        .add(
            "duplicates",
            number(source, "/stats/duplicates").to_string(),
        )
        .add("refused", refused(source))
        .add(
            "over its rate",
            number(source, "/stats/rate_exceeded").to_string(),
        )
        .add(
            "turned away",
            number(source, "/stats/turned_away").to_string(),
        )
        .add("conflicts", number(source, "/stats/conflicts").to_string())
        .add(
            "last event",
            time_short(&text(source, "/stats/last_event_at")),
        )
        .add("completeness", score(source, "completeness"))
        .add("accuracy", score(source, "accuracy"))
        .add("freshness", score(source, "freshness"));
    context.out.fields(&fields)?;
    let mut secrets = Table::new(&[
        Column::Whole("SECRET"),
        Column::Text("HINT"),
        Column::Whole("ADDED"),
        Column::Whole("LAST USED"),
    ]);
    for secret in list(source, "/secrets") {
        secrets.row([
            text(secret, "/id").into(),
            text(secret, "/hint").into(),
            time_short(&text(secret, "/created_at")).into(),
            time_short(&text(secret, "/last_used_at")).into(),
        ]);
    }
    context.out.line("")?;
    context
        .out
        .table(&secrets, "no secrets: every request is refused")
}

/// What to tell the provider: the API names the path, or the whole where a public URL is configured.
fn url(api: &Api, source: &Value) -> String {
    let given = text(source, "/url");
    api.base().join(&given).map_or(given, String::from)
}

pub(super) fn yes_no(value: &Value, pointer: &str) -> &'static str {
    match value.pointer(pointer).and_then(Value::as_bool) {
        Some(true) => "yes",
        Some(false) => "no",
        None => "",
    }
}

fn table(sources: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Text("NAME"),
        Column::Text("SCHEME"),
        Column::Text("ENABLED"),
        Column::Number("RECEIVED"),
        Column::Number("EVENTS"),
        Column::Number("REFUSED"),
        Column::Whole("LAST EVENT"),
        Column::Whole("ID"),
    ]);
    for source in sources {
        table.row([
            text(source, "/name").into(),
            text(source, "/scheme").into(),
            Cell::state(yes_no(source, "/enabled")),
            text(source, "/stats/received").into(),
            text(source, "/stats/events").into(),
            text(source, "/stats/refused").into(),
            time_short(&text(source, "/stats/last_event_at")).into(),
            text(source, "/id").into(),
        ]);
    }
    table
}
