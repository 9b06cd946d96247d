DROP INDEX key_usage_by_hour;
ALTER TABLE event_chains DROP COLUMN purged_seal;
DROP TABLE jobs;
DROP TABLE extensions;
