-- The trail only grows. What is counted while it goes on is counted beside it, and comes into it once.

-- Events that strangers cause without end, while they are counted: a row for each kind and window of time. Upkeep moves what is over to the
-- trail.
CREATE TABLE IF NOT EXISTS iam_auth_tally (
    coalesce_key   BINARY(32)  NOT NULL,
    at             DATETIME(6) NOT NULL,
    last_at        DATETIME(6) NOT NULL,
    count          BIGINT      NOT NULL,
    event          VARCHAR(64) NOT NULL,
    outcome        VARCHAR(16) NOT NULL,
    target_kind    VARCHAR(32),
    target         VARCHAR(255),
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
    PRIMARY KEY (coalesce_key),
    KEY iam_auth_tally_at (at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What was counted in the trail up to now stays there as it is. Indexes for to whom (it is there), by whom, what, where, and to what else; none
-- for the time, which rises with the id. Made only where the columns are missing, as before.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_auth_log' AND column_name = 'target');
SET @statement = IF(@missing, 'ALTER TABLE iam_auth_log
    ADD COLUMN target_kind VARCHAR(32) AFTER outcome,
    ADD COLUMN target VARCHAR(255) AFTER target_kind,
    DROP KEY iam_auth_log_coalesce,
    DROP KEY iam_auth_log_at,
    DROP COLUMN coalesce_key,
    ADD KEY iam_auth_log_actor (actor_id, id),
    ADD KEY iam_auth_log_event (event, id),
    ADD KEY iam_auth_log_parent (parent_id, id),
    ADD KEY iam_auth_log_target (target_kind, target, id)', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

-- What was written before they were: the roles that were given and taken away, and the parents of accounts.
UPDATE iam_auth_log SET target_kind = 'role', target = SUBSTRING(reason, LOCATE(' ', reason) + 1)
    WHERE event = 'privilege_permissions_changed' AND target IS NULL;
UPDATE iam_auth_log l JOIN iam_user_account a ON a.id = l.account_id SET l.parent_id = a.parent_id
    WHERE l.parent_id IS NULL AND a.parent_id IS NOT NULL;

-- Programs of before count in the trail itself.
UPDATE iam_schema SET min_program = 10 WHERE min_program < 10;
