-- Mails that are to be sent or were sent. A row holds facts, not text: what it says is rendered, and its links are derived, when
-- it is sent. `once` keeps one cause from telling one recipient twice.
CREATE TABLE mails (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id BIGINT REFERENCES tenants (id),
    account_id BIGINT REFERENCES accounts (id),
    kind TEXT NOT NULL,
    facts TEXT NOT NULL,
    recipient TEXT NOT NULL,
    recipient_folded TEXT NOT NULL,
    recipient_name TEXT NOT NULL,
    once TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    next_at BIGINT,
    taken_at BIGINT,
    leased_by TEXT,
    tries BIGINT NOT NULL DEFAULT 0,
    sent_at BIGINT,
    failed_at BIGINT,
    dropped_at BIGINT,
    said TEXT NOT NULL DEFAULT ''
);
CREATE INDEX mails_due ON mails (next_at, id) WHERE next_at IS NOT NULL;
CREATE INDEX mails_by_tenant ON mails (tenant_id, id);
CREATE INDEX mails_failed ON mails (tenant_id, failed_at) WHERE failed_at IS NOT NULL;
CREATE INDEX mails_by_recipient ON mails (recipient_folded, created_at);
CREATE INDEX mails_sent ON mails (recipient_folded, sent_at) WHERE sent_at IS NOT NULL;

-- What a digest is made of: one line per key, stage, expiry and recipient.
CREATE TABLE notices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    mail_id BIGINT NOT NULL REFERENCES mails (id) ON DELETE CASCADE,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    key_id TEXT NOT NULL,
    stage TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    recipient_folded TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    dropped_at BIGINT,
    shown TEXT,
    UNIQUE (tenant_id, key_id, stage, expires_at, recipient_folded)
);
CREATE INDEX notices_by_mail ON notices (mail_id, id);
