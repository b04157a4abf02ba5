DROP TABLE queue_rule;
