-- What waits was acknowledged: it is not thrown away by a way back. Events must be linked, or expire, before.
CREATE TABLE events_wait_for_their_tenant (count INTEGER CHECK (count = 0)) STRICT;
INSERT INTO events_wait_for_their_tenant (count) SELECT count(*) FROM event_waiting;
DROP TABLE events_wait_for_their_tenant;
UPDATE source SET settings = json_remove(settings, '$.tenant') WHERE json_type(settings, '$.tenant') IS NOT NULL;
DROP TABLE event_waiting_due;
DROP TABLE event_waiting_value;
DROP TABLE event_waiting;
DROP TABLE source_link;
