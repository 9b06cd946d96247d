CREATE INDEX members_by_name ON members (tenant_id, name, id);
DROP INDEX members_listed;
ALTER TABLE members DROP COLUMN folded;
