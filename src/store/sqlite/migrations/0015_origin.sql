-- The file that this database was made in, or accepted in after a restore: another one that has this row is a copy.
-- In a backup there is no row. The numbers are the file system's, and null where it keeps none.
CREATE TABLE origin (
    only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
    inode       INTEGER,
    birth_nanos INTEGER
) STRICT;

-- Tells this store from every other one, in its log and in exported audit records. A copy carries the id, so what is
-- restored from it is the same store.
CREATE TABLE store_identity (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    store_id BLOB    NOT NULL CHECK (length(store_id) = 16)
) STRICT;

INSERT INTO store_identity VALUES (1, randomblob(16));
