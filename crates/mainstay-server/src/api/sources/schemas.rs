//! Schemas: what the events of a source are expected to look like, in versions.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay::intake::Schema;
use mainstay_domain::{
    SchemaId, SourceId, StoreExt, StoreResult, Timestamp, Tx,
    intake::{
        OWN_SOURCE, Source,
        schemas::{EventSchema, SCHEMAS_MAX},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, write},
    },
    api::page::{Page, PageQuery, page_of_all},
    http::{
        Code, Problem,
        extract::{Checks, Id, InnerId, Input, NoInput, Params},
    },
    state::App,
    stats::Figures,
    time::Time,
};

/// Characters of the types that a schema is for.
const TYPES_MAX: usize = 128;

/// What was counted by a schema in the last 24 hours.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SchemaStats)]
pub(crate) struct SchemaStats {
    /// New events that were checked.
    checked: i64,
    /// Those of them that violate it.
    violated: i64,
    /// Those of them that lack something that it requires.
    incomplete: i64,
    /// New events that were too large to be checked.
    unchecked: i64,
}

/// What events of some types of a source are expected to look like.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventSchema)]
pub(crate) struct SchemaView {
    #[schema(value_type = String)]
    id: SchemaId,
    #[schema(value_type = String)]
    source_id: SourceId,
    /// One type exactly, `prefix.*` or `*`. Of several that match, the most exact one counts.
    types: String,
    /// The version that is in force.
    version: i32,
    /// When this version was made.
    created_at: Time,
    /// The JSON Schema.
    #[schema(value_type = serde_json::Value)]
    schema: Value,
    stats: SchemaStats,
}

impl SchemaView {
    fn of(schema: EventSchema, figures: &Figures) -> Self {
        let counted = figures.of(schema.id.uuid());
        Self {
            id: schema.id,
            source_id: schema.source,
            types: schema.types,
            version: schema.version,
            created_at: schema.created_at.into(),
            schema: value(&schema.schema),
            stats: SchemaStats {
                checked: counted.schema_checked,
                violated: counted.schema_violated,
                incomplete: counted.schema_incomplete,
                unchecked: counted.schema_unchecked,
            },
        }
    }
}

/// One version of a schema.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventSchemaVersion)]
pub(crate) struct VersionView {
    version: i32,
    created_at: Time,
    #[schema(value_type = serde_json::Value)]
    schema: Value,
}

/// A schema with its older versions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventSchemaDetail)]
pub(crate) struct SchemaDetail {
    #[serde(flatten)]
    schema: SchemaView,
    /// The versions that are kept, newest first. The first is in force.
    versions: Vec<VersionView>,
}

/// A schema to add, or its next version.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSchema {
    /// One type exactly, `prefix.*` or `*`.
    #[schema(min_length = 1, max_length = 128)]
    types: String,
    /// A JSON Schema of at most 64 KiB, in one document: every `$ref` leads into it.
    #[schema(value_type = serde_json::Value)]
    schema: Value,
}

/// A schema as it is kept, as a value.
pub(crate) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// Says what is wrong with types or a schema.
pub(crate) fn check(checks: &mut Checks, types: (&str, &str), schema: (&str, &Value)) {
    let (at, text) = types;
    let body = text.strip_suffix('*').unwrap_or(text);
    let clean = !text.is_empty()
        && text.chars().count() <= TYPES_MAX
        && !body.contains([',', '*'])
        && !body.chars().any(|c| c.is_control() || c.is_whitespace());
    checks.ensure(clean, at, "must be one type, 'prefix.*' or '*'");
    let (at, schema) = schema;
    if let Err(error) = Schema::new(schema) {
        checks.fail(format!("{at}{}", error.pointer), error.problem);
    }
}

/// What becomes of a schema that is wanted.
pub(crate) enum Next {
    /// This is its version from now on.
    Version(EventSchema),
    /// It is so already.
    Same(EventSchema),
}

/// The version that a wanted schema is, among those of its source that are in force.
pub(crate) fn next(
    known: &[EventSchema],
    source: &Source,
    fresh: SchemaId,
    wanted: (&str, &Value),
    now: Timestamp,
) -> Next {
    let (types, schema) = (wanted.0.to_owned(), wanted.1.to_string());
    let before = known.iter().find(|one| one.types == types);
    match before {
        Some(before) if before.schema == schema => Next::Same(before.clone()),
        _ => Next::Version(EventSchema {
            id: before.map_or(fresh, |before| before.id),
            tenant: source.tenant,
            source: source.id,
            types,
            version: before.map_or(1, |before| before.version + 1),
            schema,
            created_at: now,
        }),
    }
}

/// List the schemas of a source that are in force
#[utoipa::path(get, path = "/v1/sources/{id}/schemas", tag = "intake",
    params(("id" = String, Path, description = "`src_…`"), PageQuery),
    responses((status = 200, body = Page<SchemaView>)))]
pub(super) async fn source_schema_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<SchemaView>>, Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                match tx.source_get(id).await? {
                    Some(_) => tx.schema_list(Some(id)).await.map(Some),
                    None => Ok(None),
                }
            })
        })
        .await?;
    let all = found.ok_or_else(|| Problem::not_found("source"))?;
    let figures = app.stats.figures(&app).await?;
    page_of_all(
        all,
        &query,
        |one| one.id.uuid(),
        |one| SchemaView::of(one, &figures),
    )
    .map(Json)
}

/// Add a schema to a source, or the next version of the one for these types
///
/// The version is in force for events that come in from now on. Those that violate it are kept and processed as any
/// others, and flagged. The same schema again makes no version.
#[utoipa::path(post, path = "/v1/sources/{id}/schemas", tag = "intake", request_body = NewSchema,
    params(("id" = String, Path, description = "`src_…`")),
    responses((status = 200, body = SchemaView, description = "It was in force already"),
        (status = 201, body = SchemaView)))]
pub(super) async fn source_schema_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    input: Input<NewSchema>,
) -> Result<Response, Problem> {
    let asked = Arc::new(input.value);
    let mut checks = Checks::default();
    check(
        &mut checks,
        ("/types", &asked.types),
        ("/schema", &asked.schema),
    );
    checks.done()?;
    let now = app.clock.now();
    let fresh = SchemaId::new(now, &*app.random);
    let figures = Arc::new(app.stats.figures(&app).await?);
    let what = serde_json::json!({ "types": asked.types });
    let told = caller.audit(&app, "source.schema.create", id, Some(what), None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (asked, told, figures) = (Arc::clone(&asked), told.clone(), Arc::clone(&figures));
        Box::pin(async move {
            let Some(source) = tx.source_get(id).await? else {
                return Ok(Err(Problem::not_found("source")));
            };
            let (status, schema) = match put(tx, &source, fresh, &asked, now).await? {
                Ok(Next::Same(schema)) => (StatusCode::OK, schema),
                Ok(Next::Version(schema)) => {
                    tx.audit_insert(&in_tenant(told, source.tenant)).await?;
                    (StatusCode::CREATED, schema)
                }
                Err(problem) => return Ok(Err(problem)),
            };
            Done::json(status, &SchemaView::of(schema, &figures)).map(Ok)
        })
    })
    .await?;
    app.configured("source", id).await;
    Ok(done)
}

async fn put(
    tx: &mut dyn Tx,
    source: &Source,
    fresh: SchemaId,
    asked: &NewSchema,
    now: Timestamp,
) -> StoreResult<Result<Next, Problem>> {
    if source.scheme == OWN_SOURCE {
        let detail =
            "Mainstay's own source has no schemas: what its events look like is documented";
        return Ok(Err(Problem::new(Code::StateConflict, detail)));
    }
    tx.config_hold().await?;
    let known = tx.schema_list(Some(source.id)).await?;
    let next = next(&known, source, fresh, (&asked.types, &asked.schema), now);
    if let Next::Version(schema) = &next {
        if schema.version == 1 && known.len() >= SCHEMAS_MAX {
            let detail = format!("a source has at most {SCHEMAS_MAX} schemas");
            return Ok(Err(Problem::new(Code::StateConflict, detail)));
        }
        tx.schema_insert(schema).await?;
    }
    Ok(Ok(next))
}

async fn versions(
    tx: &mut dyn Tx,
    source: SourceId,
    id: SchemaId,
) -> StoreResult<Option<(Source, Vec<EventSchema>)>> {
    let Some(source) = tx.source_get(source).await? else {
        return Ok(None);
    };
    let mut versions = tx.schema_versions(source.tenant, id).await?;
    versions.retain(|one| one.source == source.id);
    Ok((!versions.is_empty()).then_some((source, versions)))
}

/// Show a schema with its older versions
#[utoipa::path(get, path = "/v1/sources/{id}/schemas/{schema_id}", tag = "intake",
    params(("id" = String, Path, description = "`src_…`"), ("schema_id" = String, Path, description = "`sch_…`")),
    responses((status = 200, body = SchemaDetail)))]
pub(super) async fn source_schema_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    InnerId(schema): InnerId<SchemaId>,
) -> Result<Json<SchemaDetail>, Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move { versions(tx, id, schema).await })
        })
        .await?;
    let (_, versions) = found.ok_or_else(|| Problem::not_found("schema"))?;
    let newest = versions.first().cloned();
    let newest = newest.ok_or_else(|| Problem::not_found("schema"))?;
    let figures = app.stats.figures(&app).await?;
    Ok(Json(SchemaDetail {
        schema: SchemaView::of(newest, &figures),
        versions: versions
            .into_iter()
            .map(|one| VersionView {
                version: one.version,
                created_at: one.created_at.into(),
                schema: value(&one.schema),
            })
            .collect(),
    }))
}

/// Remove a schema with all its versions
///
/// Events of its types are checked no more. What it found stays with the events.
#[utoipa::path(delete, path = "/v1/sources/{id}/schemas/{schema_id}", tag = "intake",
    params(("id" = String, Path, description = "`src_…`"), ("schema_id" = String, Path, description = "`sch_…`")),
    responses((status = 204, description = "Removed")))]
pub(super) async fn source_schema_delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    InnerId(schema): InnerId<SchemaId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let told = caller.audit(&app, "source.schema.delete", id, None, None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let told = told.clone();
        Box::pin(async move {
            let Some((source, versions)) = versions(tx, id, schema).await? else {
                return Ok(Err(Problem::not_found("schema")));
            };
            tx.schema_delete(source.tenant, schema).await?;
            let mut told = in_tenant(told, source.tenant);
            let types = versions.first().map(|one| one.types.as_str());
            let what = serde_json::json!({ "schema_id": schema, "types": types });
            told.detail = Some(what.to_string());
            tx.audit_insert(&told).await?;
            Ok(Ok(Done::nothing()))
        })
    })
    .await?;
    app.configured("source", id).await;
    Ok(done)
}
