-- The foundation. A file that was shipped is never edited: later changes are later files, and there is no way back.
--
-- MySQL and MariaDB keep each change of a schema at once, whatever comes after it. So a file has few statements, each
-- of which can be run again: CREATE TABLE IF NOT EXISTS, INSERT .. WHERE NOT EXISTS.
--
-- Expand, then contract. Old and new programs run side by side while a service is rolled out or back, so a file only
-- adds: a table, a column that may be NULL or has a default, an index. What is no longer used goes in a file of a
-- later release, which also raises `iam_schema.min_program` to the first migration whose programs do without it.
--
-- Ids are the sixteen bytes of a UUIDv7. Identifiers and secrets are bytes: no character set folds case, and none
-- pads ('a' is not 'a '). Text is utf8mb4_bin, named on every table, since the two servers have different defaults.
-- Times are UTC to the microsecond.

CREATE TABLE IF NOT EXISTS iam_parent (
    id         BINARY(16)    NOT NULL,
    `key`      VARBINARY(63) NOT NULL,
    name       TEXT          NOT NULL,
    status     VARCHAR(16)   NOT NULL,
    created_at DATETIME(6)   NOT NULL,
    updated_at DATETIME(6)   NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY iam_parent_key (`key`),
    CONSTRAINT iam_parent_status CHECK (status IN ('active', 'suspended'))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- An address signs in, and is unique, once it is verified: there is no index over a part of the rows, so a column is
-- made that has a value in that part only.
CREATE TABLE IF NOT EXISTS iam_user_account (
    id                BINARY(16)      NOT NULL,
    username          VARBINARY(254)  NOT NULL,
    email             VARBINARY(254),
    email_verified_at DATETIME(6),
    phone_number      VARBINARY(32),
    password_hash     VARBINARY(1024),
    status            VARCHAR(16)     NOT NULL,
    parent_id         BINARY(16),
    auth_version      BIGINT          NOT NULL,
    external_id       VARBINARY(255),
    created_at        DATETIME(6)     NOT NULL,
    updated_at        DATETIME(6)     NOT NULL,
    verified_email    VARBINARY(254) GENERATED ALWAYS AS (CASE WHEN email_verified_at IS NOT NULL THEN email END) STORED,
    PRIMARY KEY (id),
    UNIQUE KEY iam_user_account_username (username),
    UNIQUE KEY iam_user_account_verified_email (verified_email),
    UNIQUE KEY iam_user_account_external_id (external_id),
    KEY iam_user_account_parent (parent_id),
    CONSTRAINT iam_user_account_in_parent FOREIGN KEY (parent_id) REFERENCES iam_parent (id),
    CONSTRAINT iam_user_account_status CHECK (status IN ('active', 'disabled', 'locked')),
    CONSTRAINT iam_user_account_auth_version CHECK (auth_version > 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS iam_role (
    id          BINARY(16)    NOT NULL,
    name        VARBINARY(64) NOT NULL,
    description TEXT          NOT NULL,
    created_at  DATETIME(6)   NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY iam_role_name (name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS iam_user_role (
    account_id BINARY(16)  NOT NULL,
    role_id    BINARY(16)  NOT NULL,
    granted_by BINARY(16),
    granted_at DATETIME(6) NOT NULL,
    expires_at DATETIME(6),
    PRIMARY KEY (account_id, role_id),
    KEY iam_user_role_role (role_id),
    CONSTRAINT iam_user_role_of_account FOREIGN KEY (account_id) REFERENCES iam_user_account (id),
    CONSTRAINT iam_user_role_of_role FOREIGN KEY (role_id) REFERENCES iam_role (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- `live_account_id` is the account of those sessions that have not ended, `secret_ended_at` the end of those whose
-- token is still known. The foreign key has an index of its own that no end changes: MariaDB locks the account when
-- that one changes, and who ends a session would then wait for who locks an account and ends its sessions, and the
-- other way round.
CREATE TABLE IF NOT EXISTS iam_auth_session (
    id              BINARY(16)   NOT NULL,
    account_id      BINARY(16)   NOT NULL,
    token_hash      BINARY(32),
    state           VARCHAR(16)  NOT NULL,
    auth_version    BIGINT       NOT NULL,
    amr             VARCHAR(255) NOT NULL,
    login_time      DATETIME(6)  NOT NULL,
    last_seen_at    DATETIME(6)  NOT NULL,
    ended_at        DATETIME(6),
    end_reason      VARCHAR(32),
    logout_time     DATETIME(6),
    client_address  VARCHAR(45),
    user_agent      TEXT,
    live_account_id BINARY(16)  GENERATED ALWAYS AS (CASE WHEN ended_at IS NULL THEN account_id END) STORED,
    secret_ended_at DATETIME(6) GENERATED ALWAYS AS (CASE WHEN token_hash IS NOT NULL THEN ended_at END) STORED,
    PRIMARY KEY (id),
    UNIQUE KEY iam_auth_session_token (token_hash),
    KEY iam_auth_session_account (account_id),
    KEY iam_auth_session_live (live_account_id),
    KEY iam_auth_session_unseen (ended_at, last_seen_at),
    KEY iam_auth_session_secret (secret_ended_at),
    CONSTRAINT iam_auth_session_of_account FOREIGN KEY (account_id) REFERENCES iam_user_account (id),
    CONSTRAINT iam_auth_session_state CHECK (state IN ('pending', 'active')),
    CONSTRAINT iam_auth_session_end CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The trail. It outlives what it tells of, so it refers to nothing.
CREATE TABLE IF NOT EXISTS iam_auth_log (
    id             BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    at             DATETIME(6)     NOT NULL,
    last_at        DATETIME(6)     NOT NULL,
    count          BIGINT          NOT NULL DEFAULT 1,
    event          VARCHAR(64)     NOT NULL,
    outcome        VARCHAR(16)     NOT NULL,
    reason         TEXT,
    actor_id       BINARY(16),
    account_id     BINARY(16),
    parent_id      BINARY(16),
    session_id     BINARY(16),
    amr            VARCHAR(255),
    identifier     VARCHAR(255),
    client_address VARCHAR(45),
    user_agent     TEXT,
    request_id     TEXT,
    coalesce_key   BINARY(32),
    PRIMARY KEY (id),
    UNIQUE KEY iam_auth_log_coalesce (coalesce_key),
    KEY iam_auth_log_at (at),
    KEY iam_auth_log_account (account_id, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Times in microseconds since 1970 here: they are calculated with, and reach beyond the year 9999, where DATETIME ends.
CREATE TABLE IF NOT EXISTS iam_rate_limit (
    `key`          BINARY(32) NOT NULL,
    count          BIGINT     NOT NULL,
    number         BIGINT     NOT NULL,
    since          BIGINT     NOT NULL,
    last_at        BIGINT     NOT NULL,
    blocked_until  BIGINT     NOT NULL,
    expires_before BIGINT     NOT NULL,
    expires_at     BIGINT     NOT NULL,
    PRIMARY KEY (`key`),
    KEY iam_rate_limit_expiry (expires_at),
    CONSTRAINT iam_rate_limit_count CHECK (count >= 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS iam_key_canary (
    key_id INT UNSIGNED    NOT NULL,
    sealed VARBINARY(1024) NOT NULL,
    PRIMARY KEY (key_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A program that knows no migration as high as `min_program` must not use this schema. A migration that takes
-- something away raises it; one that only adds leaves it, so that old and new programs run side by side.
CREATE TABLE IF NOT EXISTS iam_schema (
    id          TINYINT NOT NULL,
    min_program BIGINT  NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT iam_schema_one_row CHECK (id = 1)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO iam_schema (id, min_program) SELECT 1, 1 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM iam_schema);
