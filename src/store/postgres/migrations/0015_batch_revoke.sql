-- Keys that are revoked many at a time, with a reason.

-- As in 0009, and for the same reason.
LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;

ALTER TABLE keyservice.keys
    ADD COLUMN revoke_reason text,
    -- The rows of before have none, so they need not be read.
    ADD CONSTRAINT revoke_reason_length CHECK (char_length(revoke_reason) <= 400) NOT VALID;

-- Many keys change in one statement, before their writes are stored. So a key may have a later revision than
-- the next. One that no write of the same transaction stands for is refused at its end, by the foreign key
-- revision_is_a_write; and writes take no revision but the next, each for the row that has it. All else is as
-- in refuse_other_revision.
CREATE FUNCTION keyservice.refuse_earlier_revision() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint;
BEGIN
    PERFORM keyservice.begin_transaction();
    LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;
    v_next := (SELECT coalesce(max(w.revision), 0) + 1 FROM keyservice.writes w);
    IF NEW.revision < v_next THEN
        RAISE 'the next revision of keyservice.% is %, not %', TG_TABLE_NAME, v_next, NEW.revision
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF EXISTS (SELECT FROM keyservice.keys k WHERE k.revision = NEW.revision)
        OR EXISTS (SELECT FROM keyservice.domains d WHERE d.revision = NEW.revision)
        OR EXISTS (SELECT FROM keyservice.accounts a WHERE a.revision = NEW.revision)
    THEN
        RAISE 'revision % is taken by another row', NEW.revision
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- A key must be found by List, and must be one that can be changed and revoked.
    IF (CASE TG_OP
        WHEN 'INSERT' THEN NEW.version <> 1 OR NEW.create_revision <> NEW.revision
        ELSE NEW.version - OLD.version NOT IN (0, 1) END)
    THEN
        RAISE 'key % has a wrong version or a wrong first revision', NEW.key_id
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NEW;
END $$;

DROP TRIGGER next_revision ON keyservice.keys;
CREATE TRIGGER next_revision BEFORE INSERT OR UPDATE ON keyservice.keys
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_earlier_revision();

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

-- Revokes those of these keys that are not revoked, in one write each, and records the call: once for each
-- key, so that its history has it, and once for the account, if there is one. Gives how many they are, and the
-- last write of the store, which is theirs unless there are none: whoever waits for it waits for all earlier
-- ones too. Nulls if there has never been a write.
--
-- Every statement here takes all keys at once, because renewals of leases wait meanwhile. A replica of the
-- release before knows what a revoked key is.
CREATE FUNCTION keyservice.batch_revoke(
    p_key_ids uuid[], p_reason text, p_time timestamptz, p_caller text, p_method text, p_account_id text,
    p_domain text, p_outcome text,
    OUT revoked bigint, OUT revision bigint, OUT write_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := keyservice.begin_write();
BEGIN
    UPDATE keyservice.keys k
    SET revoke_time = p_time, revoke_reason = p_reason, version = k.version + 1, revision = v_next - 1 + n.number
    FROM (SELECT x.key_id, row_number() OVER (ORDER BY x.create_revision) AS number
          FROM keyservice.keys x WHERE x.key_id = ANY (p_key_ids) AND x.revoke_time IS NULL) n
    WHERE k.key_id = n.key_id;
    GET DIAGNOSTICS revoked = ROW_COUNT;
    INSERT INTO keyservice.writes (revision, write_time, key_id)
    SELECT k.revision, p_time, k.key_id FROM keyservice.keys k
    WHERE k.revision >= v_next ORDER BY k.revision;
    INSERT INTO keyservice.audit (time, caller, method, account_id, key_id, domain, outcome, calls, revision)
    SELECT p_time, p_caller, p_method, k.account_id, k.key_id, k.domain, p_outcome, 1, k.revision
    FROM keyservice.keys k WHERE k.revision >= v_next ORDER BY k.revision;
    SELECT w.revision, w.write_id INTO revision, write_id FROM keyservice.writes w
    WHERE w.revision = (SELECT max(x.revision) FROM keyservice.writes x);
    INSERT INTO keyservice.audit (time, caller, method, account_id, domain, outcome, calls, revision)
    VALUES (p_time, p_caller, p_method, p_account_id, p_domain, p_outcome, 1, batch_revoke.revision);
END $$;
