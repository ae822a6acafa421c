-- One row, which every commit changes: tells whether a write-ahead log belongs to the database file
-- beside it, and whether the file is complete without one.
CREATE TABLE opening (
    only_row       INTEGER PRIMARY KEY CHECK (only_row = 1),
    opening_id     BLOB    NOT NULL CHECK (length(opening_id) = 16),  -- random, new at each opening
    previous_id    BLOB    CHECK (length(previous_id) = 16),          -- that of the opening before
    is_closed      INTEGER NOT NULL CHECK (is_closed IN (0, 1)),
    commits        INTEGER NOT NULL,  -- the number of this commit
    checkpointed   INTEGER NOT NULL,  -- the file has at least the commits up to this one, without its log
    schema_version INTEGER NOT NULL   -- SQLite's own. In a copy that SQLite made, it is another
) STRICT;

INSERT INTO opening VALUES (1, randomblob(16), NULL, 0, 0, 0, 0);
