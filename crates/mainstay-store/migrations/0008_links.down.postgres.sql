DROP TABLE event_waiting_due, event_waiting_value, event_waiting, source_link;
