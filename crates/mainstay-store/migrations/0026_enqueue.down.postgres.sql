-- safe not-understood: whoever calls it is told that it is gone
DROP FUNCTION enqueue;
-- safe not-understood: only the one above calls them
DROP FUNCTION job_shown, id_new;
