-- What many keys' use in a second comes to, until it is folded into keys and key_usage, a bucket of keys at a time.
CREATE TABLE use_journal (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bucket BIGINT NOT NULL,
    uses BYTEA NOT NULL
);
-- Made of random bytes already, and read once.
ALTER TABLE use_journal ALTER COLUMN uses SET STORAGE EXTERNAL;
CREATE INDEX use_journal_by_bucket ON use_journal (bucket, id);
