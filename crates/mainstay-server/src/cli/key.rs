//! `mainstay key`: API keys.

use clap::Subcommand;
use serde_json::Value;

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
    /// Revoke a key
    #[command(visible_alias = "rm")]
    Revoke {
        /// Its id or name
        key: String,
        #[command(flatten)]
        consent: Consent,
    },
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
        KeyCommand::Revoke { key, consent } => {
            let found = api.find(KEYS, &key).await?;
            consent.ask(&format!("Revoke the key {}?", text(&found, "/name")))?;
            api.delete(&format!("{}/{}", KEYS.path, text(&found, "/id")))
                .await?;
            context.done(&format!("key {} revoked", text(&found, "/name")))
        }
    }
}

fn table(keys: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("ID"),
        Column::Text("NAME"),
        Column::Text("ROLE"),
        Column::Whole("TENANT"),
        Column::Whole("LAST USED"),
        Column::Whole("EXPIRES"),
    ]);
    for key in keys {
        table.row([
            text(key, "/id").into(),
            text(key, "/name").into(),
            text(key, "/role").into(),
            text(key, "/tenant_id").into(),
            time_short(&text(key, "/last_used_at")).into(),
            time_short(&text(key, "/expires_at")).into(),
        ]);
    }
    table
}
