DROP TABLE saga_run;
DROP TABLE saga_version;
DROP TABLE saga;
