-- The record of a Revoke that found the key revoked has no revision: it wrote nothing.
--
-- Replicas of the release before may run on while this is applied and afterwards: they call the same function.

-- As in 0018 otherwise. An earlier record has the revision of the key's last write in that place.
CREATE OR REPLACE FUNCTION keyservice.revoke_keys(
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
    v_written bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(p_key_ids)]);
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
            v_written[i] := v_next;
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
    SELECT n.time, n.caller, p_method, k.account_id, k.key_id, k.domain, p_outcome, 1, n.written
    FROM ROWS FROM (unnest(v_found), unnest(p_times), unnest(p_callers), unnest(v_written)) n (
        key_id, time, caller, written)
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
