DROP TABLE use_journal;
