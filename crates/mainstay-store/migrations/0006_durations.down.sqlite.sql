DROP TABLE duration;
