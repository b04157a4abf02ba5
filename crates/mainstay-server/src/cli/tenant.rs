//! `mainstay tenant`: the customers of the SaaS.

use clap::Subcommand;
use serde_json::Value;

use super::{
    Context,
    api::{TENANTS, text},
    args::{Body, Consent, PageArgs, time_short},
    failure::Failure,
    table::{Column, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// List tenants
    #[command(visible_alias = "ls")]
    List(PageArgs),
    /// Add a tenant
    Create {
        /// Its name
        name: String,
        /// A short name for URLs and filters (default: made of the name)
        #[arg(long)]
        slug: Option<String>,
    },
    /// Delete a tenant that nothing belongs to any more
    #[command(visible_alias = "rm")]
    Delete {
        /// Its id, slug or name
        tenant: String,
        #[command(flatten)]
        consent: Consent,
    },
}

pub(super) async fn run(context: &Context, command: TenantCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        TenantCommand::List(page) => {
            let found = api.list(TENANTS.path, &[], page.cursor, page.limit).await?;
            context.list(&found, table(&found.items), "no tenants")
        }
        TenantCommand::Create { name, slug } => {
            let mut body = Body::default();
            body.set("name", Some(name)).set("slug", slug);
            let made = api.post(TENANTS.path, &body.value()).await?;
            context.show(&made, |out| {
                out.table(&table(std::slice::from_ref(&made)), "")
            })
        }
        TenantCommand::Delete { tenant, consent } => {
            let found = api.find(TENANTS, &tenant).await?;
            consent.ask(&format!("Delete the tenant {}?", text(&found, "/name")))?;
            api.delete(&format!("{}/{}", TENANTS.path, text(&found, "/id")))
                .await?;
            context.done(&format!("tenant {} deleted", text(&found, "/name")))
        }
    }
}

fn table(tenants: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("ID"),
        Column::Text("SLUG"),
        Column::Text("NAME"),
        Column::Whole("CREATED"),
    ]);
    for tenant in tenants {
        table.row([
            text(tenant, "/id").into(),
            text(tenant, "/slug").into(),
            text(tenant, "/name").into(),
            time_short(&text(tenant, "/created_at")).into(),
        ]);
    }
    table
}
