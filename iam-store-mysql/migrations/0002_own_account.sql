-- When the owner of a session last proved who they are; without it, when they signed in.
--
-- MySQL has no ADD COLUMN IF NOT EXISTS, so the statement is made only where the column is missing.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_auth_session' AND column_name = 'authenticated_at');
SET @statement = IF(@missing, 'ALTER TABLE iam_auth_session ADD COLUMN authenticated_at DATETIME(6) AFTER login_time', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;
