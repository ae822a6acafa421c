-- When each key was last used, in microseconds since the Unix epoch. A row is written at most once an hour
-- while its key is in use.
CREATE TABLE key_uses (
    key_id         BLOB    PRIMARY KEY CHECK (length(key_id) = 16),
    last_used_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
