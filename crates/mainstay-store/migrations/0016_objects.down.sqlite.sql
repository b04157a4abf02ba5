DROP TABLE object_mention;
DROP TABLE object_event;
DROP TABLE object_source;
DROP TABLE object_note;
DROP TABLE object_index;
