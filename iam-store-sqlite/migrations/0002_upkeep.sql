-- Limits that take a try back whole, upkeep that finds its rows by index, and which programs may use this schema.

-- Which try of its counting was the last, and when the key would be forgotten without it.
ALTER TABLE iam_rate_limit ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
ALTER TABLE iam_rate_limit ADD COLUMN expires_before INTEGER NOT NULL DEFAULT 0;

CREATE INDEX iam_auth_session_unseen ON iam_auth_session (last_seen_at) WHERE ended_at IS NULL;
CREATE INDEX iam_auth_session_ended ON iam_auth_session (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX iam_auth_session_secret ON iam_auth_session (ended_at)
    WHERE ended_at IS NOT NULL AND token_hash IS NOT NULL;

-- A program that knows no migration as high as `min_program` must not use this schema. A migration that takes something away
-- raises it; one that only adds leaves it, so that old and new programs run side by side.
CREATE TABLE iam_schema (
    id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    min_program INTEGER NOT NULL
) STRICT;

INSERT INTO iam_schema (id, min_program) VALUES (1, 1);
