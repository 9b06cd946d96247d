-- Mails that are done with, oldest first: those that were kept long enough are taken away day by day.
CREATE INDEX mails_done ON mails (created_at) WHERE next_at IS NULL;
