-- Tells the histories of this store apart: after a restore, revisions that were lost are given to other writes. So a
-- new history begins there. Of an id, the first half alone counts.
CREATE TABLE histories (
    number         INTEGER PRIMARY KEY CHECK (number > 0),
    history_id     BLOB    NOT NULL CHECK (length(history_id) = 16),
    after_revision INTEGER NOT NULL CHECK (after_revision >= 0),
    replayed_until INTEGER
) STRICT;

-- The first has the id of the store. Nothing is known of the restores of before. What is written from now on is not of
-- that one: a backup of the release before brings it back up to here, and this migration then runs once more.
INSERT INTO histories (number, history_id, after_revision) SELECT 1, store_id, 0 FROM store_identity;
INSERT INTO histories (number, history_id, after_revision)
    SELECT 2, randomblob(16), max(revision) FROM writes HAVING max(revision) > 0;
