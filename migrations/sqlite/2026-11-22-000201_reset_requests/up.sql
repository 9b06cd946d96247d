-- Addresses that somebody asked a link to set a new password for, whether they have an account or not, until the mail is written.
CREATE TABLE reset_requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    email TEXT NOT NULL,
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    at BIGINT NOT NULL
);
