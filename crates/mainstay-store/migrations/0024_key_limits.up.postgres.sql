-- How many requests a key may make, where that differs from what all keys may: JSON, see `RateOverride`.
ALTER TABLE api_key ADD COLUMN limits text NOT NULL DEFAULT '[]';
