DROP INDEX keys_search;
UPDATE keys SET search = translate(search, 'QXZJVKWYBFGHPUMCDEAILNORS', E'\n .@-_/:%\\,()#+=&!?*;''"[]');
CREATE INDEX keys_search ON keys USING gin (search gin_trgm_ops);
