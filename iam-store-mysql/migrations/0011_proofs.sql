-- What was proved in a session is one text (iam_core::Proofs): methods, each with its time in microseconds. `amr` is made of it, for the trail and
-- for whoever looks; no program reads it. And how many tries at the password led to the session: a second factor that completes the sign-in
-- says so in the trail.
-- Each statement is made only where its columns are missing, or still there, as before.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'iam_auth_session' AND column_name = 'proofs');
SET @statement = IF(@missing, 'ALTER TABLE iam_auth_session ADD COLUMN proofs VARCHAR(1024) NOT NULL DEFAULT '''' AFTER amr,
    ADD COLUMN tries INT UNSIGNED NOT NULL DEFAULT 0 AFTER proofs', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

-- Sessions that live keep what they have proved: the password by its time, second factors by those of the challenges that were answered. A
-- factor of which no challenge is left is asked for again.
SET @older = (SELECT COUNT(*) = 3 FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'iam_auth_session'
    AND column_name IN ('authenticated_at', 'second_factor_at', 'factors'));
SET @statement = IF(@older, 'UPDATE iam_auth_session s LEFT JOIN
    (SELECT w.session_id, GROUP_CONCAT(w.word ORDER BY w.first_at SEPARATOR '''') AS words FROM
        (SELECT c.session_id, MIN(c.consumed_at) AS first_at,
            CONCAT('' '', c.mark, c.kind, ''@'', TIMESTAMPDIFF(MICROSECOND, ''1970-01-01'', MAX(c.consumed_at))) AS word
         FROM (SELECT a.session_id, a.kind, a.consumed_at,
                IF(a.purpose IN (''sign_in'', ''reauthenticate'', ''enrol''), '''', ''step_up:'') AS mark
             FROM iam_auth_session t JOIN iam_mfa_challenge a ON a.session_id = t.id
             WHERE t.ended_at IS NULL AND a.consumed_at IS NOT NULL AND a.purpose <> ''iam:enrol''
               AND a.kind NOT IN (''password'', ''invitation'')
               AND (t.factors IS NULL OR LOCATE(CONCAT('' '', a.kind, '' ''), CONCAT('' '', t.factors, '' '')) > 0)) c
         GROUP BY c.session_id, c.mark, c.kind) w
     GROUP BY w.session_id) f ON f.session_id = s.id
    SET s.proofs = CONCAT(''password@'', TIMESTAMPDIFF(MICROSECOND, ''1970-01-01'', COALESCE(s.authenticated_at, s.login_time)),
        IF(LOCATE('' trusted_device '', CONCAT('' '', s.amr, '' '')) > 0,
            CONCAT('' trusted_browser@'', TIMESTAMPDIFF(MICROSECOND, ''1970-01-01'', s.login_time)), ''''),
        COALESCE(f.words, ''''))
    WHERE s.ended_at IS NULL AND s.proofs = ''''', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

SET @statement = IF(@older, 'ALTER TABLE iam_auth_session
    DROP COLUMN authenticated_at, DROP COLUMN second_factor_at, DROP COLUMN factors', 'DO 0');
PREPARE iam_migration FROM @statement;
EXECUTE iam_migration;
DEALLOCATE PREPARE iam_migration;

UPDATE iam_schema SET min_program = GREATEST(min_program, 11);
