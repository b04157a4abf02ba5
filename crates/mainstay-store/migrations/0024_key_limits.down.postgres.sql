-- safe drop-column: what was said of single keys is gone, and all keys may make what the configuration says
ALTER TABLE api_key DROP COLUMN limits;
