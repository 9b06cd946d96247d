CREATE TABLE tenants (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    settings TEXT NOT NULL,
    seats BIGINT,
    created_at BIGINT NOT NULL,
    suspended_at BIGINT
);

-- Every value that "Grace after expiry" has had: a key's grace is the smallest since it expired.
CREATE TABLE grace_values (
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    since BIGINT NOT NULL,
    days BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, since)
);

CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    email TEXT NOT NULL,
    email_canonical TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    password_hash TEXT,
    password_length BIGINT NOT NULL DEFAULT 0,
    totp_secret BLOB,
    totp_pending BLOB,
    totp_enrolled_at BIGINT,
    totp_last_step BIGINT,
    time_zone TEXT NOT NULL DEFAULT 'UTC',
    theme TEXT NOT NULL DEFAULT 'system',
    shortcuts BOOLEAN NOT NULL DEFAULT 1,
    installation_owner BOOLEAN NOT NULL DEFAULT 0,
    last_tenant BIGINT,
    mail_opened_at BIGINT,
    created_at BIGINT NOT NULL
);

CREATE TABLE recovery_codes (
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    hash BLOB NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (account_id, hash)
);

CREATE TABLE sessions (
    id BLOB PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    public_id TEXT NOT NULL,
    stage TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    ip TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    wrong_codes BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX sessions_by_account ON sessions (account_id, created_at);

CREATE TABLE known_browsers (
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    hash BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, hash)
);

CREATE TABLE sign_in_failures (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    email_canonical TEXT NOT NULL,
    network TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX sign_in_failures_by_email ON sign_in_failures (email_canonical, at);
CREATE INDEX sign_in_failures_by_network ON sign_in_failures (network, at);

-- One-purpose, one-use links (set-up, invite, reset): a keyed hash of the token, never the token.
CREATE TABLE links (
    hash BLOB PRIMARY KEY,
    purpose TEXT NOT NULL,
    tenant_id BIGINT REFERENCES tenants (id),
    account_id BIGINT REFERENCES accounts (id),
    details TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX links_by_purpose ON links (purpose, created_at);

CREATE TABLE console_roles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    built_in TEXT,
    permissions TEXT NOT NULL,
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, name)
);

CREATE TABLE members (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    account_id BIGINT REFERENCES accounts (id),
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    all_resources BOOLEAN NOT NULL DEFAULT 1,
    key_limit BIGINT,
    grid_columns TEXT NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL,
    suspended_at BIGINT,
    removed_at BIGINT,
    shut_at BIGINT,
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, account_id)
);
CREATE INDEX members_by_account ON members (account_id);
CREATE INDEX members_by_name ON members (tenant_id, name, id);

CREATE TABLE keepers (
    tenant_id BIGINT NOT NULL,
    service_id BIGINT NOT NULL,
    keeper_id BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, service_id, keeper_id),
    FOREIGN KEY (tenant_id, service_id) REFERENCES members (tenant_id, id),
    FOREIGN KEY (tenant_id, keeper_id) REFERENCES members (tenant_id, id)
);
CREATE INDEX keepers_by_keeper ON keepers (tenant_id, keeper_id);

CREATE TABLE member_roles (
    tenant_id BIGINT NOT NULL,
    member_id BIGINT NOT NULL,
    role_id BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, member_id, role_id),
    FOREIGN KEY (tenant_id, member_id) REFERENCES members (tenant_id, id),
    FOREIGN KEY (tenant_id, role_id) REFERENCES console_roles (tenant_id, id)
);
CREATE INDEX member_roles_by_role ON member_roles (tenant_id, role_id);

CREATE TABLE scopes (
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE access_roles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, name)
);

CREATE TABLE access_role_scopes (
    tenant_id BIGINT NOT NULL,
    role_id BIGINT NOT NULL,
    scope TEXT NOT NULL,
    PRIMARY KEY (tenant_id, role_id, scope),
    FOREIGN KEY (tenant_id, role_id) REFERENCES access_roles (tenant_id, id),
    FOREIGN KEY (tenant_id, scope) REFERENCES scopes (tenant_id, name)
);
CREATE INDEX access_role_scopes_by_scope ON access_role_scopes (tenant_id, scope);

CREATE TABLE member_access_roles (
    tenant_id BIGINT NOT NULL,
    member_id BIGINT NOT NULL,
    role_id BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, member_id, role_id),
    FOREIGN KEY (tenant_id, member_id) REFERENCES members (tenant_id, id),
    FOREIGN KEY (tenant_id, role_id) REFERENCES access_roles (tenant_id, id)
);
CREATE INDEX member_access_roles_by_role ON member_access_roles (tenant_id, role_id);

CREATE TABLE resources (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, kind, name)
);

-- The chosen resources of a member without all of them: kind:name, or kind:* for all of a kind.
CREATE TABLE member_resources (
    tenant_id BIGINT NOT NULL,
    member_id BIGINT NOT NULL,
    pattern TEXT NOT NULL,
    PRIMARY KEY (tenant_id, member_id, pattern),
    FOREIGN KEY (tenant_id, member_id) REFERENCES members (tenant_id, id)
);
CREATE INDEX member_resources_by_pattern ON member_resources (tenant_id, pattern);

-- Times are microseconds since 1970, UTC. Lists are JSON arrays of strings.
-- `search` holds all that the grid's filter looks at, folded, each field after a line break.
CREATE TABLE keys (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    id TEXT NOT NULL UNIQUE,
    owner_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    comment TEXT NOT NULL,
    access_kind TEXT NOT NULL,
    access_role_id BIGINT,
    scopes TEXT NOT NULL,
    all_resources BOOLEAN NOT NULL,
    resources TEXT NOT NULL,
    ip_ranges TEXT NOT NULL,
    notice_recipients TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    expires_at BIGINT,
    lifetime TEXT,
    expiry_set_at BIGINT NOT NULL,
    extensions BIGINT NOT NULL,
    disabled_at BIGINT,
    disabled_by_id BIGINT,
    disabled_by TEXT,
    revoked_at BIGINT,
    revoked_by_id BIGINT,
    revoked_by TEXT,
    revoke_reason TEXT NOT NULL,
    hash BLOB NOT NULL,
    pepper BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    used_at BIGINT,
    used_ip TEXT,
    old_hash BLOB,
    old_pepper BIGINT,
    old_made_at BIGINT,
    old_made_by TEXT,
    old_used_at BIGINT,
    old_used_ip TEXT,
    old_replaced_at BIGINT,
    old_own_expiry BIGINT,
    old_stops_at BIGINT,
    last_used_at BIGINT,
    last_used_ip TEXT,
    version BIGINT NOT NULL,
    name_folded TEXT NOT NULL,
    owner_folded TEXT NOT NULL,
    search TEXT NOT NULL,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES members (tenant_id, id),
    FOREIGN KEY (tenant_id, access_role_id) REFERENCES access_roles (tenant_id, id)
);
-- With what a status is worked out from, so that the wide rows are not looked at.
CREATE INDEX keys_by_seq ON keys (tenant_id, seq, expires_at, disabled_at, revoked_at);
CREATE INDEX keys_by_owner ON keys (tenant_id, owner_id, seq, expires_at, disabled_at, revoked_at);
CREATE INDEX keys_by_name ON keys (tenant_id, name_folded, seq);
CREATE INDEX keys_by_owner_name ON keys (tenant_id, owner_folded, seq);
CREATE INDEX keys_by_changed ON keys (tenant_id, changed_at, seq, expires_at, disabled_at, revoked_at);
CREATE INDEX keys_by_expiry ON keys (tenant_id, expires_at, seq);
CREATE INDEX keys_by_use ON keys (tenant_id, last_used_at, seq, expires_at, disabled_at, revoked_at);
CREATE INDEX keys_by_access ON keys (tenant_id, access_kind, seq, expires_at, disabled_at, revoked_at);
CREATE INDEX keys_by_access_role ON keys (tenant_id, access_role_id, seq, expires_at, disabled_at, revoked_at);
CREATE INDEX keys_revoked ON keys (tenant_id, seq) WHERE revoked_at IS NOT NULL;
CREATE INDEX keys_disabled ON keys (tenant_id, seq) WHERE revoked_at IS NULL AND disabled_at IS NOT NULL;
CREATE INDEX keys_live ON keys (tenant_id, expires_at, seq) WHERE revoked_at IS NULL AND disabled_at IS NULL;

CREATE VIRTUAL TABLE keys_search USING fts5 (search, content = 'keys', content_rowid = 'seq', tokenize = 'trigram case_sensitive 1');
CREATE TRIGGER keys_search_insert AFTER INSERT ON keys BEGIN
    INSERT INTO keys_search (rowid, search) VALUES (new.seq, new.search);
END;
CREATE TRIGGER keys_search_delete AFTER DELETE ON keys BEGIN
    INSERT INTO keys_search (keys_search, rowid, search) VALUES ('delete', old.seq, old.search);
END;
CREATE TRIGGER keys_search_update AFTER UPDATE OF search ON keys WHEN old.search IS NOT new.search BEGIN
    INSERT INTO keys_search (keys_search, rowid, search) VALUES ('delete', old.seq, old.search);
    INSERT INTO keys_search (rowid, search) VALUES (new.seq, new.search);
END;

-- The last ten dead secrets of a key, for the answer "rolled" and for Find by token.
CREATE TABLE dead_secrets (
    tenant_id BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    hash BLOB NOT NULL,
    pepper BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    died_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, key_id, hash),
    FOREIGN KEY (tenant_id, key_id) REFERENCES keys (tenant_id, id) ON DELETE CASCADE
);

-- What stays of a deleted key, for the events that name it.
CREATE TABLE deleted_keys (
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    owner_id BIGINT NOT NULL,
    owner_name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL,
    deleted_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES members (tenant_id, id)
);

CREATE TABLE key_usage (
    tenant_id BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    hour BIGINT NOT NULL,
    accepted BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, key_id, hour)
) WITHOUT ROWID;

CREATE TABLE gateways (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    public_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    revoked_by TEXT,
    hash BLOB NOT NULL,
    pepper BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    old_hash BLOB,
    old_pepper BIGINT,
    old_stops_at BIGINT,
    asked_at BIGINT,
    asked_from TEXT,
    refused_at BIGINT,
    refused_from TEXT,
    refused_count BIGINT NOT NULL DEFAULT 0,
    version BIGINT NOT NULL,
    UNIQUE (tenant_id, id)
);
CREATE INDEX gateways_by_tenant ON gateways (tenant_id, id);

-- A form that makes a secret carries a one-time ID: its second arrival makes nothing.
CREATE TABLE form_ids (
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    id TEXT NOT NULL,
    result TEXT NOT NULL,
    used_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, id)
);

-- One global order of what changed, for the memory of every process. Written last in a transaction, under a lock.
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    key_id TEXT NOT NULL,
    at BIGINT NOT NULL
);

-- One chain a tenant; tenant 0 is the installation.
CREATE TABLE event_chains (
    tenant_id BIGINT PRIMARY KEY,
    count BIGINT NOT NULL,
    head BLOB NOT NULL,
    seal BLOB NOT NULL,
    purged_to BIGINT NOT NULL DEFAULT 0,
    purged_head BLOB
);

CREATE TABLE events (
    tenant_id BIGINT NOT NULL REFERENCES event_chains (tenant_id),
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    action TEXT NOT NULL,
    target_kind TEXT NOT NULL,
    target_id TEXT NOT NULL,
    target_name TEXT NOT NULL,
    ip TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    details TEXT NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (tenant_id, number)
);
CREATE INDEX events_by_target ON events (tenant_id, target_kind, target_id, number);
CREATE INDEX events_by_actor ON events (tenant_id, actor_kind, actor_id, number);
CREATE INDEX events_by_time ON events (tenant_id, at, number);

CREATE TRIGGER events_are_final BEFORE UPDATE ON events BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;
CREATE TRIGGER events_stay BEFORE DELETE ON events
WHEN old.number > (SELECT purged_to FROM event_chains WHERE tenant_id = old.tenant_id) BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;
