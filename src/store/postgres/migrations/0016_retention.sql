-- Lets keys go that were denied for a long time, and the writes of which no replica has to learn any more.
--
-- Replicas of the release before may run on while this is applied. A row that is gone tells nobody what it
-- was. So nothing goes while a replica is on record that does not know where the history starts, and none
-- gets a lease after that.

-- The history starts here: of what was written before, only the states that still stand are kept. A replica
-- that has not got so far cannot follow, and loads everything anew.
CREATE TABLE keyservice.history_start (
    only_row boolean PRIMARY KEY CHECK (only_row),
    revision bigint  NOT NULL
);
INSERT INTO keyservice.history_start VALUES (true, 0);

-- What is gone may still be named by a write, a predecessor or a successor.
--
-- The history starts at no write that is too young. So one with a time far ahead would stop it for as long. The
-- clock of a replica may be ahead for less than a day.
ALTER TABLE keyservice.writes
    DROP CONSTRAINT writes_key_id_fkey,
    ADD CONSTRAINT time_range CHECK (
        write_time >= '1970-01-01 00:00:00+00' AND write_time < now() + interval '1 day') NOT VALID;
ALTER TABLE keyservice.keys
    DROP CONSTRAINT keys_predecessor_fkey,
    DROP CONSTRAINT keys_successor_fkey,
    ADD CONSTRAINT time_range CHECK (
        least(create_time, expire_time, revoke_time, suspend_time) >= '1970-01-01 00:00:00+00'
        AND greatest(create_time, expire_time, revoke_time, suspend_time) < '10000-01-01 00:00:00+00') NOT VALID;

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
        EXECUTE format('GRANT DELETE ON keyservice.keys, keyservice.key_uses, keyservice.writes TO %s', v_writer);
        EXECUTE format('GRANT SELECT, UPDATE (revision) ON keyservice.history_start TO %s', v_writer);
    END LOOP;
END $$;

-- The service's role may delete rows, and whoever has its password may too. What a replica has to learn, and
-- a key that may be granted, stays.
CREATE FUNCTION keyservice.refuse_early_delete() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_start bigint := (SELECT h.revision FROM keyservice.history_start h);
BEGIN
    IF TG_TABLE_NAME = 'writes' THEN
        IF OLD.revision >= v_start THEN
            RAISE 'a replica may have to learn of write %', OLD.revision
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
    ELSIF OLD.revision > v_start
        OR least(OLD.revoke_time, OLD.expire_time) IS NULL
        OR least(OLD.revoke_time, OLD.expire_time) >= clock_timestamp() - interval '12 hours'
    THEN
        RAISE 'key % was not denied for long', OLD.key_id
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER no_early_delete BEFORE DELETE ON keyservice.keys
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_early_delete();
CREATE TRIGGER no_early_delete BEFORE DELETE ON keyservice.writes
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_early_delete();

-- Whatever it is set to, no replica that holds a lease is left behind.
CREATE FUNCTION keyservice.refuse_wrong_start() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.revision < OLD.revision
        OR NOT EXISTS (SELECT FROM keyservice.writes w WHERE w.revision = NEW.revision)
        OR EXISTS (SELECT FROM keyservice.replicas r WHERE r.applied_revision < NEW.revision)
    THEN
        RAISE 'the history cannot start at revision %', NEW.revision
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER right_start BEFORE UPDATE ON keyservice.history_start
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_wrong_start();

-- Lets the history start at the last of the next p_limit writes that came before a time, and that every
-- replica has. Gives whether there may be more.
--
-- It holds the writers' lock, but only after it has looked.
CREATE FUNCTION keyservice.raise_history_start(p_before timestamptz, p_limit bigint, OUT more boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_start bigint := (SELECT h.revision FROM keyservice.history_start h);
    v_next bigint;
BEGIN
    PERFORM keyservice.refuse_standby();
    SELECT coalesce(min(w.revision) FILTER (WHERE w.write_time >= p_before) - 1, max(w.revision)),
           coalesce(every(w.write_time < p_before) AND count(*) = p_limit, false)
    INTO v_next, more
    FROM (SELECT x.revision, x.write_time FROM keyservice.writes x WHERE x.revision > v_start
          ORDER BY x.revision LIMIT p_limit) w;
    IF v_next IS NULL OR v_next <= v_start THEN
        more := false;
        RETURN;
    END IF;
    PERFORM keyservice.begin_change();
    v_next := least(v_next, (SELECT min(r.applied_revision) FROM keyservice.replicas r));
    UPDATE keyservice.history_start h SET revision = v_next WHERE h.revision < v_next;
    more := more AND FOUND;
END $$;

-- Forgets those of the next p_limit keys that have been revoked or expired since before a time, with their
-- uses. Their audit records stay. Gives the last key that it looked at, or null if there are no more.
--
-- It takes no revision, and no lock that a write of another key waits for. A replica that has got to where
-- the history starts knows that such a key is denied, and so it need not learn that the key is gone.
CREATE FUNCTION keyservice.forget_keys(
    p_before timestamptz, p_after uuid, p_limit bigint, OUT last_key_id uuid, OUT forgotten bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_start bigint := (SELECT h.revision FROM keyservice.history_start h);
    v_looked_at uuid[];
    v_gone uuid[];
    v_revisions bigint[];
BEGIN
    PERFORM keyservice.begin_transaction();
    PERFORM keyservice.refuse_standby();
    v_looked_at := ARRAY(
        SELECT k.key_id FROM keyservice.keys k WHERE k.key_id > p_after ORDER BY k.key_id LIMIT p_limit);
    IF cardinality(v_looked_at) = p_limit THEN
        last_key_id := v_looked_at[p_limit];
    END IF;
    WITH gone AS (
        DELETE FROM keyservice.keys k
        WHERE k.key_id = ANY (v_looked_at) AND k.revision <= v_start
          AND least(k.revoke_time, k.expire_time) < p_before
        RETURNING k.key_id, k.revision, k.create_revision)
    SELECT array_agg(g.key_id), array_agg(g.revision) || array_agg(g.create_revision)
    INTO v_gone, v_revisions FROM gone g;
    DELETE FROM keyservice.key_uses u WHERE u.key_id = ANY (v_gone);
    DELETE FROM keyservice.writes w WHERE w.revision = ANY (v_revisions) AND w.revision < v_start;
    forgotten := coalesce(cardinality(v_gone), 0);
END $$;

-- Forgets those of the next p_limit writes that came before the history starts, and whose state stands no
-- more. The write that created a key stays with it: a repeated Create names it. Gives the last write that it
-- looked at, or null if there are no more.
CREATE FUNCTION keyservice.forget_writes(
    p_after bigint, p_limit bigint, OUT last_revision bigint, OUT forgotten bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_start bigint := (SELECT h.revision FROM keyservice.history_start h);
    v_looked_at bigint[];
BEGIN
    PERFORM keyservice.begin_transaction();
    PERFORM keyservice.refuse_standby();
    v_looked_at := ARRAY(
        SELECT w.revision FROM keyservice.writes w WHERE w.revision > p_after AND w.revision < v_start
        ORDER BY w.revision LIMIT p_limit);
    IF cardinality(v_looked_at) = p_limit THEN
        last_revision := v_looked_at[p_limit];
    END IF;
    DELETE FROM keyservice.writes w
    WHERE w.revision = ANY (v_looked_at)
      AND NOT EXISTS (SELECT FROM keyservice.keys k WHERE k.revision = w.revision)
      AND NOT EXISTS (SELECT FROM keyservice.keys k WHERE k.create_revision = w.revision)
      AND NOT EXISTS (SELECT FROM keyservice.domains d WHERE d.revision = w.revision)
      AND NOT EXISTS (SELECT FROM keyservice.accounts a WHERE a.revision = w.revision);
    GET DIAGNOSTICS forgotten = ROW_COUNT;
END $$;

-- What came since a revision, as before, unless the history starts later. That is asked after the reading:
-- what went before the reading went after the history had started later.
ALTER FUNCTION keyservice.read_feed(bigint, bigint, uuid, bigint) RENAME TO read_kept_feed;
CREATE FUNCTION keyservice.read_feed(
    p_since_revision bigint, p_head_revision bigint, p_head_write_id uuid, p_limit bigint,
    OUT history_holds boolean, OUT head_revision bigint, OUT head_write_id uuid,
    OUT feed keyservice.feed[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT f.history_holds, f.head_revision, f.head_write_id, f.feed
    INTO history_holds, head_revision, head_write_id, feed
    FROM keyservice.read_kept_feed(p_since_revision, p_head_revision, p_head_write_id, p_limit) f;
    IF p_since_revision < (SELECT h.revision FROM keyservice.history_start h) THEN
        history_holds := false;
        feed := NULL;
    END IF;
END $$;
