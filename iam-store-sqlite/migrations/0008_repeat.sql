-- Requests that renew their session and may come twice: of each session the last few, each with its answer for some seconds. The answer is
-- sealed under a key that only the request itself completes.
CREATE TABLE iam_repeatable_answer (
    old_token  BLOB    NOT NULL CHECK (length(old_token) = 32),
    request    BLOB    NOT NULL CHECK (length(request) = 32),
    session_id BLOB    NOT NULL CHECK (length(session_id) = 16),
    slot       INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 3),
    token_hash BLOB    CHECK (length(token_hash) = 32),
    answer     BLOB,
    at         INTEGER NOT NULL,
    PRIMARY KEY (old_token, request),
    UNIQUE (session_id, slot)
) STRICT;

CREATE INDEX iam_repeatable_answer_at ON iam_repeatable_answer (at);
