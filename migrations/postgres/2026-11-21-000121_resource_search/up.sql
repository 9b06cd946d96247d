-- `search` holds `kind:name` and, after a line break, the description, folded.
ALTER TABLE resources ADD COLUMN search TEXT NOT NULL DEFAULT '';
UPDATE resources SET search = lower(kind || ':' || name || chr(10) || description);
CREATE INDEX resources_search ON resources USING gin (search gin_trgm_ops);
