-- One batch at a time among all replicas.

-- As in 0015, but a batch waits here for the batches of other replicas, and not before the writers' lock: there a
-- Revoke of one key would wait behind all of them. Nothing else takes this lock, but vacuum and migrations.
CREATE OR REPLACE FUNCTION keyservice.batch_revoke(
    p_key_ids uuid[], p_reason text, p_time timestamptz, p_caller text, p_method text, p_outcome text,
    OUT revoked bigint, OUT revision bigint, OUT write_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_next bigint;
BEGIN
    LOCK TABLE keyservice.replicas IN SHARE UPDATE EXCLUSIVE MODE;
    v_next := keyservice.begin_long_write();
    UPDATE keyservice.keys k
    SET revoke_time = p_time, revoke_reason = p_reason, version = k.version + 1, revision = v_next - 1 + n.number
    FROM (SELECT x.key_id, row_number() OVER (ORDER BY x.create_revision) AS number
          FROM keyservice.keys x WHERE x.key_id = ANY (p_key_ids) AND x.revoke_time IS NULL) n
    WHERE k.key_id = n.key_id;
    GET DIAGNOSTICS revoked = ROW_COUNT;
    INSERT INTO keyservice.audit (time, caller, method, account_id, key_id, domain, outcome, calls, revision)
    SELECT p_time, p_caller, p_method, k.account_id, k.key_id, k.domain, p_outcome, 1, k.revision
    FROM keyservice.keys k WHERE k.revision >= v_next ORDER BY k.revision;
    INSERT INTO keyservice.writes (revision, write_time, key_id)
    SELECT k.revision, p_time, k.key_id FROM keyservice.keys k
    WHERE k.revision >= v_next ORDER BY k.revision;
    SELECT w.revision, w.write_id INTO revision, write_id FROM keyservice.writes w
    WHERE w.revision = (SELECT max(x.revision) FROM keyservice.writes x);
END $$;
