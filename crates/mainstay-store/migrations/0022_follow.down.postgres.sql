DROP TABLE event_new;
ALTER TABLE object_index
    DROP COLUMN followed_until,
    DROP COLUMN followed_from;
