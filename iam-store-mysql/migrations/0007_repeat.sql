-- Requests that renew their session and may come twice: of each session the last few, each with its answer for some seconds. The answer is
-- sealed under a key that only the request itself completes.
CREATE TABLE IF NOT EXISTS iam_repeatable_answer (
    old_token  BINARY(32)  NOT NULL,
    request    BINARY(32)  NOT NULL,
    session_id BINARY(16)  NOT NULL,
    slot       TINYINT     NOT NULL,
    token_hash BINARY(32),
    answer     BLOB,
    at         DATETIME(6) NOT NULL,
    PRIMARY KEY (old_token, request),
    UNIQUE KEY iam_repeatable_answer_slot (session_id, slot),
    KEY iam_repeatable_answer_at (at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
