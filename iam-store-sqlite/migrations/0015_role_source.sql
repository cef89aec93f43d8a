-- Where a grant comes from: an account may hold a role from several sources. What there was is this service's own.
CREATE TABLE iam_user_role_by_source (
    account_id BLOB    NOT NULL REFERENCES iam_user_account (id),
    role_id    BLOB    NOT NULL REFERENCES iam_role (id),
    source     TEXT    NOT NULL DEFAULT 'local',
    granted_by BLOB,
    granted_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (account_id, role_id, source)
) STRICT, WITHOUT ROWID;

INSERT INTO iam_user_role_by_source (account_id, role_id, granted_by, granted_at, expires_at)
SELECT account_id, role_id, granted_by, granted_at, expires_at FROM iam_user_role;

DROP TABLE iam_user_role;
ALTER TABLE iam_user_role_by_source RENAME TO iam_user_role;
CREATE INDEX iam_user_role_role ON iam_user_role (role_id);

UPDATE iam_schema SET min_program = max(min_program, 15);
