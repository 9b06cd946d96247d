DROP TRIGGER resources_search_insert;
DROP TRIGGER resources_search_delete;
DROP TRIGGER resources_search_update;
DROP TABLE resources_search;
ALTER TABLE resources DROP COLUMN search;
