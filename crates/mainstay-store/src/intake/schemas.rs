//! Schemas of events, and what was found to violate them.

use std::collections::HashMap;

use async_trait::async_trait;
use mainstay_domain::{
    EventId, SchemaId, SourceId, StoreError, StoreResult, TenantId,
    intake::schemas::{EventSchema, SchemasTx, VERSIONS_MAX, Violation},
};

use crate::{
    built::Built,
    sql::Row,
    tx::SqlTx,
    verbs::{reference, values},
};

pub(crate) mod queries {
    //! The statements of schemas.

    use crate::queries;

    macro_rules! schema_columns {
        () => {
            "SELECT s.id, s.tenant_id, s.source_id, s.types, s.version, s.schema, s.created_at FROM event_schema AS s"
        };
    }

    queries! {
        SCHEMA_INSERT: Tenant = "
            INSERT INTO event_schema (tenant_id, id, source_id, types, version, schema, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        SCHEMA_LET_GO: Tenant = "DELETE FROM event_schema WHERE tenant_id = $1 AND id = $2 AND version <= $3";
        SCHEMA_DELETE: Tenant = "DELETE FROM event_schema WHERE tenant_id = $1 AND id = $2";
        SCHEMA_LIST: System = concat!(schema_columns!(), "
            WHERE s.version = (SELECT max(n.version) FROM event_schema AS n
                WHERE n.tenant_id = s.tenant_id AND n.id = s.id)");
        SCHEMA_LIST_OWN: Tenant = concat!(schema_columns!(), "
            WHERE s.tenant_id = $1
                AND s.version = (SELECT max(n.version) FROM event_schema AS n WHERE n.tenant_id = $1 AND n.id = s.id)");
        SCHEMA_LIST_SOURCE: Tenant = concat!(schema_columns!(), "
            WHERE s.tenant_id = $1 AND s.source_id = $2
                AND s.version = (SELECT max(n.version) FROM event_schema AS n WHERE n.tenant_id = $1 AND n.id = s.id)");
        SCHEMA_VERSIONS: Tenant = concat!(schema_columns!(), "
            WHERE s.tenant_id = $1 AND s.id = $2 ORDER BY s.version DESC");

        /// A row never changes its tenant: the one that belonged to nobody goes, and its tenant's own comes.
        VIOLATION_TAKE: Tenant = "
            DELETE FROM event_violation WHERE tenant_id = $1 AND event_id = $2
            RETURNING schema_id, version, problems";
        VIOLATION_GIVE: Tenant = "
            INSERT INTO event_violation (tenant_id, event_id, schema_id, version, problems)
            VALUES ($1, $2, $3, $4, $5)";
    }
}
use queries as q;

#[async_trait]
impl SchemasTx for SqlTx<'_> {
    async fn schema_insert(&mut self, schema: &EventSchema) -> StoreResult<()> {
        self.scope.admit(schema.tenant)?;
        self.config_bump().await?;
        let params = values![
            schema.tenant,
            schema.id,
            schema.source,
            &*schema.types,
            schema.version,
            &*schema.schema,
            schema.created_at,
        ];
        reference(self.execute(&q::SCHEMA_INSERT, params).await, "schema")?;
        let gone = values![schema.tenant, schema.id, schema.version - VERSIONS_MAX];
        self.execute(&q::SCHEMA_LET_GO, gone).await.map(|_| ())
    }

    async fn schema_delete(&mut self, tenant: TenantId, id: SchemaId) -> StoreResult<bool> {
        self.scope.admit(tenant)?;
        self.config_bump().await?;
        self.changed(&q::SCHEMA_DELETE, values![tenant, id]).await
    }

    async fn schema_list(&mut self, source: Option<SourceId>) -> StoreResult<Vec<EventSchema>> {
        let mut schemas = match (source, self.scope.tenant()) {
            (Some(source), _) => {
                let lookup = &super::queries::SOURCE_TENANT;
                let Some(tenant) = self.tenant_of(lookup, source.uuid()).await? else {
                    return Ok(Vec::new());
                };
                let params = values![tenant, source];
                self.list(&q::SCHEMA_LIST_SOURCE, params, schema).await?
            }
            (None, Some(own)) => self.list(&q::SCHEMA_LIST_OWN, values![own], schema).await?,
            (None, None) => self.list(&q::SCHEMA_LIST, &[], schema).await?,
        };
        schemas.sort_by(|a, b| (a.source, &a.types).cmp(&(b.source, &b.types)));
        Ok(schemas)
    }

    async fn schema_versions(
        &mut self,
        tenant: TenantId,
        id: SchemaId,
    ) -> StoreResult<Vec<EventSchema>> {
        self.scope.admit(tenant)?;
        let params = values![tenant, id];
        self.list(&q::SCHEMA_VERSIONS, params, schema).await
    }
}

impl SqlTx<'_> {
    /// What these events violate; those that violate nothing are missing.
    pub(super) async fn violations(
        &mut self,
        tenant: TenantId,
        events: &[EventId],
    ) -> StoreResult<HashMap<EventId, Violation>> {
        if events.is_empty() {
            return Ok(HashMap::new());
        }
        let built = violations_of(tenant, events);
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        rows.iter()
            .map(|row| Ok((row.get(0)?, violation(row)?)))
            .collect()
    }

    /// What a waiting event violates is its tenant's to know from now on.
    pub(super) async fn violation_move(
        &mut self,
        event: EventId,
        tenant: TenantId,
    ) -> StoreResult<()> {
        let taken = values![TenantId::NIL, event];
        let Some(row) = self.rows(&q::VIOLATION_TAKE, taken).await?.pop() else {
            return Ok(());
        };
        let params = values![
            tenant,
            event,
            row.get::<SchemaId>(0)?,
            row.get::<i32>(1)?,
            row.get::<String>(2)?,
        ];
        self.execute(&q::VIOLATION_GIVE, params).await.map(|_| ())
    }

    /// Waiting events that go take along what was said of them.
    pub(super) async fn violations_let_go(&mut self, events: &[EventId]) -> StoreResult<()> {
        let built = violations_remove(TenantId::NIL, events);
        self.conn()
            .query_built(&built.text, &built.params)
            .await
            .map(drop)
    }
}

/// What is written down of a violation's problems.
pub(crate) fn problems_json(violation: &Violation) -> StoreResult<String> {
    serde_json::to_string(&violation.problems)
        .map_err(|error| StoreError::Bug(format!("problems cannot be written: {error}")))
}

/// What these events violate.
pub(crate) fn violations_of(tenant: TenantId, events: &[EventId]) -> Built {
    let mut built = Built::new(
        "SELECT v.event_id, v.schema_id, v.version, v.problems FROM event_violation AS v WHERE v.tenant_id = $1",
        vec![tenant.into()],
    );
    built.bind_list(" AND v.event_id IN", events.iter().copied());
    built
}

/// Removes what was said of these events.
pub(crate) fn violations_remove(tenant: TenantId, events: &[EventId]) -> Built {
    let mut built = Built::new(
        "DELETE FROM event_violation WHERE tenant_id = $1",
        vec![tenant.into()],
    );
    built.bind_list(" AND event_id IN", events.iter().copied());
    built
}

fn violation(row: &Row) -> StoreResult<Violation> {
    let problems: String = row.get(3)?;
    Ok(Violation {
        schema: row.get(1)?,
        version: row.get(2)?,
        problems: serde_json::from_str(&problems)
            .map_err(|_| StoreError::Corrupt("problems of an event cannot be read".into()))?,
    })
}

fn schema(row: &Row) -> StoreResult<EventSchema> {
    Ok(EventSchema {
        id: row.get(0)?,
        tenant: row.get(1)?,
        source: row.get(2)?,
        types: row.get(3)?,
        version: row.get(4)?,
        schema: row.get(5)?,
        created_at: row.get(6)?,
    })
}
