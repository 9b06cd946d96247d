DROP INDEX links_by_email;
ALTER TABLE links DROP COLUMN email;
ALTER TABLE links DROP COLUMN invitation;
