-- The last look at the clock of those that let old keys go: what it said, and for how long it had gone on without a
-- jump. Both are in microseconds. There is none before the first look.
CREATE TABLE clock_look (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    time     INTEGER NOT NULL CHECK (time BETWEEN 0 AND 253402300799999999),
    steady   INTEGER NOT NULL CHECK (steady >= 0)
) STRICT;
