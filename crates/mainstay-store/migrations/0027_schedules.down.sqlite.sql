DROP TABLE schedule_tick;
DROP TABLE schedule;
