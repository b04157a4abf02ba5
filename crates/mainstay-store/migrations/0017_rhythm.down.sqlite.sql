DROP TABLE expectation_tally;
DROP TABLE expectation_met;
DROP TABLE expectation;
DROP TABLE rhythm_signal;
DROP TABLE rhythm_hour;
DROP TABLE rhythm_type;
DROP TABLE rhythm_counted;
DROP TABLE rhythm_clock;
