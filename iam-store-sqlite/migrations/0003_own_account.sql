-- When the owner of a session last proved who they are; without it, when they signed in.
ALTER TABLE iam_auth_session ADD COLUMN authenticated_at INTEGER;
