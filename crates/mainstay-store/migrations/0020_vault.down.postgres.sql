-- Refused while there are keys: what they sealed could not be read any more.
CREATE TABLE data_key_none (number integer CHECK (number IS NULL));
INSERT INTO data_key_none (number) SELECT number FROM data_key;
DROP TABLE data_key_none;
DROP TABLE vault_state;
DROP TABLE data_key;
