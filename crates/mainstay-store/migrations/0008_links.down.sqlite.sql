DROP TABLE event_waiting_due;
DROP TABLE event_waiting_value;
DROP TABLE event_waiting;
DROP TABLE source_link;
