-- When the owner of a session last proved who they are; without it, when they signed in.
--
-- MySQL has no ADD COLUMN IF NOT EXISTS, so the statement is made only where the column is missing.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_auth_session' AND column_name = 'authenticated_at');
SET @statement = IF(@missing, 'ALTER TABLE iam_auth_session ADD COLUMN authenticated_at DATETIME(6) AFTER login_time', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

-- Links that work once; only the hash of what is in them.
CREATE TABLE IF NOT EXISTS iam_one_time_token (
    hash       BINARY(32)  NOT NULL,
    purpose    VARCHAR(32) NOT NULL,
    account_id BINARY(16),
    issued_at  DATETIME(6) NOT NULL,
    expires_at DATETIME(6) NOT NULL,
    used_at    DATETIME(6),
    PRIMARY KEY (hash),
    KEY iam_one_time_token_account (account_id, purpose),
    KEY iam_one_time_token_expiry (expires_at),
    CONSTRAINT iam_one_time_token_of_account FOREIGN KEY (account_id) REFERENCES iam_user_account (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
