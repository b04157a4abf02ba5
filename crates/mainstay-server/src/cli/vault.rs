//! `mainstay vault`: encryption at rest.

use std::time::Duration;

use clap::Subcommand;
use mainstay_domain::vault::MasterKey;
use serde_json::{Value, json};

use super::{
    Context,
    api::{TENANTS, text},
    args::time_short,
    failure::{Exit, Failure},
    table::{Cell, Column, Fields, Table},
};

/// How often a rotation that is waited for is asked after.
const ASK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Make a master key; keep it where backups are not
    MasterKey,
    /// Show which keys there are, and how far a rotation is
    Status,
    /// List data keys
    Keys,
    /// Wrap all data keys with the newest master key; then the old master key can be taken away
    Rotate {
        /// Seal what is not sealed yet as well
        #[arg(long, conflicts_with = "reseal")]
        seal: bool,
        /// Make new data keys and seal everything with them; the old ones are removed
        #[arg(long)]
        reseal: bool,
        /// Wait until it is over
        #[arg(long)]
        wait: bool,
    },
    /// Destroy a tenant's keys: nobody can read its payloads and secrets any more, ever
    Erase {
        /// Its id, slug or name
        tenant: String,
        /// Its slug once more
        #[arg(long, value_name = "SLUG")]
        confirm: String,
    },
}

pub(super) async fn run(context: &Context, command: VaultCommand) -> Result<(), Failure> {
    match command {
        VaultCommand::MasterKey => master_key(context),
        VaultCommand::Status => status(context).await,
        VaultCommand::Keys => keys(context).await,
        VaultCommand::Rotate { seal, reseal, wait } => {
            let mode = match (seal, reseal) {
                (true, _) => "seal",
                (_, true) => "data",
                _ => "master",
            };
            rotate(context, mode, wait).await
        }
        VaultCommand::Erase { tenant, confirm } => {
            let api = context.api()?;
            let found = api.find(TENANTS, &tenant).await?;
            let path = format!("{}/{}/erase", TENANTS.path, text(&found, "/id"));
            let erased = api.post(&path, &json!({ "confirm": confirm })).await?;
            context.show(&erased, |out| {
                out.line(&format!(
                    "tenant {} erased: {} data keys destroyed",
                    text(&found, "/slug"),
                    text(&erased, "/keys_destroyed")
                ))
            })
        }
    }
}

fn master_key(context: &Context) -> Result<(), Failure> {
    let made = MasterKey::make();
    let made = made.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    context.out.remark("this is shown once, and kept nowhere:");
    let shown = json!({ "master_key": made });
    context.show(&shown, |out| out.line(&made))
}

async fn status(context: &Context) -> Result<(), Failure> {
    let found = context.api()?.get("/v1/vault", &[]).await?;
    context.show(&found, |out| {
        let on = found.get("on").and_then(Value::as_bool) == Some(true);
        out.line(match on {
            true => "encryption at rest is on",
            false => "encryption at rest is off: payloads and secrets are stored as they are",
        })?;
        if on && text(&found, "/whole") != "true" {
            out.line("what was stored before is not sealed yet: `mainstay vault rotate --seal`")?;
        }
        let mut table = Table::new(&[
            Column::Whole("MASTER KEY"),
            Column::Text("HERE"),
            Column::Number("DATA KEYS"),
            Column::Number("RETIRED"),
        ]);
        for key in items(&found, "/master_keys") {
            let here = match (
                text(key, "/configured").as_str(),
                text(key, "/wraps").as_str(),
            ) {
                (_, "true") => "wraps",
                ("true", _) => "unwraps",
                _ => "missing",
            };
            table.row([
                text(key, "/id").into(),
                Cell::state(here.to_owned()),
                text(key, "/current").into(),
                text(key, "/retired").into(),
            ]);
        }
        out.table(&table, "no keys")?;
        match found.get("rotation").filter(|rotation| !rotation.is_null()) {
            Some(rotation) => out.fields(&rotation_fields(rotation)),
            None => Ok(()),
        }
    })
}

async fn keys(context: &Context) -> Result<(), Failure> {
    let api = context.api()?;
    let mut all: Vec<Value> = Vec::new();
    let mut after = Some("0".to_owned());
    while let Some(from) = after.take() {
        let page = api.get("/v1/vault/keys", &[("after", Some(from))]).await?;
        all.extend(items(&page, "/items").cloned());
        after = Some(text(&page, "/next_after")).filter(|next| !next.is_empty());
    }
    let mut table = Table::new(&[
        Column::Number("NUMBER"),
        Column::Whole("TENANT"),
        Column::Text("STATE"),
        Column::Whole("MASTER KEY"),
        Column::Whole("CREATED"),
    ]);
    for key in &all {
        table.row([
            text(key, "/number").into(),
            text(key, "/tenant_id").into(),
            Cell::state(text(key, "/state")),
            text(key, "/master_key_id").into(),
            time_short(&text(key, "/created_at")).into(),
        ]);
    }
    context.show(&json!({ "items": all }), |out| out.table(&table, "no keys"))
}

async fn rotate(context: &Context, mode: &str, wait: bool) -> Result<(), Failure> {
    let api = context.api()?;
    let mut rotation = api
        .post("/v1/vault/rotations", &json!({ "mode": mode }))
        .await?;
    while wait && text(&rotation, "/phase") != "done" {
        tokio::time::sleep(ASK_EVERY).await;
        let vault = api.get("/v1/vault", &[]).await?;
        rotation = vault.get("rotation").cloned().unwrap_or_default();
    }
    context.show(&rotation, |out| out.fields(&rotation_fields(&rotation)))
}

fn items<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn rotation_fields(rotation: &Value) -> Fields {
    let mut fields = Fields::default();
    for (label, pointer) in [
        ("rotation", "/mode"),
        ("phase", "/phase"),
        ("started by", "/started_by"),
        ("started", "/started_at"),
        ("ended", "/ended_at"),
        ("keys wrapped", "/keys_wrapped"),
        ("rows", "/rows"),
        ("values sealed", "/values_sealed"),
        ("unreadable", "/values_unreadable"),
        ("keys removed", "/keys_removed"),
    ] {
        fields.add(label, text(rotation, pointer));
    }
    fields
}
