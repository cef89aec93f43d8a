-- Where a grant comes from: an account may hold a role from several sources. What there was is this service's own.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_user_role' AND column_name = 'source');
SET @statement = IF(@missing, 'ALTER TABLE iam_user_role ADD COLUMN source VARCHAR(64) NOT NULL DEFAULT ''local'' AFTER role_id,
    DROP PRIMARY KEY, ADD PRIMARY KEY (account_id, role_id, source)', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

UPDATE iam_schema SET min_program = GREATEST(min_program, 14);
