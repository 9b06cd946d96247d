-- The counters of key_usage by day (UTC), so that the grid reads thirty rows of a key, not seven hundred and twenty.
CREATE TABLE key_usage_days (
    tenant_id BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    day BIGINT NOT NULL,
    accepted BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, key_id, day)
);
CREATE INDEX key_usage_days_by_day ON key_usage_days (tenant_id, day);
INSERT INTO key_usage_days
    SELECT tenant_id, key_id, hour / 24, CAST(sum(accepted) AS BIGINT), CAST(sum(refused) AS BIGINT) FROM key_usage GROUP BY 1, 2, 3;
ANALYZE key_usage_days;
