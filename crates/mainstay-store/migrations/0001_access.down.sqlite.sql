DROP TABLE idempotency;
DROP TABLE audit;
DROP TABLE session;
DROP TABLE api_key;
DROP TABLE app_user;
DROP TABLE tenant;
