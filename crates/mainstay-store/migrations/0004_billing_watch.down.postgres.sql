DROP TABLE sample;
DROP TABLE billing_event;
