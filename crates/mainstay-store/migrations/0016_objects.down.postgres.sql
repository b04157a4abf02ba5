DROP TABLE object_mention, object_event, object_source, object_note, object_index;
