-- Writes of many callers in one transaction. Each takes the next revision, and each has its own answer.
--
-- A group is one call, so that a replica which hangs in its midst cannot hold the writers' lock. If one of its
-- writes fails, all do, and the replica makes each of them alone.
--
-- Each function takes arrays, with one element for each write. Every statement takes all rows at once, so that
-- each of its triggers runs once for the group. Renewals of leases go on until the insert into writes, which
-- comes last. However many rows the tables have, each row that is needed is looked up by an index.
--
-- Replicas of the release before may run on while this is applied and afterwards: they call the functions that
-- they know.

-- Creates keys, as create_key with a limit does for one, and records it. No two of a group have one request id.
-- Labels and parents are the texts of arrays.
--
-- The outcome of each is CREATED; REQUEST_ID_USED, by the key first_key_ids; FULL, if the account has as many
-- keys as it may have, those before it in the group among them; or UNVERIFIED. The last two leave no record,
-- and have no write.
CREATE FUNCTION keyservice.create_keys(
    p_key_ids uuid[], p_digests bytea[], p_account_ids text[], p_names text[], p_previews text[],
    p_domains text[], p_parents text[], p_request_ids text[], p_create_times timestamptz[],
    p_expire_times timestamptz[], p_labels text[], p_max_keys bigint[], p_callers text[],
    p_method text, p_created text, p_used text,
    OUT outcomes text[], OUT revisions bigint[], OUT write_ids uuid[], OUT first_key_ids uuid[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    v_next bigint;
    v_limit bigint := (SELECT max(m.max_keys) FROM unnest(p_max_keys) m (max_keys));
    v_accounts text[] := '{}';
    v_in_force bigint[] := '{}';
    v_account integer;
    v_first_key_id uuid;
    v_revision bigint;
BEGIN
    -- Before the writers' lock, as in begin_write and for the same reason.
    LOCK TABLE keyservice.audit IN ROW EXCLUSIVE MODE;
    v_next := keyservice.begin_long_write();
    outcomes := array_fill(NULL::text, ARRAY[cardinality(p_key_ids)]);
    revisions := array_fill(NULL::bigint, ARRAY[cardinality(p_key_ids)]);
    first_key_ids := array_fill(NULL::uuid, ARRAY[cardinality(p_key_ids)]);
    FOR i IN 1 .. cardinality(p_key_ids) LOOP
        IF p_request_ids[i] IS NOT NULL THEN
            -- The write that created it, or if that is gone, the next one after it. The row is locked for the
            -- reason that create_key has.
            SELECT k.key_id, w.revision INTO v_first_key_id, v_revision
            FROM keyservice.keys k CROSS JOIN LATERAL (
                SELECT x.revision FROM keyservice.writes x WHERE x.revision >= k.create_revision
                ORDER BY x.revision LIMIT 1) w
            WHERE k.account_id COLLATE "C" = p_account_ids[i] AND k.request_id COLLATE "C" = p_request_ids[i]
            FOR UPDATE OF k;
            IF FOUND THEN
                outcomes[i] := 'REQUEST_ID_USED';
                revisions[i] := v_revision;
                first_key_ids[i] := v_first_key_id;
                CONTINUE;
            END IF;
        END IF;
        IF v_limit IS NOT NULL THEN
            v_account := array_position(v_accounts, p_account_ids[i]);
            IF v_account IS NULL THEN
                v_accounts := v_accounts || p_account_ids[i];
                v_account := cardinality(v_accounts);
                v_in_force[v_account] := keyservice.count_in_force(p_account_ids[i], p_create_times[i], v_limit);
            END IF;
            IF v_in_force[v_account] >= p_max_keys[i] THEN
                outcomes[i] := 'FULL';
                CONTINUE;
            END IF;
        END IF;
        IF p_domains[i] IS NOT NULL AND p_parents[i] IS NOT NULL
            AND NOT keyservice.is_verified(p_account_ids[i], p_domains[i], p_parents[i]::text[])
        THEN
            outcomes[i] := 'UNVERIFIED';
            CONTINUE;
        END IF;
        IF v_limit IS NOT NULL AND coalesce(p_expire_times[i] > p_create_times[i], true) THEN
            v_in_force[v_account] := v_in_force[v_account] + 1;
        END IF;
        outcomes[i] := 'CREATED';
        revisions[i] := v_next;
        v_next := v_next + 1;
    END LOOP;

    INSERT INTO keyservice.keys
        (key_id, digest, account_id, name, preview, domain, labels, request_id, create_time, expire_time,
         create_revision, revision)
    SELECT n.key_id, n.digest, n.account_id, n.name, n.preview, n.domain, n.labels::text[], n.request_id,
        n.create_time, n.expire_time, n.revision, n.revision
    FROM ROWS FROM (
        unnest(p_key_ids), unnest(p_digests), unnest(p_account_ids), unnest(p_names), unnest(p_previews),
        unnest(p_domains), unnest(p_labels), unnest(p_request_ids), unnest(p_create_times),
        unnest(p_expire_times), unnest(outcomes), unnest(revisions)) n (
        key_id, digest, account_id, name, preview, domain, labels, request_id, create_time, expire_time, outcome,
        revision)
    WHERE n.outcome = 'CREATED' ORDER BY n.revision;
    INSERT INTO keyservice.audit (time, caller, method, account_id, key_id, domain, outcome, calls, revision)
    SELECT n.create_time, n.caller, p_method, n.account_id, coalesce(n.first_key_id, n.key_id), n.domain,
        CASE WHEN n.outcome = 'CREATED' THEN p_created ELSE p_used END, 1, n.revision
    FROM ROWS FROM (
        unnest(p_key_ids), unnest(p_account_ids), unnest(p_domains), unnest(p_create_times), unnest(p_callers),
        unnest(outcomes), unnest(revisions), unnest(first_key_ids)) n (
        key_id, account_id, domain, create_time, caller, outcome, revision, first_key_id)
    WHERE n.revision IS NOT NULL;
    INSERT INTO keyservice.writes (revision, write_time, key_id)
    SELECT n.revision, n.create_time, n.key_id
    FROM ROWS FROM (
        unnest(p_key_ids), unnest(p_create_times), unnest(outcomes), unnest(revisions)) n (
        key_id, create_time, outcome, revision)
    WHERE n.outcome = 'CREATED' ORDER BY n.revision;
    write_ids := ARRAY(
        SELECT (SELECT w.write_id FROM keyservice.writes w WHERE w.revision = n.revision)
        FROM ROWS FROM (unnest(revisions)) WITH ORDINALITY n (revision, place) ORDER BY n.place);
END $$;

-- How many keys of an account are neither revoked nor expired. Stops counting at about the limit.
CREATE FUNCTION keyservice.count_in_force(p_account_id text, p_time timestamptz, p_limit bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    RETURN (SELECT count(*) FROM (
        (SELECT FROM keyservice.keys k
         WHERE k.account_id COLLATE "C" = p_account_id AND k.revoke_time IS NULL AND k.expire_time > p_time
         LIMIT p_limit)
        UNION ALL
        (SELECT FROM keyservice.keys k
         WHERE k.account_id COLLATE "C" = p_account_id AND k.revoke_time IS NULL AND k.expire_time IS NULL
         LIMIT p_limit)) n);
END $$;

-- Revokes keys, as revoke_key does for one, and records it. Gives a row for each key that there is, with its
-- place in the group. Where two of a group revoke one key, the first does, and both have its write.
-- The accounts of each are the text of an array.
CREATE FUNCTION keyservice.revoke_keys(
    p_key_ids uuid[], p_digests bytea[], p_account_ids text[], p_times timestamptz[], p_callers text[],
    p_method text, p_outcome text)
RETURNS TABLE (place bigint, revoked keyservice.keys, write_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    v_next bigint;
    v_key_id uuid;
    v_revoke_time timestamptz;
    v_found uuid[] := array_fill(NULL::uuid, ARRAY[cardinality(p_key_ids)]);
    v_changed uuid[] := '{}';
    v_times timestamptz[] := '{}';
    v_revisions bigint[] := '{}';
BEGIN
    LOCK TABLE keyservice.audit IN ROW EXCLUSIVE MODE;
    v_next := keyservice.begin_long_write();
    FOR i IN 1 .. cardinality(p_key_ids) LOOP
        -- A row that stays as it is is locked for the reason that create_key has.
        SELECT k.key_id, k.revoke_time INTO v_key_id, v_revoke_time FROM keyservice.keys k
        WHERE k.key_id = coalesce(
                p_key_ids[i], (SELECT x.key_id FROM keyservice.keys x WHERE x.digest = p_digests[i]))
          AND (p_account_ids[i] IS NULL OR k.account_id COLLATE "C" = ANY (p_account_ids[i]::text[]))
        FOR UPDATE;
        CONTINUE WHEN NOT FOUND;
        v_found[i] := v_key_id;
        IF v_revoke_time IS NULL AND v_key_id <> ALL (v_changed) THEN
            v_changed := v_changed || v_key_id;
            v_times := v_times || p_times[i];
            v_revisions := v_revisions || v_next;
            v_next := v_next + 1;
        END IF;
    END LOOP;

    UPDATE keyservice.keys k SET revoke_time = n.time, version = k.version + 1, revision = n.revision
    FROM ROWS FROM (unnest(v_changed), unnest(v_times), unnest(v_revisions)) n (key_id, time, revision)
    WHERE k.key_id = n.key_id;
    INSERT INTO keyservice.audit (time, caller, method, account_id, key_id, domain, outcome, calls, revision)
    SELECT n.time, n.caller, p_method, k.account_id, k.key_id, k.domain, p_outcome, 1, k.revision
    FROM ROWS FROM (unnest(v_found), unnest(p_times), unnest(p_callers)) n (key_id, time, caller)
    JOIN keyservice.keys k ON k.key_id = n.key_id;
    INSERT INTO keyservice.writes (revision, write_time, key_id)
    SELECT n.revision, n.time, n.key_id
    FROM ROWS FROM (unnest(v_changed), unnest(v_times), unnest(v_revisions)) n (key_id, time, revision)
    ORDER BY n.revision;
    RETURN QUERY
        SELECT n.place, k, (SELECT w.write_id FROM keyservice.writes w WHERE w.revision = k.revision)
        FROM ROWS FROM (unnest(v_found)) WITH ORDINALITY n (key_id, place)
        JOIN keyservice.keys k ON k.key_id = n.key_id;
END $$;
