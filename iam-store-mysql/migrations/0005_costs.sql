-- When a password's hash was last made here; NULL for one that was brought over, and before this was noted.
-- Each statement is made only where its columns are missing, as before.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_user_account' AND column_name = 'password_changed_at');
SET @statement = IF(@missing, 'ALTER TABLE iam_user_account ADD COLUMN password_changed_at DATETIME(6)', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

-- The place in a network's budget that the code of a challenge took, and that the right answer gives back.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_mfa_challenge' AND column_name = 'place_key');
SET @statement = IF(@missing, 'ALTER TABLE iam_mfa_challenge ADD COLUMN place_key BINARY(32), ADD COLUMN place_since BIGINT', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;
