-- Nothing to do: FTS5 keeps the text apart from the keys already.
SELECT 1;
