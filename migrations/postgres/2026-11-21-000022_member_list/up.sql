-- Name and address in lower case, each on a line: what the list of members is sorted by and filtered in.
ALTER TABLE members ADD COLUMN folded TEXT NOT NULL DEFAULT '';
UPDATE members SET folded = lower(name) || chr(10) || lower(email);
CREATE INDEX members_listed ON members (tenant_id, folded, id) WHERE removed_at IS NULL;
DROP INDEX members_by_name;
