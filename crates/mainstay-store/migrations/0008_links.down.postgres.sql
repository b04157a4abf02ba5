-- The owner is under the policies too, and has none.
ALTER TABLE source NO FORCE ROW LEVEL SECURITY;

-- What waits was acknowledged: it is not thrown away by a way back.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM event_waiting) THEN
        RAISE EXCEPTION 'events wait for their tenant: link them, or let them expire, before this migration is undone';
    END IF;
END
$$;
UPDATE source SET settings = (settings::jsonb - 'tenant')::text WHERE settings::jsonb ? 'tenant';
ALTER TABLE source FORCE ROW LEVEL SECURITY;
DROP TABLE event_waiting_due, event_waiting_value, event_waiting, source_link;
