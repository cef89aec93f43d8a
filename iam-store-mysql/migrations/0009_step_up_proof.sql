-- Step-up proofs in a table of their own: a challenge is a question and its answer, and nothing else. (This takes something away, which a
-- service that is rolled out beside programs of before could not do in one step; none was released.)
CREATE TABLE IF NOT EXISTS iam_step_up_proof (
    id           BINARY(16)  NOT NULL,
    session_id   BINARY(16)  NOT NULL,
    account_id   BINARY(16)  NOT NULL,
    parent_id    BINARY(16),
    auth_version BIGINT      NOT NULL,
    purpose      VARCHAR(32) NOT NULL,
    kind         VARCHAR(32) NOT NULL,
    approval     BINARY(32),
    proved_at    DATETIME(6) NOT NULL,
    used_at      DATETIME(6),
    PRIMARY KEY (id),
    KEY iam_step_up_proof_account (account_id),
    KEY iam_step_up_proof_session (session_id, used_at, proved_at),
    KEY iam_step_up_proof_age (proved_at),
    CONSTRAINT iam_step_up_proof_of_account FOREIGN KEY (account_id) REFERENCES iam_user_account (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- No proof is good for more than an hour. What time it is, nobody tells a migration: an hour before the latest one. Both statements are
-- made only where the columns that go are still there.
SET @there = (SELECT COUNT(*) > 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_mfa_challenge' AND column_name = 'auth_version');
SET @statement = IF(@there, 'INSERT INTO iam_step_up_proof
        (id, session_id, account_id, parent_id, auth_version, purpose, kind, approval, proved_at)
    SELECT c.id, c.session_id, c.account_id, c.parent_id, c.auth_version, c.purpose, c.kind, c.approval, c.consumed_at
    FROM iam_mfa_challenge c
    WHERE c.auth_version IS NOT NULL AND c.used_at IS NULL
      AND c.consumed_at > (SELECT MAX(l.consumed_at) FROM iam_mfa_challenge l) - INTERVAL 1 HOUR
      AND NOT EXISTS (SELECT 1 FROM iam_step_up_proof p WHERE p.id = c.id)', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

SET @statement = IF(@there, 'ALTER TABLE iam_mfa_challenge DROP KEY iam_mfa_challenge_grant, DROP COLUMN auth_version,
    DROP COLUMN parent_id, DROP COLUMN used_at', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

UPDATE iam_schema SET min_program = GREATEST(min_program, 9);
