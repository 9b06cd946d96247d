-- Addresses that somebody asked a link to set a new password for, whether they have an account or not, until the mail is written.
CREATE TABLE reset_requests (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email TEXT NOT NULL,
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    at BIGINT NOT NULL
);
