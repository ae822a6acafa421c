-- Rows of keys and writes are never deleted.
CREATE TABLE keyservice.keys (
    key_id          uuid        PRIMARY KEY,
    digest          bytea       NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    account_id      text        NOT NULL,
    name            text        NOT NULL,
    preview         text        NOT NULL,
    domain          text,               -- null: all domains
    request_id      text,
    create_time     timestamptz NOT NULL,
    expire_time     timestamptz,        -- null: never
    revoke_time     timestamptz,        -- null: not revoked
    create_revision bigint      NOT NULL UNIQUE,
    revision        bigint      NOT NULL UNIQUE CHECK (revision >= create_revision)
);

-- "C" collations: these texts are compared for equality alone, and an index so built survives an
-- upgrade of the system's collation library.
CREATE INDEX keys_by_account ON keyservice.keys (account_id COLLATE "C", create_revision);
CREATE INDEX keys_by_domain ON keyservice.keys (account_id COLLATE "C", domain COLLATE "C", create_revision)
    WHERE domain IS NOT NULL;
CREATE UNIQUE INDEX keys_by_request ON keyservice.keys (account_id COLLATE "C", request_id COLLATE "C")
    WHERE request_id IS NOT NULL;

-- One row for every committed write, in commit order.
CREATE TABLE keyservice.writes (
    revision   bigint      PRIMARY KEY,
    write_id   uuid        NOT NULL DEFAULT gen_random_uuid(),  -- names this history of the database
    write_time timestamptz NOT NULL,
    key_id     uuid        NOT NULL REFERENCES keyservice.keys (key_id)
);

-- One row: tells with which secret the tokens of this store were digested.
CREATE TABLE keyservice.digest_key (
    only_row    boolean PRIMARY KEY CHECK (only_row),
    fingerprint bytea   NOT NULL CHECK (octet_length(fingerprint) = 16)
);

-- Begins a transaction of this service's. The rest relies on what it makes sure of, whatever the
-- session or the pooler that shares it has set: each statement sees what was committed before it,
-- and a commit is on disk when it is acknowledged.
CREATE FUNCTION keyservice.begin_transaction() RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'keyservice needs READ COMMITTED, not %', current_setting('transaction_isolation');
    END IF;
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
END $$;

-- Begins a write: the next revision, with every earlier write visible from here on.
--
-- The lock is held to the end of the transaction, after its commit can be seen. So the next writer
-- sees this one's row, and revisions are in commit order; a sequence would hand out a lower number
-- that commits later, and a reader of "since R" would skip it.
--
-- The lock is taken in a statement of its own because, under READ COMMITTED, a statement's snapshot
-- is older than its wait for a lock; under a stricter level all statements would share that snapshot.
-- 1415071059 is "TXKS", for this service's locks; 2 is the writers'.
--
-- The tables' locks come first. So a write that must wait for another user of a table, say one that
-- builds an index, waits without the writers' lock, which every renewal of a lease needs too.
CREATE FUNCTION keyservice.begin_write() RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM keyservice.begin_transaction();
    LOCK TABLE keyservice.keys, keyservice.writes IN ROW EXCLUSIVE MODE;
    PERFORM pg_advisory_xact_lock(1415071059, 2);
    RETURN (SELECT coalesce(max(w.revision), 0) + 1 FROM keyservice.writes w);
END $$;

-- Ends a write: its row, and the wake-up of every replica once it is committed. Gives its id.
CREATE FUNCTION keyservice.end_write(p_revision bigint, p_write_time timestamptz, p_key_id uuid)
RETURNS uuid
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_write_id uuid;
BEGIN
    INSERT INTO keyservice.writes (revision, write_time, key_id)
    VALUES (p_revision, p_write_time, p_key_id)
    RETURNING writes.write_id INTO v_write_id;
    PERFORM pg_notify('keyservice_writes', p_revision::text);
    RETURN v_write_id;
END $$;

-- Stores a key; or, when the account's request id was used before, names the first key and its
-- write instead.
--
-- Then that key's row is locked, which is a write, so that also a commit that changes nothing waits
-- for synchronous standbys. Otherwise a call that is repeated would return after a restart of the
-- primary that has not got the first call's commit to any standby yet, and a failover would lose it.
CREATE FUNCTION keyservice.create_key(
    p_key_id uuid, p_digest bytea, p_account_id text, p_name text, p_preview text, p_domain text,
    p_request_id text, p_create_time timestamptz, p_expire_time timestamptz,
    OUT revision bigint, OUT write_id uuid, OUT first_key_id uuid)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_next bigint := keyservice.begin_write();
BEGIN
    SELECT k.key_id, k.create_revision, w.write_id INTO first_key_id, revision, write_id
    FROM keyservice.keys k JOIN keyservice.writes w ON w.revision = k.create_revision
    WHERE k.account_id COLLATE "C" = p_account_id AND k.request_id COLLATE "C" = p_request_id
    FOR UPDATE OF k;
    IF FOUND THEN
        RETURN;
    END IF;
    INSERT INTO keyservice.keys
        (key_id, digest, account_id, name, preview, domain, request_id, create_time, expire_time,
         create_revision, revision)
    VALUES
        (p_key_id, p_digest, p_account_id, p_name, p_preview, p_domain, p_request_id, p_create_time,
         p_expire_time, v_next, v_next);
    revision := v_next;
    write_id := keyservice.end_write(v_next, p_create_time, p_key_id);
END $$;

-- Revokes the key with this id or this digest, of one of these accounts unless they are null,
-- and gives its row and the write that revoked it; nulls when there is no such key. A revoked key is
-- given as it is, with its row locked for the reason that create_key has.
CREATE FUNCTION keyservice.revoke_key(
    p_key_id uuid, p_digest bytea, p_account_ids text[], p_revoke_time timestamptz,
    OUT revoked keyservice.keys, OUT write_id uuid)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_next bigint := keyservice.begin_write();
BEGIN
    SELECT * INTO revoked FROM keyservice.keys k
    WHERE (k.key_id = p_key_id OR k.digest = p_digest)
      AND (p_account_ids IS NULL OR k.account_id COLLATE "C" = ANY (p_account_ids))
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF revoked.revoke_time IS NOT NULL THEN
        SELECT w.write_id INTO write_id FROM keyservice.writes w WHERE w.revision = revoked.revision;
        RETURN;
    END IF;
    UPDATE keyservice.keys k SET revoke_time = p_revoke_time, revision = v_next
    WHERE k.key_id = revoked.key_id
    RETURNING * INTO revoked;
    write_id := keyservice.end_write(v_next, p_revoke_time, revoked.key_id);
END $$;
