-- The last look at the clock of those that let old keys go: what it said, and for how long it had gone on without a
-- jump. Both are in microseconds. The first row trusts nothing.
CREATE TABLE clock_look (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    time     INTEGER NOT NULL CHECK (time BETWEEN 0 AND 253402300799999999),
    steady   INTEGER NOT NULL CHECK (steady >= 0)
) STRICT;
INSERT INTO clock_look
    SELECT 1, min(max(write_time, 0), 253402300799999999), 0
    FROM writes ORDER BY revision DESC LIMIT 1;
