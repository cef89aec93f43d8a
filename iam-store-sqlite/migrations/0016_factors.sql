-- Factors of any shape. A challenge keeps what its factor needs until the answer comes, sealed; codes that were sent just before this upgrade are
-- asked for again. A method may be found by a key of its own, which no other of its kind has (a credential's id).
ALTER TABLE iam_mfa_challenge ADD COLUMN kept BLOB;
ALTER TABLE iam_mfa_challenge DROP COLUMN answer;
ALTER TABLE iam_mfa_method ADD COLUMN lookup BLOB;
CREATE UNIQUE INDEX iam_mfa_method_lookup ON iam_mfa_method (kind, lookup) WHERE lookup IS NOT NULL;

UPDATE iam_schema SET min_program = max(min_program, 16);
