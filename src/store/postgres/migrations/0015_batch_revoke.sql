-- Keys that are revoked many at a time, with a reason.

-- As in 0009, and for the same reason.
LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;

ALTER TABLE keyservice.keys
    ADD COLUMN revoke_reason text,
    -- The rows of before have none, so they need not be read.
    ADD CONSTRAINT revoke_reason_length CHECK (char_length(revoke_reason) <= 400) NOT VALID;

DO $$
DECLARE
    v_writer text;
BEGIN
    FOR v_writer IN
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = 'keyservice.writes'::regclass AND a.privilege_type = 'INSERT'
          AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT UPDATE (revoke_reason) ON keyservice.keys TO %s', v_writer);
    END LOOP;
END $$;

-- Revokes those of these keys that are not revoked, in one write each, and records each, so that its history
-- has it. Gives how many they are, and the last write of the store, which is theirs unless there are none:
-- whoever waits for it waits for all earlier ones too. Nulls if there has never been a write.
--
-- Every statement takes all keys at once. The writes come last, because renewals of leases wait from then on.
-- However many keys there are in all, only these are read: by the index of their ids, and of their revisions.
-- A replica of the release before knows what a revoked key is.
CREATE FUNCTION keyservice.batch_revoke(
    p_key_ids uuid[], p_reason text, p_time timestamptz, p_caller text, p_method text, p_outcome text,
    OUT revoked bigint, OUT revision bigint, OUT write_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_next bigint := keyservice.begin_long_write();
BEGIN
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
