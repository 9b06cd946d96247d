-- An invitation by its name, which its links share, and by the canonical address of who is invited.
ALTER TABLE links ADD COLUMN invitation TEXT;
ALTER TABLE links ADD COLUMN email TEXT;
UPDATE links SET invitation = coalesce(details::json ->> 'id', ''), email = lower(details::json ->> 'email') WHERE purpose = 'invite';
CREATE INDEX links_by_email ON links (email) WHERE email IS NOT NULL;
