-- What links extended: at most once per expiry of a key.
CREATE TABLE extensions (
    tenant_id BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    from_expiry BIGINT NOT NULL,
    to_expiry BIGINT NOT NULL,
    at BIGINT NOT NULL,
    recipient_folded TEXT NOT NULL,
    PRIMARY KEY (tenant_id, key_id, from_expiry),
    FOREIGN KEY (tenant_id, key_id) REFERENCES keys (tenant_id, id) ON DELETE CASCADE
);

-- What happens by itself: how far each job has come, and which process is at it.
CREATE TABLE jobs (
    name TEXT PRIMARY KEY,
    done_to BIGINT NOT NULL,
    holder TEXT NOT NULL,
    held_until BIGINT NOT NULL
);

-- The seal over where a chain begins once its oldest events were purged.
ALTER TABLE event_chains ADD COLUMN purged_seal BLOB;

-- By age, for the purge.
CREATE INDEX key_usage_by_hour ON key_usage (tenant_id, hour);
