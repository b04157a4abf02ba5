CREATE INDEX event_kind ON event (tenant_id, kind, id);
