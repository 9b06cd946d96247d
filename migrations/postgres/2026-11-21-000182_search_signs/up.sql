-- The text that filters look at has capital letters in the place of what parts words: see `search_text`.
DROP INDEX keys_search;
UPDATE keys SET search = translate(search, E'\n .@-_/:%\\,()#+=&!?*;''"[]', 'QXZJVKWYBFGHPUMCDEAILNORS');
CREATE INDEX keys_search ON keys USING gin (search gin_trgm_ops);
