-- Step-up: a challenge that was answered for a purpose of the host's is a grant. `auth_version` is there for those alone.
-- Each statement is made only where its columns are missing, as before.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_mfa_challenge' AND column_name = 'auth_version');
SET @statement = IF(@missing, 'ALTER TABLE iam_mfa_challenge ADD COLUMN auth_version BIGINT, ADD COLUMN parent_id BINARY(16),
    ADD COLUMN approval BINARY(32), ADD COLUMN used_at DATETIME(6),
    ADD KEY iam_mfa_challenge_grant (session_id, used_at, consumed_at),
    ADD KEY iam_mfa_challenge_unanswered (consumed_at, expires_at)', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

-- The kinds of factors that were proved in a session, separated by spaces.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_auth_session' AND column_name = 'factors');
SET @statement = IF(@missing, 'ALTER TABLE iam_auth_session ADD COLUMN factors VARCHAR(255)', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

-- That a second factor is required: since when, and how long people have to set one up, in seconds.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_role' AND column_name = 'factor_required_at');
SET @statement = IF(@missing, 'ALTER TABLE iam_role ADD COLUMN factor_required_at DATETIME(6), ADD COLUMN factor_grace BIGINT', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_parent' AND column_name = 'factor_required_at');
SET @statement = IF(@missing, 'ALTER TABLE iam_parent ADD COLUMN factor_required_at DATETIME(6), ADD COLUMN factor_grace BIGINT', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

-- Forms that a guard stopped, until their sender has proved again who they are. Sealed; each is sent once.
CREATE TABLE IF NOT EXISTS iam_interrupted_request (
    id         BINARY(16)  NOT NULL,
    account_id BINARY(16)  NOT NULL,
    session_id BINARY(16)  NOT NULL,
    sealed     MEDIUMBLOB  NOT NULL,
    created_at DATETIME(6) NOT NULL,
    expires_at DATETIME(6) NOT NULL,
    resumed_at DATETIME(6),
    PRIMARY KEY (id),
    KEY iam_interrupted_request_account (account_id),
    KEY iam_interrupted_request_session (session_id, created_at),
    KEY iam_interrupted_request_expiry (expires_at),
    CONSTRAINT iam_interrupted_request_of_account FOREIGN KEY (account_id) REFERENCES iam_user_account (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Browsers that need no second factor to sign in, for a while.
CREATE TABLE IF NOT EXISTS iam_trusted_device (
    id             BINARY(16)  NOT NULL,
    account_id     BINARY(16)  NOT NULL,
    token_hash     BINARY(32)  NOT NULL,
    auth_version   BIGINT      NOT NULL,
    created_at     DATETIME(6) NOT NULL,
    expires_at     DATETIME(6) NOT NULL,
    client_address VARCHAR(45),
    user_agent     TEXT,
    PRIMARY KEY (id),
    UNIQUE KEY iam_trusted_device_token (token_hash),
    KEY iam_trusted_device_account (account_id),
    KEY iam_trusted_device_expiry (expires_at),
    CONSTRAINT iam_trusted_device_of_account FOREIGN KEY (account_id) REFERENCES iam_user_account (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
