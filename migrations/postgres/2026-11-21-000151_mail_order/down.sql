DROP INDEX mails_page_dropped;
DROP INDEX mails_page_failed;
DROP INDEX mails_page_waiting;
DROP INDEX mails_due;
CREATE INDEX mails_due ON mails (next_at, id) WHERE next_at IS NOT NULL;
ALTER TABLE mails DROP COLUMN rank;
