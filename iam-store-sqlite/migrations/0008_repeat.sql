-- Requests that renew their session and may come twice: of each session the last one, with its answer for some seconds. The answer is sealed
-- under a key that only the request itself completes.
CREATE TABLE iam_repeatable_answer (
    session_id BLOB    NOT NULL PRIMARY KEY CHECK (length(session_id) = 16),
    old_token  BLOB    NOT NULL UNIQUE CHECK (length(old_token) = 32),
    request    BLOB    NOT NULL CHECK (length(request) = 32),
    token_hash BLOB    CHECK (length(token_hash) = 32),
    answer     BLOB,
    at         INTEGER NOT NULL
) STRICT;

CREATE INDEX iam_repeatable_answer_at ON iam_repeatable_answer (at);
