-- Who did what: a row for every admin call. Read by time alone; an index for each other way to ask
-- would make every write dearer. Times are microseconds since the Unix epoch.
CREATE TABLE audit (
    number     INTEGER PRIMARY KEY,
    time       INTEGER NOT NULL,
    caller     TEXT    NOT NULL,
    method     TEXT    NOT NULL,
    account_id TEXT,                -- null: not known
    key_id     BLOB    CHECK (length(key_id) = 16),  -- null: none, or not known
    outcome    TEXT    NOT NULL,
    calls      INTEGER NOT NULL CHECK (calls > 0)
) STRICT;

CREATE INDEX audit_by_time ON audit (time);

-- Says that the records before a time may be deleted, and stays when they are. A time to come, once
-- written here by mistake, would let every later record be deleted.
CREATE TABLE audit_prunings (
    before     INTEGER PRIMARY KEY,
    prune_time INTEGER NOT NULL DEFAULT (unixepoch() * 1000000),
    CONSTRAINT before_is_past CHECK (before <= prune_time)
) STRICT;

CREATE TRIGGER audit_is_not_updated BEFORE UPDATE ON audit
BEGIN
    SELECT raise(ABORT, 'audit is append-only');
END;

CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
WHEN OLD.time >= (SELECT coalesce(max(before), 0) FROM audit_prunings)
BEGIN
    SELECT raise(ABORT, 'audit is append-only: to delete old records, insert the time before which they may go into audit_prunings');
END;

-- An INSERT OR REPLACE deletes without the trigger above.
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number)
BEGIN
    SELECT raise(ABORT, 'audit is append-only');
END;

CREATE TRIGGER audit_prunings_are_not_updated BEFORE UPDATE ON audit_prunings
BEGIN
    SELECT raise(ABORT, 'audit_prunings is append-only');
END;

CREATE TRIGGER audit_prunings_are_not_deleted BEFORE DELETE ON audit_prunings
BEGIN
    SELECT raise(ABORT, 'audit_prunings is append-only');
END;

CREATE TRIGGER audit_prunings_are_not_replaced BEFORE INSERT ON audit_prunings
WHEN EXISTS (SELECT 1 FROM audit_prunings WHERE before = NEW.before)
BEGIN
    SELECT raise(ABORT, 'audit_prunings is append-only');
END;
