-- Tickets: links that work once, with what they carry (sealed).
CREATE TABLE IF NOT EXISTS iam_ticket (
    id         BINARY(16)  NOT NULL,
    token_hash BINARY(32)  NOT NULL,
    purpose    VARCHAR(32) NOT NULL,
    account_id BINARY(16),
    parent_id  BINARY(16),
    payload    VARBINARY(4096),
    created_at DATETIME(6) NOT NULL,
    expires_at DATETIME(6) NOT NULL,
    used_at    DATETIME(6),
    PRIMARY KEY (id),
    UNIQUE KEY iam_ticket_token (token_hash),
    KEY iam_ticket_account (account_id, purpose),
    KEY iam_ticket_expiry (expires_at),
    KEY iam_ticket_parent (parent_id),
    CONSTRAINT iam_ticket_of_account FOREIGN KEY (account_id) REFERENCES iam_user_account (id),
    CONSTRAINT iam_ticket_of_parent FOREIGN KEY (parent_id) REFERENCES iam_parent (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Those of before carried nothing; they keep their tokens, and the first half of its hash is their id. Copied and dropped only where they are
-- still there, so that all of it can be run again.
SET @older = (SELECT COUNT(*) FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_name = 'iam_one_time_token');
SET @statement = IF(@older, 'INSERT IGNORE INTO iam_ticket (id, token_hash, purpose, account_id, created_at, expires_at, used_at)
    SELECT LEFT(hash, 16), hash, purpose, account_id, issued_at, expires_at, used_at FROM iam_one_time_token', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

DROP TABLE IF EXISTS iam_one_time_token;

UPDATE iam_schema SET min_program = GREATEST(min_program, 13);
