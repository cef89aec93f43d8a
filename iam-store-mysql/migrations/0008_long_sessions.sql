-- Sessions that outlive the ordinary limits, and tokens that a day replaces: whether a session was asked for as a long one; up to when what was
-- proved in it counts no more; the token before, which counts until the session's own is first used; when that was made (NULL: with the
-- session), and first used after it replaced another one. Idle sessions of either kind are found without reading the others: the index keeps
-- its name, by which programs of the version before ask for it.
-- The statement is made only where its columns are missing, as before.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_auth_session' AND column_name = 'long_lived');
SET @statement = IF(@missing, 'ALTER TABLE iam_auth_session
    ADD COLUMN long_lived TINYINT NOT NULL DEFAULT 0,
    ADD COLUMN lapsed_at DATETIME(6),
    ADD COLUMN previous_token_hash BINARY(32),
    ADD COLUMN token_made_at DATETIME(6),
    ADD COLUMN token_used_at DATETIME(6),
    ADD UNIQUE KEY iam_auth_session_previous (previous_token_hash),
    DROP KEY iam_auth_session_unseen,
    ADD KEY iam_auth_session_unseen (ended_at, long_lived, last_seen_at)', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;
