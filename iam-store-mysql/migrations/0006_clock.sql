-- The latest time that a program noted: one that starts with a clock behind it finds out that the clock was put back.
CREATE TABLE IF NOT EXISTS iam_clock (
    id      TINYINT     NOT NULL,
    seen_at DATETIME(6) NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT iam_clock_one_row CHECK (id = 1)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
