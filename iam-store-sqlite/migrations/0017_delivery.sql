-- What providers did for a message, and what they say of it later. A message that was accepted is not over while its provider is still to say
-- whether it arrived: its content stays until then, or until it expires.
CREATE TABLE iam_outbox_with_receipts (
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
    CHECK (state NOT IN ('waiting', 'claimed') OR settled_at IS NULL),
    CHECK ((state = 'claimed') = (claimed_at IS NOT NULL)),
    CHECK ((sealed IS NULL) = (settled_at IS NOT NULL))
) STRICT;

INSERT INTO iam_outbox_with_receipts (id, account_id, challenge_id, channel, sealed, state, attempts, lost, created_at, expires_at,
    next_attempt_at, claimed_at, settled_at)
SELECT id, account_id, challenge_id, channel, sealed, state, attempts, lost, created_at, expires_at, next_attempt_at, claimed_at, settled_at
FROM iam_outbox;

DROP TABLE iam_outbox;
ALTER TABLE iam_outbox_with_receipts RENAME TO iam_outbox;

CREATE INDEX iam_outbox_waiting ON iam_outbox (next_attempt_at) WHERE state = 'waiting';
CREATE INDEX iam_outbox_claimed ON iam_outbox (claimed_at) WHERE state = 'claimed';
CREATE INDEX iam_outbox_unsettled ON iam_outbox (expires_at) WHERE settled_at IS NULL;
CREATE INDEX iam_outbox_settled ON iam_outbox (created_at) WHERE settled_at IS NOT NULL;
CREATE INDEX iam_outbox_challenge ON iam_outbox (challenge_id) WHERE challenge_id IS NOT NULL;

CREATE TABLE iam_delivery_attempt (
    message_id  BLOB    NOT NULL REFERENCES iam_outbox (id) ON DELETE CASCADE,
    attempt     INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    provider    TEXT    NOT NULL,
    reference   TEXT,
    outcome     TEXT    NOT NULL,
    cost_micros INTEGER,
    at          INTEGER NOT NULL,
    PRIMARY KEY (message_id, attempt, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX iam_delivery_attempt_reference ON iam_delivery_attempt (provider, reference) WHERE reference IS NOT NULL;

UPDATE iam_schema SET min_program = max(min_program, 17);
