-- `search` holds `kind:name` and, after a line break, the description, folded.
ALTER TABLE resources ADD COLUMN search TEXT NOT NULL DEFAULT '';
UPDATE resources SET search = lower(kind || ':' || name || char(10) || description);

CREATE VIRTUAL TABLE resources_search USING fts5 (search, content = 'resources', content_rowid = 'id', tokenize = 'trigram case_sensitive 1');
INSERT INTO resources_search (rowid, search) SELECT id, search FROM resources;
CREATE TRIGGER resources_search_insert AFTER INSERT ON resources BEGIN
    INSERT INTO resources_search (rowid, search) VALUES (new.id, new.search);
END;
CREATE TRIGGER resources_search_delete AFTER DELETE ON resources BEGIN
    INSERT INTO resources_search (resources_search, rowid, search) VALUES ('delete', old.id, old.search);
END;
CREATE TRIGGER resources_search_update AFTER UPDATE OF search ON resources WHEN old.search IS NOT new.search BEGIN
    INSERT INTO resources_search (resources_search, rowid, search) VALUES ('delete', old.id, old.search);
    INSERT INTO resources_search (rowid, search) VALUES (new.id, new.search);
END;
