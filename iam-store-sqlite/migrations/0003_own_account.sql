-- When the owner of a session last proved who they are; without it, when they signed in.
ALTER TABLE iam_auth_session ADD COLUMN authenticated_at INTEGER;

-- Links that work once; only the hash of what is in them.
CREATE TABLE iam_one_time_token (
    hash       BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    purpose    TEXT    NOT NULL,
    account_id BLOB    REFERENCES iam_user_account (id),
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX iam_one_time_token_account ON iam_one_time_token (account_id, purpose);
CREATE INDEX iam_one_time_token_expiry ON iam_one_time_token (expires_at);
