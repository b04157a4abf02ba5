-- safe drop-table: keys that nobody has any more; what was submitted stays
DROP TABLE unique_key;
