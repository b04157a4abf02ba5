//! `mainstay queue`: how queues stand, who uses them, how much of them may run, and whether they run at all.

use std::str::FromStr;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{
    Context,
    api::{Api, TENANTS, list, text},
    args::{Body, PageArgs, time_short},
    failure::Failure,
    table::{Cell, Column, Fields, Table},
};

const QUEUES: &str = "/v1/queues";
/// Queues that are looked through at once for a name.
const PAGE: usize = 200;

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List queues
    #[command(visible_alias = "ls")]
    List(PageArgs),
    /// Show a queue, its limits and who uses it
    Show {
        /// Its name, or its endpoint's name or id
        queue: String,
    },
    /// Change how much of a queue may run; `none` takes a limit away
    Set {
        /// Its name, or its endpoint's name or id
        queue: String,
        #[command(flatten)]
        limits: LimitsArgs,
    },
    /// Start nothing more of it; what runs comes to its end
    Pause {
        /// Its name, or its endpoint's name or id
        queue: String,
    },
    /// Let it run again
    Resume {
        /// Its name, or its endpoint's name or id
        queue: String,
    },
    /// Run what was made until now, to its end; what comes later waits
    Drain {
        /// Its name, or its endpoint's name or id
        queue: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LimitsArgs {
    /// How many jobs may run at once
    #[arg(long, value_name = "N|none")]
    max_in_flight: Option<Limit<u32>>,
    /// How often one may begin: 100/m, 5/s, 1000/h; with a burst 100/m:20
    #[arg(long, value_name = "RATE|none")]
    rate: Option<Limit<RateArg>>,
    /// How many jobs of one tenant may run at once
    #[arg(long, value_name = "N|none")]
    tenant_max_in_flight: Option<Limit<u32>>,
    /// How often one of a tenant's may begin
    #[arg(long, value_name = "RATE|none")]
    tenant_rate: Option<Limit<RateArg>>,
    /// As soon as so many jobs wait, who submits one is told to come again later
    #[arg(long, value_name = "N|none")]
    max_waiting: Option<Limit<u32>>,
    /// The same as soon as the oldest has waited for longer than so many seconds
    #[arg(long, value_name = "SECS|none")]
    max_age_secs: Option<Limit<u32>>,
    /// A tenant's share of the worker time, by its slug or id; 1 is everybody's; several times for several
    #[arg(long = "weight", value_name = "TENANT=N")]
    weights: Vec<String>,
}

/// A limit, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Limit<T> {
    None,
    Some(T),
}

impl<T: FromStr<Err: ToString>> FromStr for Limit<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            text => text
                .parse()
                .map(Self::Some)
                .map_err(|error: T::Err| error.to_string()),
        }
    }
}

impl<T: Into<Self>> From<Limit<T>> for Value {
    fn from(limit: Limit<T>) -> Self {
        match limit {
            Limit::None => Self::Null,
            Limit::Some(value) => value.into(),
        }
    }
}

/// `100/m:20`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RateArg {
    count: u32,
    per_ms: i64,
    burst: u32,
}

impl FromStr for RateArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: a rate is given as 100/m, 5/10s or 100/m:20");
        let (rate, burst) = text.split_once(':').unwrap_or((text, "1"));
        let (count, per) = rate.split_once('/').ok_or_else(wrong)?;
        let digits = per.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (many, unit) = per.split_at(digits);
        let unit_ms: i64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let many: i64 = match many {
            "" => 1,
            many => many.parse().map_err(|_| wrong())?,
        };
        Ok(Self {
            count: count.parse().map_err(|_| wrong())?,
            per_ms: many.checked_mul(unit_ms).ok_or_else(wrong)?,
            burst: burst.parse().map_err(|_| wrong())?,
        })
    }
}

impl From<RateArg> for Value {
    fn from(rate: RateArg) -> Self {
        json!({ "count": rate.count, "per_ms": rate.per_ms, "burst": rate.burst })
    }
}

impl LimitsArgs {
    async fn into_body(self, api: &Api) -> Result<Body, Failure> {
        let mut weights = Map::new();
        for given in &self.weights {
            let (tenant, weight) = given
                .rsplit_once('=')
                .and_then(|(tenant, weight)| Some((tenant, weight.parse::<u32>().ok()?)))
                .ok_or_else(|| Failure::usage("a weight is given as TENANT=N"))?;
            weights.insert(api.find_id(TENANTS, tenant).await?, weight.into());
        }
        let mut body = Body::default();
        body.set("max_in_flight", self.max_in_flight)
            .set("rate", self.rate)
            .set("tenant_max_in_flight", self.tenant_max_in_flight)
            .set("tenant_rate", self.tenant_rate)
            .set("max_waiting", self.max_waiting)
            .set("max_age_secs", self.max_age_secs)
            .set("weights", (!weights.is_empty()).then_some(weights));
        Ok(body)
    }
}

pub(super) async fn run(context: &Context, command: QueueCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        QueueCommand::List(page) => {
            let found = api.list(QUEUES, &[], page.cursor, page.limit).await?;
            context.list(
                &found,
                table(&found.items),
                "no queues: no job was made yet",
            )
        }
        QueueCommand::Show { queue } => {
            let found = api.get(&path(&api, &queue).await?, &[]).await?;
            context.show(&found, |_| show(context, &found))
        }
        QueueCommand::Set { queue, limits } => {
            let body = limits.into_body(&api).await?;
            if body.is_empty() {
                return Err(Failure::usage("nothing to change"));
            }
            let changed = api.patch(&path(&api, &queue).await?, &body.value()).await?;
            context.show(&changed, |_| show(context, &changed))
        }
        QueueCommand::Pause { queue } => flow(context, &api, &queue, "pause").await,
        QueueCommand::Resume { queue } => flow(context, &api, &queue, "resume").await,
        QueueCommand::Drain { queue } => flow(context, &api, &queue, "drain").await,
    }
}

async fn flow(context: &Context, api: &Api, queue: &str, verb: &str) -> Result<(), Failure> {
    let path = path(api, queue).await?;
    let changed = api.post(&format!("{path}/{verb}"), &json!({})).await?;
    context.show(&changed, |out| {
        out.line(&format!(
            "{} is {}",
            label(&changed),
            text(&changed, "/flow")
        ))
    })
}

/// Where the queue of this name is, or of the endpoint that is called so.
async fn path(api: &Api, asked: &str) -> Result<String, Failure> {
    let mut cursor = None;
    loop {
        let page = api.list(QUEUES, &[], cursor, PAGE).await?;
        let is = |queue: &&Value| {
            let names = ["/name", "/endpoint_id", "/endpoint_name"];
            names.iter().any(|name| text(queue, name) == asked)
        };
        if let Some(found) = page.items.iter().find(is) {
            return Ok(format!("{QUEUES}/{}", text(found, "/name")));
        }
        // The server says that there is none.
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(format!("{QUEUES}/{asked}")),
        }
    }
}

/// How a person calls it.
fn label(queue: &Value) -> String {
    match text(queue, "/endpoint_name") {
        none if none.is_empty() => text(queue, "/name"),
        endpoint => endpoint,
    }
}

fn table(queues: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Text("QUEUE"),
        Column::Text("FLOW"),
        Column::Number("WAITING"),
        Column::Number("RUNNING"),
        Column::Number("RETRYING"),
        Column::Number("DEAD"),
        Column::Number("IN/S"),
        Column::Number("OUT/S"),
        Column::Number("DRAINED IN"),
        Column::Whole("OLDEST"),
    ]);
    for queue in queues {
        table.row([
            label(queue).into(),
            Cell::state(text(queue, "/flow")),
            text(queue, "/waiting").into(),
            text(queue, "/running").into(),
            text(queue, "/retrying").into(),
            text(queue, "/dead").into(),
            text(queue, "/in_per_sec").into(),
            text(queue, "/out_per_sec").into(),
            lasts(queue).into(),
            time_short(&text(queue, "/oldest_waiting_at")).into(),
        ]);
    }
    table
}

/// How long what there is takes.
fn lasts(queue: &Value) -> String {
    let Some(secs) = queue["drain_secs"].as_i64() else {
        return String::new();
    };
    match secs {
        0..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", secs / 60),
        _ => format!("{} h", secs / 3_600),
    }
}

/// Whether submissions are refused, of a queue that may.
fn takes_no_more(queue: &Value) -> String {
    if queue["full"] == true { "now" } else { "" }.to_owned()
}

/// So many seconds, where there are any.
fn secs(queue: &Value, pointer: &str) -> String {
    match text(queue, pointer) {
        none if none.is_empty() => none,
        secs => format!("{secs} s"),
    }
}

/// A rate as it is given.
fn rate(rate: &Value) -> String {
    if rate.is_null() {
        return String::new();
    }
    let per_ms = rate["per_ms"].as_i64().unwrap_or_default();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
        (1, "ms"),
    ];
    let unit = units.iter().find(|(ms, _)| per_ms % ms == 0);
    let per = match unit {
        Some((ms, unit)) if per_ms == *ms => (*unit).to_owned(),
        Some((ms, unit)) => format!("{}{unit}", per_ms / ms),
        None => format!("{per_ms}ms"),
    };
    let burst = match rate["burst"].as_u64() {
        None | Some(1) => String::new(),
        Some(burst) => format!(":{burst}"),
    };
    format!("{}/{per}{burst}", rate["count"])
}

fn show(context: &Context, queue: &Value) -> Result<(), Failure> {
    let mut fields = Fields::default();
    fields
        .add("queue", text(queue, "/name"))
        .add("endpoint", text(queue, "/endpoint_name"))
        .add("flow", Cell::state(text(queue, "/flow")))
        .add("since", time_short(&text(queue, "/flow_at")))
        .add("drained", text(queue, "/drained"))
        .add("breaker", text(queue, "/breaker"))
        .add("at once", text(queue, "/limits/max_in_flight"))
        .add("rate", rate(&queue["limits"]["rate"]))
        .add(
            "at once, each tenant",
            text(queue, "/limits/tenant_max_in_flight"),
        )
        .add("rate, each tenant", rate(&queue["limits"]["tenant_rate"]))
        .add("may wait", text(queue, "/limits/max_waiting"))
        .add("oldest may wait", secs(queue, "/limits/max_age_secs"))
        .add("takes no more", takes_no_more(queue))
        .add("waiting", text(queue, "/waiting"))
        .add("running", text(queue, "/running"))
        .add("retrying", text(queue, "/retrying"))
        .add("scheduled", text(queue, "/scheduled"))
        .add("dead", text(queue, "/dead"))
        .add("oldest", time_short(&text(queue, "/oldest_waiting_at")))
        .add("in a second", text(queue, "/in_per_sec"))
        .add("out a second", text(queue, "/out_per_sec"))
        .add("drained in", lasts(queue));
    context.out.fields(&fields)?;
    context.out.title("Who uses it, and who waits")?;
    let mut table = Table::new(&[
        Column::Whole("TENANT"),
        Column::Number("WORKER MS IN 5 MIN"),
        Column::Number("RUNNING"),
        Column::Number("WAITING"),
        Column::Number("WEIGHT"),
        Column::Text("LIMITED"),
    ]);
    for tenant in list(queue, "/tenants") {
        let id = text(tenant, "/tenant_id");
        let more = if tenant["more"] == true { "+" } else { "" };
        let weight = text(queue, &format!("/limits/weights/{id}"));
        table.row([
            id.into(),
            text(tenant, "/used_ms").into(),
            text(tenant, "/running").into(),
            format!("{}{more}", text(tenant, "/waiting")).into(),
            if weight.is_empty() {
                "1".to_owned()
            } else {
                weight
            }
            .into(),
            if tenant["limited"] == true { "yes" } else { "" }
                .to_owned()
                .into(),
        ]);
    }
    context.out.table(&table, "nobody")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_and_written_alike() {
        for text in ["100/m", "5/s", "3/10s", "1000/h:20", "1/d", "7/250ms"] {
            let read: RateArg = text.parse().expect("a rate");
            assert_eq!(rate(&Value::from(read)), text);
        }
        for wrong in ["", "5", "5/", "5/x", "a/s", "5/s:", "5/s:x", "/s"] {
            assert!(wrong.parse::<RateArg>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn none_takes_a_limit_away() {
        let none: Limit<u32> = "none".parse().expect("none");
        assert_eq!(Value::from(none), Value::Null);
        let some: Limit<u32> = "7".parse().expect("a limit");
        assert_eq!(Value::from(some), json!(7));
        assert!("many".parse::<Limit<u32>>().is_err());
    }
}
