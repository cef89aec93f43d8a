-- Whether a request has come with the token that a session has now. A renewal by this program says that none has; sessions of before, and what
-- an older program makes, count as used. The statement is made only where its column is missing, as before.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_auth_session' AND column_name = 'token_used');
SET @statement = IF(@missing, 'ALTER TABLE iam_auth_session ADD COLUMN token_used BOOLEAN NOT NULL DEFAULT TRUE', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

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
