-- Tickets: links that work once, with what they carry (sealed). Those of before carried nothing; they keep their tokens, and the first half of
-- its hash is their id.
CREATE TABLE iam_ticket (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    token_hash BLOB    NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    purpose    TEXT    NOT NULL,
    account_id BLOB    REFERENCES iam_user_account (id),
    parent_id  BLOB    REFERENCES iam_parent (id),
    payload    BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
) STRICT;

CREATE INDEX iam_ticket_account ON iam_ticket (account_id, purpose);
CREATE INDEX iam_ticket_expiry ON iam_ticket (expires_at);
CREATE INDEX iam_ticket_parent ON iam_ticket (parent_id) WHERE parent_id IS NOT NULL;

INSERT INTO iam_ticket (id, token_hash, purpose, account_id, created_at, expires_at, used_at)
SELECT substr(hash, 1, 16), hash, purpose, account_id, issued_at, expires_at, used_at FROM iam_one_time_token;

DROP TABLE iam_one_time_token;

UPDATE iam_schema SET min_program = max(min_program, 14);
