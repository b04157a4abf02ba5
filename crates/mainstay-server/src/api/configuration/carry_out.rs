//! One step of a plan, made and told to the audit log in the transaction of the plan.

use mainstay_domain::{StoreResult, Tx, jobs::Endpoint, schedules::Schedule};
use serde_json::{Value, json};

use super::plan::{PlacedSchedule, SourceUpdate, Step, Write};
use crate::{access::Caller, api::endpoints::queue_name, state::App};

/// Makes a step. Its audit entry is that of the single write, with the names of the fields and never their values.
pub(super) async fn step(
    tx: &mut dyn Tx,
    app: &App,
    caller: &Caller,
    step: &Step,
) -> StoreResult<()> {
    let tenant = step.tenant;
    match &step.write {
        Write::SourceInsert(made) => {
            let (source, schemas, links) = &**made;
            tx.source_insert(source).await?;
            for schema in schemas {
                tx.schema_insert(schema).await?;
            }
            if !links.is_empty() {
                tx.link_insert(links).await?;
            }
        }
        Write::SourceUpdate(update) => source_update(tx, app, caller, step, update).await?,
        Write::SourceDelete(id) => tx.source_delete(tenant, *id).await.map(drop)?,
        Write::EndpointInsert(endpoint) => {
            let queue = tx.queue_ensure(&queue_name(endpoint.id)).await?;
            let endpoint = Endpoint {
                queue,
                ..Endpoint::clone(endpoint)
            };
            tx.endpoint_insert(&endpoint).await?;
        }
        Write::EndpointUpdate(endpoint) => tx.endpoint_update(endpoint).await.map(drop)?,
        Write::EndpointDelete(id) => tx.endpoint_delete(tenant, *id).await.map(drop)?,
        Write::BindingInsert(binding) => tx.binding_insert(binding).await?,
        Write::BindingUpdate(binding) => tx.binding_update(binding).await.map(drop)?,
        Write::BindingDelete(id) => tx.binding_delete(tenant, *id).await.map(drop)?,
        Write::ScheduleInsert(made) => {
            let schedule = placed(tx, made).await?;
            tx.schedule_insert(&schedule).await?;
        }
        Write::ScheduleUpdate(changed) => {
            let mut schedule = placed(tx, changed).await?;
            if let Some(known) = tx.schedule_get(schedule.id).await? {
                standing_kept(&mut schedule, &known);
            }
            tx.schedule_update(&schedule).await?;
        }
        Write::ScheduleDelete(id) => tx.schedule_delete(tenant, *id).await.map(drop)?,
    }
    let fields: Vec<&str> = step
        .change
        .fields
        .iter()
        .map(|one| one.field.as_str())
        .collect();
    let what = json!({ "name": step.change.name, "fields": fields, "by": "configuration" });
    let action = format!(
        "{}.{}",
        step.change.kind.as_str(),
        step.change.action.as_str()
    );
    told(tx, app, caller, step, &action, what).await
}

/// A schedule with the number of its queue, which may have been made a step before.
async fn placed(tx: &mut dyn Tx, placed: &PlacedSchedule) -> StoreResult<Schedule> {
    let mut schedule = placed.schedule.clone();
    if let Some(workers) = &placed.workers {
        schedule.queue = tx.queue_ensure(workers).await?;
    }
    if let Some(id) = schedule.endpoint {
        let endpoint = tx.endpoint_get(id).await?;
        schedule.queue = endpoint.map_or(schedule.queue, |endpoint| endpoint.queue);
    }
    Ok(schedule)
}

/// A tick may have come since the plan was made: nothing of that is taken back.
fn standing_kept(schedule: &mut Schedule, known: &Schedule) {
    schedule.revision = known.revision;
    (schedule.last_tick, schedule.last_job) = (known.last_tick, known.last_job);
    let rule = |one: &Schedule| (one.cron.clone(), one.zone.clone(), one.paused);
    if rule(schedule) == rule(known) {
        (schedule.next_tick, schedule.next_at) = (known.next_tick, known.next_at);
    }
}

async fn source_update(
    tx: &mut dyn Tx,
    app: &App,
    caller: &Caller,
    step: &Step,
    update: &SourceUpdate,
) -> StoreResult<()> {
    let id = update.source.id;
    if update.itself {
        tx.source_update(&update.source).await?;
    }
    // The old ones first: a source has room for so many and no more.
    for secret in &update.removed {
        tx.source_secret_delete(id, *secret).await?;
        let what = json!({ "secret_id": secret, "by": "configuration" });
        told(tx, app, caller, step, "source.secret.delete", what).await?;
    }
    for secret in &update.added {
        tx.source_secret_insert(id, secret).await?;
        let what = json!({ "secret_id": secret.id, "by": "configuration" });
        told(tx, app, caller, step, "source.secret.create", what).await?;
    }
    for schema in &update.schemas_removed {
        tx.schema_delete(step.tenant, *schema).await?;
        let what = json!({ "schema_id": schema, "by": "configuration" });
        told(tx, app, caller, step, "source.schema.delete", what).await?;
    }
    for schema in &update.schemas_added {
        tx.schema_insert(schema).await?;
        let what = json!({ "types": schema.types, "by": "configuration" });
        told(tx, app, caller, step, "source.schema.create", what).await?;
    }
    // Before what is added: a value that goes to another tenant is in both.
    for link in &update.links_removed {
        tx.link_delete(id, link.id).await?;
        let what = json!({ "value": link.value, "tenant_id": link.tenant, "by": "configuration" });
        told(tx, app, caller, step, "source.link.delete", what).await?;
    }
    if !update.links_added.is_empty() {
        tx.link_insert(&update.links_added).await?;
        let what = json!({ "links": update.links_added.len(), "by": "configuration" });
        told(tx, app, caller, step, "source.link.create", what).await?;
    }
    Ok(())
}

async fn told(
    tx: &mut dyn Tx,
    app: &App,
    caller: &Caller,
    step: &Step,
    action: &str,
    what: Value,
) -> StoreResult<()> {
    let entry = caller.audit(app, action, &step.subject, Some(what), Some(step.tenant));
    tx.audit_insert(&entry).await
}
