-- The file that this database was made in, or accepted in after a restore: another one that has this row is a copy.
-- In a backup there is no row. The numbers are the file system's, and null where it keeps none.
CREATE TABLE origin (
    only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
    inode       INTEGER,
    birth_nanos INTEGER
) STRICT;
