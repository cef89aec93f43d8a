-- Factors of any shape. A challenge keeps what its factor needs until the answer comes, sealed; codes that were sent just before this upgrade are
-- asked for again. A method may be found by a key of its own, which no other of its kind has (a credential's id).
SET @older = (SELECT COUNT(*) FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_mfa_challenge' AND column_name = 'answer');
SET @statement = IF(@older, 'ALTER TABLE iam_mfa_challenge ADD COLUMN kept VARBINARY(4160) AFTER method_id, DROP COLUMN answer', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_mfa_method' AND column_name = 'lookup');
SET @statement = IF(@missing, 'ALTER TABLE iam_mfa_method ADD COLUMN lookup VARBINARY(1023) AFTER secret,
    ADD UNIQUE KEY iam_mfa_method_lookup (kind, lookup)', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

UPDATE iam_schema SET min_program = GREATEST(min_program, 15);
