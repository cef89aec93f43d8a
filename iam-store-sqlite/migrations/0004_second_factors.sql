-- When the owner of a session last proved a second factor.
ALTER TABLE iam_auth_session ADD COLUMN second_factor_at INTEGER;

-- What people have set up. It counts once it is confirmed.
CREATE TABLE iam_mfa_method (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    account_id   BLOB    NOT NULL REFERENCES iam_user_account (id),
    kind         TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    secret       BLOB,
    created_at   INTEGER NOT NULL,
    confirmed_at INTEGER,
    last_used_at INTEGER,
    last_step    INTEGER
) STRICT;

CREATE INDEX iam_mfa_method_account ON iam_mfa_method (account_id, created_at);
CREATE INDEX iam_mfa_method_unconfirmed ON iam_mfa_method (created_at) WHERE confirmed_at IS NULL;

-- Only digests.
CREATE TABLE iam_recovery_code (
    account_id BLOB    NOT NULL REFERENCES iam_user_account (id),
    digest     BLOB    NOT NULL CHECK (length(digest) = 32),
    created_at INTEGER NOT NULL,
    used_at    INTEGER,
    PRIMARY KEY (account_id, digest)
) STRICT, WITHOUT ROWID;

-- Sessions and methods go on their own, and a challenge is worth nothing without them: it refers to neither.
CREATE TABLE iam_mfa_challenge (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    account_id  BLOB    NOT NULL REFERENCES iam_user_account (id),
    session_id  BLOB    NOT NULL CHECK (length(session_id) = 16),
    purpose     TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    method_id   BLOB    CHECK (length(method_id) = 16),
    answer      BLOB    CHECK (length(answer) = 32),
    sends       INTEGER NOT NULL CHECK (sends >= 0),
    tries       INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    consumed_at INTEGER,
    replaced_at INTEGER
) STRICT;

CREATE INDEX iam_mfa_challenge_session ON iam_mfa_challenge (session_id, purpose, kind);
CREATE INDEX iam_mfa_challenge_expiry ON iam_mfa_challenge (expires_at);

-- What is to be sent. What is over is settled, and its sealed message is gone.
CREATE TABLE iam_outbox (
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    account_id      BLOB    NOT NULL REFERENCES iam_user_account (id),
    challenge_id    BLOB    CHECK (length(challenge_id) = 16),
    channel         TEXT    NOT NULL,
    sealed          BLOB,
    state           TEXT    NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    lost            INTEGER NOT NULL DEFAULT 0 CHECK (lost >= 0),
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    claimed_at      INTEGER,
    settled_at      INTEGER,
    CHECK ((state IN ('waiting', 'claimed')) = (settled_at IS NULL)),
    CHECK ((state = 'claimed') = (claimed_at IS NOT NULL)),
    CHECK ((sealed IS NULL) = (settled_at IS NOT NULL))
) STRICT;

CREATE INDEX iam_outbox_waiting ON iam_outbox (next_attempt_at) WHERE state = 'waiting';
CREATE INDEX iam_outbox_claimed ON iam_outbox (claimed_at) WHERE state = 'claimed';
CREATE INDEX iam_outbox_unsettled ON iam_outbox (expires_at) WHERE settled_at IS NULL;
CREATE INDEX iam_outbox_settled ON iam_outbox (created_at) WHERE settled_at IS NOT NULL;
CREATE INDEX iam_outbox_challenge ON iam_outbox (challenge_id) WHERE challenge_id IS NOT NULL;
