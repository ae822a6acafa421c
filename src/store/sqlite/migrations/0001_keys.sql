-- Times are microseconds since the Unix epoch. Rows are never deleted.
CREATE TABLE keys (
    key_id          BLOB    PRIMARY KEY CHECK (length(key_id) = 16),
    digest          BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    account_id      TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    preview         TEXT    NOT NULL,
    domain          TEXT,               -- null: all domains
    request_id      TEXT,
    create_time     INTEGER NOT NULL,
    expire_time     INTEGER,            -- null: never
    revoke_time     INTEGER,            -- null: not revoked
    create_revision INTEGER NOT NULL UNIQUE,
    revision        INTEGER NOT NULL UNIQUE CHECK (revision >= create_revision)
) STRICT, WITHOUT ROWID;

CREATE INDEX keys_by_account ON keys (account_id, create_revision);
CREATE INDEX keys_by_domain ON keys (account_id, domain, create_revision) WHERE domain IS NOT NULL;
CREATE UNIQUE INDEX keys_by_request ON keys (account_id, request_id) WHERE request_id IS NOT NULL;

-- One row for every committed write, in commit order.
CREATE TABLE writes (
    revision   INTEGER PRIMARY KEY,
    write_time INTEGER NOT NULL,
    key_id     BLOB    NOT NULL REFERENCES keys (key_id)
) STRICT;

-- One row: tells with which secret the tokens of this store were digested.
CREATE TABLE digest_key (
    only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 16)
) STRICT;
