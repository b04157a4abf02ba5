-- What waits was acknowledged: it is not thrown away by a way back.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM event_waiting) THEN
        RAISE EXCEPTION 'events wait for their tenant: link them, or let them expire, before this migration is undone';
    END IF;
END
$$;
UPDATE source SET settings = (settings::jsonb - 'tenant')::text WHERE settings::jsonb ? 'tenant';
DROP TABLE event_waiting_due, event_waiting_value, event_waiting, source_link;
