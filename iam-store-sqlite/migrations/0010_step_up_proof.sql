-- Step-up proofs in a table of their own: a challenge is a question and its answer, and nothing else. (This takes something away, which a
-- service that is rolled out beside programs of before could not do in one step; none was released.)
CREATE TABLE iam_step_up_proof (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    session_id   BLOB    NOT NULL CHECK (length(session_id) = 16),
    account_id   BLOB    NOT NULL REFERENCES iam_user_account (id),
    parent_id    BLOB    CHECK (length(parent_id) = 16),
    auth_version INTEGER NOT NULL,
    purpose      TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    approval     BLOB    CHECK (length(approval) = 32),
    proved_at    INTEGER NOT NULL,
    used_at      INTEGER
) STRICT;

-- What a guard with a step-up looks for, and what upkeep removes.
CREATE INDEX iam_step_up_proof_session ON iam_step_up_proof (session_id, proved_at) WHERE used_at IS NULL;
CREATE INDEX iam_step_up_proof_age ON iam_step_up_proof (proved_at);

-- No proof is good for more than an hour. What time it is, nobody tells a migration: an hour before the latest one.
INSERT INTO iam_step_up_proof (id, session_id, account_id, parent_id, auth_version, purpose, kind, approval, proved_at)
    SELECT id, session_id, account_id, parent_id, auth_version, purpose, kind, approval, consumed_at
    FROM iam_mfa_challenge
    WHERE auth_version IS NOT NULL AND used_at IS NULL
      AND consumed_at > (SELECT max(consumed_at) FROM iam_mfa_challenge) - 3600000000;

DROP INDEX iam_mfa_challenge_grant;
ALTER TABLE iam_mfa_challenge DROP COLUMN auth_version;
ALTER TABLE iam_mfa_challenge DROP COLUMN parent_id;
ALTER TABLE iam_mfa_challenge DROP COLUMN used_at;

UPDATE iam_schema SET min_program = max(min_program, 10);
