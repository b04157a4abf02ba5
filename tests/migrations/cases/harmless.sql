CREATE TABLE orders (
    id bigint PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers (id),
    total numeric NOT NULL DEFAULT 0
);
CREATE INDEX orders_customer ON orders (customer_id);
ALTER TABLE customers ADD COLUMN name text;
ALTER TABLE customers ADD CONSTRAINT customers_name CHECK (name <> '') NOT VALID;
ALTER TABLE customers VALIDATE CONSTRAINT customers_name;
CREATE VIEW totals AS SELECT customer_id, sum(total) FROM orders GROUP BY customer_id;
DROP VIEW totals;
DROP INDEX orders_customer_old;
UPDATE customers SET name = 'nobody' WHERE name IS NULL;
DELETE FROM orders WHERE total < 0;
INSERT INTO customers (id, name) VALUES (1, 'a; DROP TABLE orders;');
COMMENT ON TABLE orders IS 'TRUNCATE me not';
GRANT SELECT ON orders TO reader;
