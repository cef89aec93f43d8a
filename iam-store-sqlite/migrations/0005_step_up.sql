-- Step-up: a challenge that was answered for a purpose of the host's is a grant. `auth_version` is there for those alone.
ALTER TABLE iam_mfa_challenge ADD COLUMN auth_version INTEGER;
ALTER TABLE iam_mfa_challenge ADD COLUMN parent_id BLOB CHECK (length(parent_id) = 16);
ALTER TABLE iam_mfa_challenge ADD COLUMN approval BLOB CHECK (length(approval) = 32);
ALTER TABLE iam_mfa_challenge ADD COLUMN used_at INTEGER;

-- What the guard's read looks for, and what upkeep removes.
CREATE INDEX iam_mfa_challenge_grant ON iam_mfa_challenge (session_id, consumed_at)
    WHERE auth_version IS NOT NULL AND used_at IS NULL;
CREATE INDEX iam_mfa_challenge_unanswered ON iam_mfa_challenge (expires_at) WHERE consumed_at IS NULL;

-- The kinds of factors that were proved in a session, separated by spaces.
ALTER TABLE iam_auth_session ADD COLUMN factors TEXT;

-- That a second factor is required: since when, and how long people have to set one up, in seconds.
ALTER TABLE iam_role ADD COLUMN factor_required_at INTEGER;
ALTER TABLE iam_role ADD COLUMN factor_grace INTEGER;
ALTER TABLE iam_parent ADD COLUMN factor_required_at INTEGER;
ALTER TABLE iam_parent ADD COLUMN factor_grace INTEGER;

-- Forms that a guard stopped, until their sender has proved again who they are. Sealed; each is sent once.
CREATE TABLE iam_interrupted_request (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    account_id BLOB    NOT NULL REFERENCES iam_user_account (id),
    session_id BLOB    NOT NULL CHECK (length(session_id) = 16),
    sealed     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    resumed_at INTEGER
) STRICT;

CREATE INDEX iam_interrupted_request_session ON iam_interrupted_request (session_id, created_at);
CREATE INDEX iam_interrupted_request_expiry ON iam_interrupted_request (expires_at);

-- Browsers that need no second factor to sign in, for a while.
CREATE TABLE iam_trusted_device (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    account_id     BLOB    NOT NULL REFERENCES iam_user_account (id),
    token_hash     BLOB    NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    auth_version   INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    client_address TEXT,
    user_agent     TEXT
) STRICT;

CREATE INDEX iam_trusted_device_account ON iam_trusted_device (account_id);
CREATE INDEX iam_trusted_device_expiry ON iam_trusted_device (expires_at);
