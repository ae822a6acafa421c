-- The number of keys that an account may have in force: neither revoked nor expired.

-- As in 0009, and for the same reason.
LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;

-- Counts them without the others. Nulls, which never expire, come last.
CREATE INDEX keys_in_force ON keyservice.keys (account_id COLLATE "C", expire_time) WHERE revoke_time IS NULL;

-- Whether an account may have one more key. It may if its request id was used before, because then it gets
-- none. Begins the write, so that no other key comes between. Stops counting at the limit.
CREATE FUNCTION keyservice.has_room(
    p_account_id text, p_request_id text, p_time timestamptz, p_max_keys bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    PERFORM keyservice.begin_write();
    IF p_max_keys IS NULL OR EXISTS (
        SELECT FROM keyservice.keys k
        WHERE k.account_id COLLATE "C" = p_account_id AND k.request_id COLLATE "C" = p_request_id)
    THEN
        RETURN true;
    END IF;
    RETURN (SELECT count(*) FROM (
        (SELECT FROM keyservice.keys k
         WHERE k.account_id COLLATE "C" = p_account_id AND k.revoke_time IS NULL AND k.expire_time > p_time
         LIMIT p_max_keys)
        UNION ALL
        (SELECT FROM keyservice.keys k
         WHERE k.account_id COLLATE "C" = p_account_id AND k.revoke_time IS NULL AND k.expire_time IS NULL
         LIMIT p_max_keys)) n) < p_max_keys;
END $$;

-- As without the limit. is_full says that nothing was stored because of it.
CREATE FUNCTION keyservice.create_key(
    p_key_id uuid, p_digest bytea, p_account_id text, p_name text, p_preview text, p_domain text,
    p_parents text[], p_request_id text, p_create_time timestamptz, p_expire_time timestamptz,
    p_labels text[], p_max_keys bigint,
    OUT is_full boolean, OUT revision bigint, OUT write_id uuid, OUT first_key_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    is_full := NOT keyservice.has_room(p_account_id, p_request_id, p_create_time, p_max_keys);
    IF NOT is_full THEN
        SELECT c.revision, c.write_id, c.first_key_id INTO revision, write_id, first_key_id
        FROM keyservice.create_key(
            p_key_id, p_digest, p_account_id, p_name, p_preview, p_domain, p_parents, p_request_id,
            p_create_time, p_expire_time, p_labels) c;
    END IF;
END $$;

-- As without the limit. The outcome FULL says that nothing was stored because of it. The limit holds only if
-- the account then has one key in force more, as things are now: the call may have come when the key was still
-- in force, and another key may have its place since.
CREATE FUNCTION keyservice.replace_key(
    p_key_id uuid, p_version integer, p_name text, p_domain text, p_parents text[], p_labels text[],
    p_expire_time timestamptz, p_revoke_time timestamptz, p_suspend_reason text,
    p_suspend_time timestamptz, p_time timestamptz, p_successor uuid, p_digest bytea, p_preview text,
    p_request_id text, p_successor_expire_time timestamptz, p_max_keys bigint,
    OUT outcome text, OUT revision bigint, OUT write_id uuid, OUT first_key_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_key keyservice.keys;
    v_time timestamptz;
    v_gained integer;
BEGIN
    PERFORM keyservice.begin_change();
    SELECT * INTO v_key FROM keyservice.keys k WHERE k.key_id = p_key_id AND k.version = p_version - 1;
    v_time := greatest(p_time, clock_timestamp());
    v_gained := (p_digest IS NOT NULL)::integer
        + (p_revoke_time IS NULL AND coalesce(p_expire_time > v_time, true))::integer
        - (v_key.revoke_time IS NULL AND coalesce(v_key.expire_time > v_time, true))::integer;
    IF v_key.key_id IS NOT NULL AND v_gained > 0
        AND NOT keyservice.has_room(v_key.account_id, p_request_id, v_time, p_max_keys)
    THEN
        outcome := 'FULL';
        RETURN;
    END IF;
    SELECT r.outcome, r.revision, r.write_id, r.first_key_id INTO outcome, revision, write_id, first_key_id
    FROM keyservice.replace_key(
        p_key_id, p_version, p_name, p_domain, p_parents, p_labels, p_expire_time, p_revoke_time,
        p_suspend_reason, p_suspend_time, p_time, p_successor, p_digest, p_preview, p_request_id,
        p_successor_expire_time) r;
END $$;
