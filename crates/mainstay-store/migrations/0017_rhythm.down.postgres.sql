DROP TABLE expectation_tally, expectation_met, expectation, rhythm_signal, rhythm_hour, rhythm_type, rhythm_counted,
    rhythm_clock;
