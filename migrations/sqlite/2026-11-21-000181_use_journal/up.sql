-- What many keys' use in a second comes to, until it is folded into keys and key_usage, a bucket of keys at a time.
CREATE TABLE use_journal (
    id INTEGER PRIMARY KEY,
    bucket BIGINT NOT NULL,
    uses BLOB NOT NULL
);
CREATE INDEX use_journal_by_bucket ON use_journal (bucket, id);
