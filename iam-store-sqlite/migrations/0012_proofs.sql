-- What was proved in a session is one text (iam_core::Proofs): methods, each with its time in microseconds. `amr` is made of it, for the trail and
-- for whoever looks; no program reads it.
ALTER TABLE iam_auth_session ADD COLUMN proofs TEXT NOT NULL DEFAULT '';

-- How many tries at the password led to the session: a second factor that completes the sign-in says so in the trail.
ALTER TABLE iam_auth_session ADD COLUMN tries INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0);

-- Sessions that live keep what they have proved: the password by its time, second factors by those of the challenges that were answered. A
-- factor of which no challenge is left is asked for again.
UPDATE iam_auth_session AS s SET proofs = 'password@' || coalesce(s.authenticated_at, s.login_time)
    || CASE WHEN instr(' ' || s.amr || ' ', ' trusted_device ') > 0 THEN ' trusted_browser@' || s.login_time ELSE '' END
    || coalesce((SELECT group_concat(word, '') FROM
        (SELECT ' ' || CASE WHEN c.purpose IN ('sign_in', 'reauthenticate', 'enrol') THEN '' ELSE 'step_up:' END
                || c.kind || '@' || max(c.consumed_at) AS word
         FROM iam_mfa_challenge c
         WHERE c.session_id = s.id AND c.consumed_at IS NOT NULL AND c.purpose <> 'iam:enrol' AND c.kind NOT IN ('password', 'invitation')
           AND (s.factors IS NULL OR instr(' ' || s.factors || ' ', ' ' || c.kind || ' ') > 0)
         GROUP BY c.kind, c.purpose IN ('sign_in', 'reauthenticate', 'enrol') ORDER BY min(c.consumed_at))), '')
WHERE s.ended_at IS NULL;

ALTER TABLE iam_auth_session DROP COLUMN authenticated_at;
ALTER TABLE iam_auth_session DROP COLUMN second_factor_at;
ALTER TABLE iam_auth_session DROP COLUMN factors;

UPDATE iam_schema SET min_program = max(min_program, 12);
