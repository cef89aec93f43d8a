-- The foundation. Never edited once shipped: later changes are later files.
-- Times are microseconds since 1970, UTC. Ids are the sixteen bytes of a UUIDv7. Text compares byte by byte.

CREATE TABLE iam_parent (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    key        TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    status     TEXT    NOT NULL CHECK (status IN ('active', 'suspended')),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE iam_user_account (
    id                BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    username          TEXT    NOT NULL UNIQUE,
    email             TEXT,
    email_verified_at INTEGER,
    phone_number      TEXT,
    password_hash     TEXT,
    status            TEXT    NOT NULL CHECK (status IN ('active', 'disabled', 'locked')),
    parent_id         BLOB    REFERENCES iam_parent (id),
    auth_version      INTEGER NOT NULL CHECK (auth_version > 0),
    external_id       TEXT    UNIQUE,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
) STRICT;

-- An address signs in, and is unique, once it is verified.
CREATE UNIQUE INDEX iam_user_account_verified_email ON iam_user_account (email) WHERE email_verified_at IS NOT NULL;
CREATE INDEX iam_user_account_parent ON iam_user_account (parent_id);

CREATE TABLE iam_role (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name        TEXT    NOT NULL UNIQUE,
    description TEXT    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE iam_user_role (
    account_id BLOB    NOT NULL REFERENCES iam_user_account (id),
    role_id    BLOB    NOT NULL REFERENCES iam_role (id),
    granted_by BLOB,
    granted_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (account_id, role_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX iam_user_role_role ON iam_user_role (role_id);

CREATE TABLE iam_auth_session (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    account_id     BLOB    NOT NULL REFERENCES iam_user_account (id),
    token_hash     BLOB    UNIQUE CHECK (length(token_hash) = 32),
    state          TEXT    NOT NULL CHECK (state IN ('pending', 'active')),
    auth_version   INTEGER NOT NULL,
    amr            TEXT    NOT NULL,
    login_time     INTEGER NOT NULL,
    last_seen_at   INTEGER NOT NULL,
    ended_at       INTEGER,
    end_reason     TEXT,
    logout_time    INTEGER,
    client_address TEXT,
    user_agent     TEXT,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) STRICT;

CREATE INDEX iam_auth_session_live ON iam_auth_session (account_id) WHERE ended_at IS NULL;

-- The trail. It outlives what it tells of, so it refers to nothing.
CREATE TABLE iam_auth_log (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    at             INTEGER NOT NULL,
    last_at        INTEGER NOT NULL,
    count          INTEGER NOT NULL DEFAULT 1,
    event          TEXT    NOT NULL,
    outcome        TEXT    NOT NULL,
    reason         TEXT,
    actor_id       BLOB,
    account_id     BLOB,
    parent_id      BLOB,
    session_id     BLOB,
    amr            TEXT,
    identifier     TEXT,
    client_address TEXT,
    user_agent     TEXT,
    request_id     TEXT,
    coalesce_key   BLOB    UNIQUE
) STRICT;

CREATE INDEX iam_auth_log_at ON iam_auth_log (at);
CREATE INDEX iam_auth_log_account ON iam_auth_log (account_id, id);

CREATE TABLE iam_rate_limit (
    key           BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    count         INTEGER NOT NULL CHECK (count >= 0),
    since         INTEGER NOT NULL,
    last_at       INTEGER NOT NULL,
    blocked_until INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX iam_rate_limit_expiry ON iam_rate_limit (expires_at);

CREATE TABLE iam_key_canary (
    key_id INTEGER NOT NULL PRIMARY KEY,
    sealed BLOB    NOT NULL
) STRICT;
