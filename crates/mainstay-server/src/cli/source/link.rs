//! `mainstay source link`, `unlink` and `links`: which value of a provider's stands for which tenant.

use serde_json::{Value, json};

use crate::cli::{
    Context,
    api::{Api, SOURCES, TENANTS, list, number, text},
    args::{Consent, JsonArg, PageArgs, time_short},
    failure::Failure,
    table::{Column, Table},
};

/// Values that one request links.
const AT_ONCE: usize = 1_000;

fn path(id: &str) -> String {
    format!("{}/{id}/links", SOURCES.path)
}

/// Links one value, or many from a file.
pub(super) async fn link(
    context: &Context,
    api: &Api,
    source: &str,
    one: (Option<String>, Option<String>),
    import: Option<JsonArg>,
) -> Result<(), Failure> {
    let links = match (one, import) {
        ((Some(value), Some(tenant)), None) => {
            vec![json!({ "value": value, "tenant": tenant })]
        }
        ((None, None), Some(import)) => match import.read()? {
            Value::Array(links) => links,
            _ => {
                return Err(Failure::usage(
                    "a list of objects with value and tenant is needed",
                ));
            }
        },
        _ => {
            return Err(Failure::usage("which value is whose?")
                .hint("give VALUE and TENANT, or --import with many"));
        }
    };
    let id = api.find_id(SOURCES, source).await?;
    let (mut added, mut known) = (0, 0);
    for links in links.chunks(AT_ONCE) {
        let made = api.post(&path(&id), &json!({ "links": links })).await?;
        added += number(&made, "/added");
        known += number(&made, "/known");
    }
    let all = json!({ "added": added, "known": known });
    context.show(&all, |out| {
        out.line(&format!(
            "{added} linked, {known} were linked already; what waited for them is given to its tenants now"
        ))
    })
}

/// Removes the link of a value.
pub(super) async fn unlink(
    context: &Context,
    api: &Api,
    source: &str,
    value: &str,
    consent: Consent,
) -> Result<(), Failure> {
    let id = api.find_id(SOURCES, source).await?;
    let query = [("value", Some(value.to_owned()))];
    let found = api.get(&path(&id), &query).await?;
    let Some(known) = list(&found, "/items").first() else {
        return Err(Failure::usage(format!("{value} is not linked")));
    };
    consent.ask(&format!(
        "Unlink {value}? What comes from now on waits; what was given to its tenant stays."
    ))?;
    api.delete(&format!("{}/{}", path(&id), text(known, "/id")))
        .await?;
    context.done(&format!("{value} unlinked"))
}

/// Lists links.
pub(super) async fn links(
    context: &Context,
    api: &Api,
    source: &str,
    tenant: Option<String>,
    search: Option<String>,
    page: PageArgs,
) -> Result<(), Failure> {
    let id = api.find_id(SOURCES, source).await?;
    let tenant = api.find_id_some(TENANTS, tenant).await?;
    let query = [("tenant", tenant), ("q", search)];
    let found = api
        .list(&path(&id), &query, page.cursor, page.limit)
        .await?;
    let mut table = Table::new(&[
        Column::Text("VALUE"),
        Column::Whole("TENANT"),
        Column::Whole("SINCE"),
    ]);
    for link in &found.items {
        table.row([
            text(link, "/value").into(),
            text(link, "/tenant_id").into(),
            time_short(&text(link, "/created_at")).into(),
        ]);
    }
    context.list(&found, table, "no links; `mainstay source link` adds one")
}
