-- Lets no row change behind the replicas' backs. The service's role may change rows, and whoever has its
-- password may too. A row that changed without a revision would be taken for one that every replica knows.
--
-- Replicas of the release before may run on while this is applied and afterwards: their functions do all
-- this already.

-- The lock of writers, in two steps. The first keeps out other writers, so that the next revision stays the
-- next. The second keeps out renewals too, until the commit can be seen. What a write does between the two,
-- however long it takes, holds up no lease; and every renewal still stands wholly before or wholly after it,
-- because nobody sees anything of a write before its commit.
--
-- Writers that wait for their turn wait at the first step: a renewal would queue behind one at the second.
--
-- Each step is a statement of its own, so that the next ones see every write before it; in a stricter
-- isolation level they would not.
CREATE FUNCTION keyservice.keep_out_writers() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM keyservice.begin_transaction();
    LOCK TABLE keyservice.writers_lock IN SHARE ROW EXCLUSIVE MODE;
END $$;

-- As in begin_write, the wait for the renewals under way has no limit but that of the statement.
CREATE FUNCTION keyservice.keep_out_renewals() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = 0 AS $$
BEGIN
    LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;
END $$;

-- Asked before a row is there, so that a refused transaction leaves no more dead rows than the limit, which
-- every renewal would read past. A replica that is on record renews at the limit too.
CREATE OR REPLACE FUNCTION keyservice.refuse_many_replicas() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT count(*) FROM keyservice.replicas r WHERE r.replica_id <> NEW.replica_id) >= 1000 THEN
        RAISE 'keyservice.replicas holds at most 1000 replicas'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NEW;
END $$;

DROP TRIGGER few_replicas ON keyservice.replicas;
CREATE TRIGGER few_replicas BEFORE INSERT ON keyservice.replicas
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_many_replicas();

-- Each change of a domain or of an account takes the next revision, and is the only one to take it. Whoever
-- writes by this schema's functions has the lock already.
CREATE OR REPLACE FUNCTION keyservice.refuse_other_revision() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint;
BEGIN
    PERFORM keyservice.keep_out_writers();
    v_next := (SELECT coalesce(max(w.revision), 0) + 1 FROM keyservice.writes w);
    IF NEW.revision <> v_next THEN
        RAISE 'the next revision of keyservice.% is %, not %', TG_TABLE_NAME, v_next, NEW.revision
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF EXISTS (SELECT FROM keyservice.keys k WHERE k.revision = v_next)
        OR EXISTS (SELECT FROM keyservice.domains d WHERE d.revision = v_next)
        OR EXISTS (SELECT FROM keyservice.accounts a WHERE a.revision = v_next)
    THEN
        RAISE 'revision % is taken by another row', v_next
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NEW;
END $$;

DROP TRIGGER next_revision ON keyservice.domains;
CREATE TRIGGER next_revision BEFORE INSERT OR UPDATE ON keyservice.domains
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_other_revision();
DROP TRIGGER next_revision ON keyservice.accounts;
CREATE TRIGGER next_revision BEFORE INSERT OR UPDATE ON keyservice.accounts
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_other_revision();

-- Many keys may change in one statement, before their writes are stored. So keys and writes are looked at once
-- for each statement, and not once for each row, which would take longer than the change itself.
CREATE FUNCTION keyservice.lock_writers() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM keyservice.keep_out_writers();
    RETURN NULL;
END $$;

-- What a key shows by itself: each change takes another revision, and counts as one change or none. A new key
-- must be found by List, and must be one that can be changed and revoked.
CREATE FUNCTION keyservice.refuse_wrong_key() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE 'key % has a wrong version or a wrong revision', NEW.key_id
        USING ERRCODE = 'object_not_in_prerequisite_state';
END $$;

-- Each key that changes takes a revision which no write has yet, and which no other row takes. One that no
-- write of the same transaction stands for is refused at its end, by the foreign key revision_is_a_write.
CREATE FUNCTION keyservice.refuse_old_revisions() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := (SELECT coalesce(max(w.revision), 0) + 1 FROM keyservice.writes w);
    v_least bigint := (SELECT min(c.revision) FROM changed c);
BEGIN
    IF v_least < v_next THEN
        RAISE 'the next revision of keyservice.% is %, not %', TG_TABLE_NAME, v_next, v_least
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- Among the keys, each revision is unique. The highest of a table is found by its index, whatever
    -- PostgreSQL expects of the rows.
    IF (SELECT max(d.revision) FROM keyservice.domains d) >= v_next
        OR (SELECT max(a.revision) FROM keyservice.accounts a) >= v_next
    THEN
        RAISE 'revision % is taken by another row', v_next
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER next_revision ON keyservice.keys;
CREATE TRIGGER lock_writers BEFORE INSERT OR UPDATE ON keyservice.keys
    FOR EACH STATEMENT EXECUTE FUNCTION keyservice.lock_writers();
CREATE TRIGGER right_new_key BEFORE INSERT ON keyservice.keys
    FOR EACH ROW WHEN (NEW.version <> 1 OR NEW.create_revision <> NEW.revision)
    EXECUTE FUNCTION keyservice.refuse_wrong_key();
CREATE TRIGGER right_changed_key BEFORE UPDATE ON keyservice.keys
    FOR EACH ROW WHEN (NEW.revision = OLD.revision OR NEW.version - OLD.version NOT IN (0, 1))
    EXECUTE FUNCTION keyservice.refuse_wrong_key();
CREATE TRIGGER next_revision_of_new_key AFTER INSERT ON keyservice.keys
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION keyservice.refuse_old_revisions();
CREATE TRIGGER next_revision AFTER UPDATE ON keyservice.keys
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION keyservice.refuse_old_revisions();

-- Writes take the next revisions, each for the row that has it. Replicas of the release before would read one
-- of nothing again at each renewal. No write is stored without the second step of the lock.
CREATE FUNCTION keyservice.refuse_empty_writes() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_least bigint;
    v_most bigint;
    v_count bigint;
    v_next bigint;
BEGIN
    SELECT min(c.revision), max(c.revision), count(*) INTO v_least, v_most, v_count FROM changed c;
    IF v_count = 0 THEN
        RETURN NULL;
    END IF;
    v_next := (SELECT coalesce(max(w.revision), 0) + 1 FROM keyservice.writes w WHERE w.revision < v_least);
    IF v_least <> v_next OR v_most - v_least <> v_count - 1
        OR v_most <> (SELECT max(w.revision) FROM keyservice.writes w)
    THEN
        RAISE 'the next revision of keyservice.writes is %, not % to %', v_next, v_least, v_most
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- Whatever PostgreSQL expects of the rows, it looks up each by its revision.
    IF EXISTS (
        SELECT FROM changed c
        WHERE (CASE
            WHEN c.key_id IS NOT NULL THEN
                c.key_id = (SELECT k.key_id FROM keyservice.keys k WHERE k.revision = c.revision)
            WHEN c.domain IS NOT NULL THEN
                (c.account_id, c.domain) = (
                    SELECT d.account_id, d.domain FROM keyservice.domains d WHERE d.revision = c.revision)
            ELSE
                c.account_id = (SELECT a.account_id FROM keyservice.accounts a WHERE a.revision = c.revision)
            END) IS NOT TRUE)
    THEN
        RAISE 'a row that these writes name has not their revision'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM keyservice.keep_out_renewals();
    RETURN NULL;
END $$;

DROP TRIGGER next_revision ON keyservice.writes;
CREATE TRIGGER lock_writers BEFORE INSERT ON keyservice.writes
    FOR EACH STATEMENT EXECUTE FUNCTION keyservice.lock_writers();
CREATE TRIGGER next_revision AFTER INSERT ON keyservice.writes
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION keyservice.refuse_empty_writes();

-- What came since a revision, as before, but p_limit counts writes, not states: a row that was written a
-- million times has one state, and to find the next one could take longer than a renewal may.
CREATE OR REPLACE FUNCTION keyservice.read_feed(
    p_since_revision bigint, p_head_revision bigint, p_head_write_id uuid, p_limit bigint,
    OUT history_holds boolean, OUT head_revision bigint, OUT head_write_id uuid,
    OUT feed keyservice.feed[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    PERFORM keyservice.refuse_standby();
    history_holds := keyservice.holds(p_head_revision, p_head_write_id);
    IF NOT history_holds THEN
        RETURN;
    END IF;
    -- One statement, so that both are of one moment.
    SELECT w.revision, w.write_id, s.feed INTO head_revision, head_write_id, feed
    FROM (SELECT ARRAY(
        SELECT f FROM keyservice.feed f
        WHERE f.revision > p_since_revision AND f.revision <= p_since_revision + p_limit
        ORDER BY f.revision)) s (feed)
    LEFT JOIN keyservice.writes w ON w.revision = (SELECT max(x.revision) FROM keyservice.writes x);
END $$;
