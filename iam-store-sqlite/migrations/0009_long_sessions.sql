-- Sessions that outlive the ordinary limits, and tokens that a day replaces.

-- Whether it was asked for as a long one.
ALTER TABLE iam_auth_session ADD COLUMN long_lived INTEGER NOT NULL DEFAULT 0 CHECK (long_lived IN (0, 1));
-- Up to when what was proved in it counts no more.
ALTER TABLE iam_auth_session ADD COLUMN lapsed_at INTEGER;
-- The token before, which counts until the session's own is first used.
ALTER TABLE iam_auth_session ADD COLUMN previous_token_hash BLOB CHECK (length(previous_token_hash) = 32);
-- When the session's own was made (NULL: with the session), and first used after it replaced another one.
ALTER TABLE iam_auth_session ADD COLUMN token_made_at INTEGER;
ALTER TABLE iam_auth_session ADD COLUMN token_used_at INTEGER;

CREATE UNIQUE INDEX iam_auth_session_previous ON iam_auth_session (previous_token_hash)
    WHERE previous_token_hash IS NOT NULL;

-- Idle sessions of either kind are found without reading the others.
DROP INDEX iam_auth_session_unseen;
CREATE INDEX iam_auth_session_unseen ON iam_auth_session (long_lived, last_seen_at) WHERE ended_at IS NULL;
