-- When the owner of a session last proved a second factor. Made only where the column is missing, as before.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_auth_session' AND column_name = 'second_factor_at');
SET @statement = IF(@missing, 'ALTER TABLE iam_auth_session ADD COLUMN second_factor_at DATETIME(6) AFTER authenticated_at', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

-- What people have set up. It counts once it is confirmed.
CREATE TABLE IF NOT EXISTS iam_mfa_method (
    id           BINARY(16)     NOT NULL,
    account_id   BINARY(16)     NOT NULL,
    kind         VARCHAR(32)    NOT NULL,
    name         VARBINARY(255) NOT NULL,
    secret       VARBINARY(1024),
    created_at   DATETIME(6)    NOT NULL,
    confirmed_at DATETIME(6),
    last_used_at DATETIME(6),
    last_step    BIGINT,
    PRIMARY KEY (id),
    KEY iam_mfa_method_account (account_id, created_at),
    KEY iam_mfa_method_unconfirmed (confirmed_at, created_at),
    CONSTRAINT iam_mfa_method_of_account FOREIGN KEY (account_id) REFERENCES iam_user_account (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Only digests.
CREATE TABLE IF NOT EXISTS iam_recovery_code (
    account_id BINARY(16)  NOT NULL,
    digest     BINARY(32)  NOT NULL,
    created_at DATETIME(6) NOT NULL,
    used_at    DATETIME(6),
    PRIMARY KEY (account_id, digest),
    CONSTRAINT iam_recovery_code_of_account FOREIGN KEY (account_id) REFERENCES iam_user_account (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Sessions and methods go on their own, and a challenge is worth nothing without them: it refers to neither.
CREATE TABLE IF NOT EXISTS iam_mfa_challenge (
    id          BINARY(16)   NOT NULL,
    account_id  BINARY(16)   NOT NULL,
    session_id  BINARY(16)   NOT NULL,
    purpose     VARCHAR(32)  NOT NULL,
    kind        VARCHAR(32)  NOT NULL,
    method_id   BINARY(16),
    answer      BINARY(32),
    sends       INT UNSIGNED NOT NULL,
    tries       INT UNSIGNED NOT NULL DEFAULT 0,
    created_at  DATETIME(6)  NOT NULL,
    expires_at  DATETIME(6)  NOT NULL,
    consumed_at DATETIME(6),
    replaced_at DATETIME(6),
    PRIMARY KEY (id),
    KEY iam_mfa_challenge_account (account_id),
    KEY iam_mfa_challenge_session (session_id, purpose, kind),
    KEY iam_mfa_challenge_expiry (expires_at),
    CONSTRAINT iam_mfa_challenge_of_account FOREIGN KEY (account_id) REFERENCES iam_user_account (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What is to be sent. What is over is settled, and its sealed message is gone.
CREATE TABLE IF NOT EXISTS iam_outbox (
    id              BINARY(16)   NOT NULL,
    account_id      BINARY(16)   NOT NULL,
    challenge_id    BINARY(16),
    channel         VARCHAR(16)  NOT NULL,
    sealed          VARBINARY(8192),
    state           VARCHAR(16)  NOT NULL,
    attempts        INT UNSIGNED NOT NULL DEFAULT 0,
    lost            INT UNSIGNED NOT NULL DEFAULT 0,
    created_at      DATETIME(6)  NOT NULL,
    expires_at      DATETIME(6)  NOT NULL,
    next_attempt_at DATETIME(6)  NOT NULL,
    claimed_at      DATETIME(6),
    settled_at      DATETIME(6),
    PRIMARY KEY (id),
    KEY iam_outbox_account (account_id),
    KEY iam_outbox_challenge (challenge_id),
    KEY iam_outbox_waiting (state, next_attempt_at),
    KEY iam_outbox_claimed (state, claimed_at),
    KEY iam_outbox_unsettled (settled_at, expires_at),
    KEY iam_outbox_made (created_at),
    CONSTRAINT iam_outbox_of_account FOREIGN KEY (account_id) REFERENCES iam_user_account (id),
    CONSTRAINT iam_outbox_over CHECK ((state IN ('waiting', 'claimed')) = (settled_at IS NULL)),
    CONSTRAINT iam_outbox_taken CHECK ((state = 'claimed') = (claimed_at IS NOT NULL)),
    CONSTRAINT iam_outbox_wiped CHECK ((sealed IS NULL) = (settled_at IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
