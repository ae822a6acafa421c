-- Keys that are changed, suspended and rotated, and accounts that are suspended. Times are microseconds
-- since the Unix epoch.
ALTER TABLE keys ADD COLUMN suspend_reason TEXT;
ALTER TABLE keys ADD COLUMN suspend_time   INTEGER;  -- null: not suspended
ALTER TABLE keys ADD COLUMN predecessor    BLOB REFERENCES keys (key_id);
ALTER TABLE keys ADD COLUMN successor      BLOB REFERENCES keys (key_id);
ALTER TABLE keys ADD COLUMN version        INTEGER NOT NULL DEFAULT 1;  -- counts the changes of the row

-- A row is made when an account is first suspended, and never deleted.
CREATE TABLE accounts (
    account_id     TEXT    NOT NULL PRIMARY KEY,
    suspend_reason TEXT,
    suspend_time   INTEGER,  -- null: not suspended
    revision       INTEGER NOT NULL UNIQUE,
    CHECK ((suspend_reason IS NULL) = (suspend_time IS NULL))
) STRICT, WITHOUT ROWID;

-- A write is one of a key, of a domain or of an account. SQLite cannot change a CHECK, so the table is made
-- anew.
ALTER TABLE writes RENAME TO writes_before;
CREATE TABLE writes (
    revision   INTEGER PRIMARY KEY,
    write_time INTEGER NOT NULL,
    key_id     BLOB    REFERENCES keys (key_id),
    account_id TEXT,
    domain     TEXT,
    FOREIGN KEY (account_id, domain) REFERENCES domains (account_id, domain),
    CHECK ((key_id IS NULL) <> (account_id IS NULL) AND (domain IS NULL OR account_id IS NOT NULL))
) STRICT;
INSERT INTO writes SELECT revision, write_time, key_id, account_id, domain FROM writes_before ORDER BY revision;
DROP TABLE writes_before;
