-- Requests that renew their session and may come twice: of each session the last one, with its answer for some seconds. The answer is sealed
-- under a key that only the request itself completes.
CREATE TABLE IF NOT EXISTS iam_repeatable_answer (
    session_id BINARY(16)  NOT NULL,
    old_token  BINARY(32)  NOT NULL,
    request    BINARY(32)  NOT NULL,
    token_hash BINARY(32),
    answer     BLOB,
    at         DATETIME(6) NOT NULL,
    PRIMARY KEY (session_id),
    UNIQUE KEY iam_repeatable_answer_token (old_token),
    KEY iam_repeatable_answer_at (at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
