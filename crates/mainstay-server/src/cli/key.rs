//! `mainstay key`: API keys.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    Context,
    api::{KEYS, TENANTS, text},
    args::{Body, Consent, PageArgs, Role, time_short},
    failure::Failure,
    table::{Column, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key; its secret is shown this once
    Create {
        /// What it is for
        name: String,
        /// What it may do
        #[arg(long, value_enum, default_value = "viewer")]
        role: Role,
        /// Bind it to a tenant: it sees nothing else
        #[arg(long)]
        tenant: Option<String>,
    },
    /// List keys
    #[command(visible_alias = "ls")]
    List(PageArgs),
    /// Say how many requests a key may make, in the place of what all keys may
    Limit {
        /// Its id or name
        key: String,
        /// Which requests
        #[arg(value_enum)]
        class: LimitClass,
        /// How many in a minute, on each node
        #[arg(required_unless_present = "usual", conflicts_with = "usual")]
        per_minute: Option<u32>,
        /// Until when: 2026-12-01T00:00:00Z. Left out: until it is changed
        #[arg(long, conflicts_with = "usual")]
        until: Option<String>,
        /// Why, for whoever comes across it
        #[arg(long, required_unless_present = "usual")]
        reason: Option<String>,
        /// What all keys may, from now on
        #[arg(long)]
        usual: bool,
    },
    /// Revoke a key
    #[command(visible_alias = "rm")]
    Revoke {
        /// Its id or name
        key: String,
        #[command(flatten)]
        consent: Consent,
    },
}

/// Which requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LimitClass {
    /// That look at something
    Reads,
    /// That change something
    Writes,
    /// That buy something
    Purchases,
    /// That buy credits
    #[value(name = "credit_purchases")]
    CreditPurchases,
    /// That submit jobs or follow events
    Work,
}

impl LimitClass {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Purchases => "purchases",
            Self::CreditPurchases => "credit_purchases",
            Self::Work => "work",
        }
    }
}

pub(super) async fn run(context: &Context, command: KeyCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        KeyCommand::Create { name, role, tenant } => {
            let tenant = api.find_id_some(TENANTS, tenant).await?;
            let mut body = Body::default();
            body.set("name", Some(name))
                .set("role", Some(role.as_str()))
                .set("tenant_id", tenant);
            let made = api.post(KEYS.path, &body.value()).await?;
            context.out.remark("this is shown once:");
            context.show(&made, |out| out.line(&text(&made, "/secret")))
        }
        KeyCommand::List(page) => {
            let found = api.list(KEYS.path, &[], page.cursor, page.limit).await?;
            context.list(&found, table(&found.items), "no keys")
        }
        KeyCommand::Limit {
            key,
            class,
            per_minute,
            until,
            reason,
            usual: _,
        } => {
            let found = api.find(KEYS, &key).await?;
            let word = per_minute.map(|per_minute| {
                json!({ "class": class.as_str(), "per_minute": per_minute, "until": until, "reason": reason })
            });
            let body = json!({ "limits": limits_with(&found, class, word) });
            let path = format!("{}/{}", KEYS.path, text(&found, "/id"));
            let changed = api.patch(&path, &body).await?;
            let shown = table(std::slice::from_ref(&changed));
            context.show(&changed, |out| out.table(&shown, ""))
        }
        KeyCommand::Revoke { key, consent } => {
            let found = api.find(KEYS, &key).await?;
            consent.ask(&format!("Revoke the key {}?", text(&found, "/name")))?;
            api.delete(&format!("{}/{}", KEYS.path, text(&found, "/id")))
                .await?;
            context.done(&format!("key {} revoked", text(&found, "/name")))
        }
    }
}

/// What is said of a key's limits already, with this word on one class.
fn limits_with(key: &Value, class: LimitClass, word: Option<Value>) -> Vec<Value> {
    let said = key["limits"].as_array().into_iter().flatten();
    let others = said.filter(|limit| limit["class"] != class.as_str());
    // Who said it and when is the server's to say.
    let kept = others.map(|limit| {
        json!({ "class": limit["class"], "per_minute": limit["per_minute"], "until": limit["until"], "reason": limit["reason"] })
    });
    kept.chain(word).collect()
}

/// `writes 600 until 2026-12-01 00:00`, of each class.
fn limits_text(key: &Value) -> String {
    let said = key["limits"].as_array().into_iter().flatten();
    let one = |limit: &Value| {
        let until = time_short(&text(limit, "/until"));
        let end = if until.is_empty() {
            until
        } else {
            format!(" until {until}")
        };
        format!("{} {}{end}", text(limit, "/class"), limit["per_minute"])
    };
    said.map(one).collect::<Vec<_>>().join(", ")
}

fn table(keys: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("ID"),
        Column::Text("NAME"),
        Column::Text("ROLE"),
        Column::Whole("TENANT"),
        Column::Whole("LAST USED"),
        Column::Whole("EXPIRES"),
        Column::Text("LIMITS"),
    ]);
    for key in keys {
        table.row([
            text(key, "/id").into(),
            text(key, "/name").into(),
            text(key, "/role").into(),
            text(key, "/tenant_id").into(),
            time_short(&text(key, "/last_used_at")).into(),
            time_short(&text(key, "/expires_at")).into(),
            limits_text(key).into(),
        ]);
    }
    table
}
