-- What a person waits for leaves first, digests last.
ALTER TABLE mails ADD COLUMN rank BIGINT NOT NULL DEFAULT 1;
UPDATE mails SET rank = CASE WHEN kind = 'digest' THEN 2 WHEN kind IN ('invitation', 'password_reset', 'confirm_address', 'security_changed') THEN 0 ELSE 1 END;
DROP INDEX mails_due;
CREATE INDEX mails_due ON mails (rank, next_at, id) WHERE next_at IS NOT NULL;

-- The states of the Mail page.
CREATE INDEX mails_page_waiting ON mails (tenant_id, id) WHERE next_at IS NOT NULL;
CREATE INDEX mails_page_failed ON mails (tenant_id, id) WHERE failed_at IS NOT NULL;
CREATE INDEX mails_page_dropped ON mails (tenant_id, id) WHERE dropped_at IS NOT NULL;
