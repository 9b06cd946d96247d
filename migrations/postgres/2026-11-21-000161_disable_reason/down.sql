ALTER TABLE keys DROP COLUMN disable_reason;
