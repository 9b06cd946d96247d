-- The text that filters look at has capital letters in the place of what parts words: see `search_text`.
DROP TRIGGER keys_search_update;
UPDATE keys SET search = replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(search, char(10), 'Q'), ' ', 'X'), '.', 'Z'), '@', 'J'), '-', 'V'), '_', 'K'), '/', 'W'), ':', 'Y'), '%', 'B'), '\', 'F'), ',', 'G'), '(', 'H'), ')', 'P'), '#', 'U'), '+', 'M'), '=', 'C'), '&', 'D'), '!', 'E'), '?', 'A'), '*', 'I'), ';', 'L'), '''', 'N'), '"', 'O'), '[', 'R'), ']', 'S');
INSERT INTO keys_search (keys_search) VALUES ('rebuild');
CREATE TRIGGER keys_search_update AFTER UPDATE OF search ON keys WHEN old.search IS NOT new.search BEGIN
    INSERT INTO keys_search (keys_search, rowid, search) VALUES ('delete', old.seq, old.search);
    INSERT INTO keys_search (rowid, search) VALUES (new.seq, new.search);
END;
