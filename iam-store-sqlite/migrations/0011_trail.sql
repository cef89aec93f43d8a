-- The trail only grows. What is counted while it goes on is counted beside it, and comes into it once.

-- Events that strangers cause without end, while they are counted: a row for each kind and window of time. Upkeep moves what is over to the
-- trail.
CREATE TABLE iam_auth_tally (
    coalesce_key   BLOB    NOT NULL PRIMARY KEY CHECK (length(coalesce_key) = 32),
    at             INTEGER NOT NULL,
    last_at        INTEGER NOT NULL,
    count          INTEGER NOT NULL,
    event          TEXT    NOT NULL,
    outcome        TEXT    NOT NULL,
    target_kind    TEXT,
    target         TEXT,
    reason         TEXT,
    actor_id       BLOB,
    account_id     BLOB,
    parent_id      BLOB,
    session_id     BLOB,
    amr            TEXT,
    identifier     TEXT,
    client_address TEXT,
    user_agent     TEXT,
    request_id     TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX iam_auth_tally_at ON iam_auth_tally (at);

-- A column that is unique can't be dropped, so the table is made anew. It outlives what it tells of, and refers to nothing.
CREATE TABLE iam_auth_log_new (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    at             INTEGER NOT NULL,
    last_at        INTEGER NOT NULL,
    count          INTEGER NOT NULL DEFAULT 1,
    event          TEXT    NOT NULL,
    outcome        TEXT    NOT NULL,
    target_kind    TEXT,
    target         TEXT,
    reason         TEXT,
    actor_id       BLOB,
    account_id     BLOB,
    parent_id      BLOB,
    session_id     BLOB,
    amr            TEXT,
    identifier     TEXT,
    client_address TEXT,
    user_agent     TEXT,
    request_id     TEXT
) STRICT;

-- What was counted up to now stays as it is; what comes later is counted beside it.
INSERT INTO iam_auth_log_new (id, at, last_at, count, event, outcome, target_kind, target, reason, actor_id, account_id, parent_id, session_id,
        amr, identifier, client_address, user_agent, request_id)
    SELECT l.id, l.at, l.last_at, l.count, l.event, l.outcome,
        CASE WHEN l.event = 'privilege_permissions_changed' THEN 'role' END,
        CASE WHEN l.event = 'privilege_permissions_changed' THEN substr(l.reason, instr(l.reason, ' ') + 1) END,
        l.reason, l.actor_id, l.account_id,
        coalesce(l.parent_id, (SELECT a.parent_id FROM iam_user_account a WHERE a.id = l.account_id)),
        l.session_id, l.amr, l.identifier, l.client_address, l.user_agent, l.request_id
    FROM iam_auth_log l;

-- No id comes twice, even where the newest rows are gone.
DELETE FROM sqlite_sequence WHERE name = 'iam_auth_log_new';
INSERT INTO sqlite_sequence (name, seq) SELECT 'iam_auth_log_new', seq FROM sqlite_sequence WHERE name = 'iam_auth_log';
DROP TABLE iam_auth_log;
ALTER TABLE iam_auth_log_new RENAME TO iam_auth_log;

-- To whom, by whom, what, where, and to what else; each newest first.
CREATE INDEX iam_auth_log_account ON iam_auth_log (account_id, id) WHERE account_id IS NOT NULL;
CREATE INDEX iam_auth_log_actor ON iam_auth_log (actor_id, id) WHERE actor_id IS NOT NULL;
CREATE INDEX iam_auth_log_event ON iam_auth_log (event, id);
CREATE INDEX iam_auth_log_parent ON iam_auth_log (parent_id, id) WHERE parent_id IS NOT NULL;
CREATE INDEX iam_auth_log_target ON iam_auth_log (target_kind, target, id) WHERE target IS NOT NULL;

-- A row is never changed.
CREATE TRIGGER iam_auth_log_is_append_only BEFORE UPDATE ON iam_auth_log
BEGIN
    SELECT RAISE(ABORT, 'iam_auth_log is append-only');
END;

-- Programs of before count in the trail itself.
UPDATE iam_schema SET min_program = 11 WHERE min_program < 11;
