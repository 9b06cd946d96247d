DROP TRIGGER keys_search_insert ON keys;
DROP TRIGGER keys_search_delete ON keys;
DROP TRIGGER keys_search_update ON keys;
DROP FUNCTION keys_search_insert;
DROP FUNCTION keys_search_delete;
DROP FUNCTION keys_search_update;
DROP TABLE keys_search;
CREATE INDEX keys_search ON keys USING gin (search gin_trgm_ops);
