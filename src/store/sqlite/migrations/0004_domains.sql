-- Verified domains. Rows are never deleted: a domain that was removed has a remove_time. Times are
-- microseconds since the Unix epoch.
CREATE TABLE domains (
    account_id         TEXT    NOT NULL,
    domain             TEXT    NOT NULL,
    include_subdomains INTEGER NOT NULL CHECK (include_subdomains IN (0, 1)),
    create_time        INTEGER NOT NULL,  -- when the account first had it
    verify_time        INTEGER NOT NULL,  -- when it was added, and not removed since
    remove_time        INTEGER,           -- null: verified
    revision           INTEGER NOT NULL UNIQUE,
    PRIMARY KEY (account_id, domain)
) STRICT, WITHOUT ROWID;

-- Tells whether another account has a domain.
CREATE INDEX domains_by_name ON domains (domain) WHERE remove_time IS NULL;

-- A write is one of a key or of a domain. SQLite cannot drop a NOT NULL, so the table is made anew.
ALTER TABLE writes RENAME TO writes_of_keys;
CREATE TABLE writes (
    revision   INTEGER PRIMARY KEY,
    write_time INTEGER NOT NULL,
    key_id     BLOB    REFERENCES keys (key_id),
    account_id TEXT,
    domain     TEXT,
    FOREIGN KEY (account_id, domain) REFERENCES domains (account_id, domain),
    CHECK ((key_id IS NULL) <> (domain IS NULL) AND (account_id IS NULL) = (domain IS NULL))
) STRICT;
INSERT INTO writes (revision, write_time, key_id)
    SELECT revision, write_time, key_id FROM writes_of_keys ORDER BY revision;
DROP TABLE writes_of_keys;

-- The domain that a call concerned. Null: none, or not known.
ALTER TABLE audit ADD COLUMN domain TEXT;
