ALTER TABLE resources DROP COLUMN search;
