-- What providers did for a message, and what they say of it later. A message that was accepted is not over while its provider is still to say
-- whether it arrived: its content stays until then, or until it expires.
SET @older = (SELECT COUNT(*) FROM information_schema.table_constraints
    WHERE table_schema = DATABASE() AND table_name = 'iam_outbox' AND constraint_name = 'iam_outbox_over');
SET @statement = IF(@older, 'ALTER TABLE iam_outbox DROP CONSTRAINT iam_outbox_over,
    ADD CONSTRAINT iam_outbox_open CHECK (state NOT IN (''waiting'', ''claimed'') OR settled_at IS NULL)', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

CREATE TABLE IF NOT EXISTS iam_delivery_attempt (
    message_id  BINARY(16)     NOT NULL,
    attempt     INT UNSIGNED   NOT NULL,
    position    INT UNSIGNED   NOT NULL,
    provider    VARBINARY(64)  NOT NULL,
    reference   VARBINARY(255),
    outcome     VARCHAR(16)    NOT NULL,
    cost_micros BIGINT,
    at          DATETIME(6)    NOT NULL,
    PRIMARY KEY (message_id, attempt, position),
    KEY iam_delivery_attempt_reference (provider, reference),
    CONSTRAINT iam_delivery_attempt_of_message FOREIGN KEY (message_id) REFERENCES iam_outbox (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

UPDATE iam_schema SET min_program = GREATEST(min_program, 16);
