-- The latest time that a program noted: one that starts with a clock behind it finds out that the clock was put back.
CREATE TABLE iam_clock (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    seen_at INTEGER NOT NULL
) STRICT;
