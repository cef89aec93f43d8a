-- When a password's hash was last made here; NULL for one that was brought over, and before this was noted.
ALTER TABLE iam_user_account ADD COLUMN password_changed_at INTEGER;

-- The place in a network's budget that the code of a challenge took, and that the right answer gives back.
ALTER TABLE iam_mfa_challenge ADD COLUMN place_key BLOB CHECK (length(place_key) = 32);
ALTER TABLE iam_mfa_challenge ADD COLUMN place_since INTEGER;
