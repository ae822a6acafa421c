-- Lets no row change behind the replicas' backs. The service's role may change rows, and whoever has its
-- password may too. A row that changed without a revision would be taken for one that every replica knows.
--
-- Replicas of the release before may run on while this is applied and afterwards: their functions do all
-- this already.

-- Each change of a row takes the next revision, and is the only one to take it.
--
-- The writers' lock keeps others from taking it at the same time. It is taken in a statement of its own, so
-- that the next ones see every write before it; in a stricter isolation level they would not. Whoever
-- writes by this schema's functions has the lock.
CREATE OR REPLACE FUNCTION keyservice.refuse_other_revision() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint;
BEGIN
    PERFORM keyservice.begin_transaction();
    LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;
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

DROP TRIGGER next_revision ON keyservice.keys;
CREATE TRIGGER next_revision BEFORE INSERT OR UPDATE ON keyservice.keys
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_other_revision();
DROP TRIGGER next_revision ON keyservice.domains;
CREATE TRIGGER next_revision BEFORE INSERT OR UPDATE ON keyservice.domains
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_other_revision();
DROP TRIGGER next_revision ON keyservice.accounts;
CREATE TRIGGER next_revision BEFORE INSERT OR UPDATE ON keyservice.accounts
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_other_revision();

-- A write is of the row that took its revision. Replicas of the release before would read one of nothing
-- again at each renewal.
CREATE FUNCTION keyservice.refuse_empty_write() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint;
BEGIN
    PERFORM keyservice.begin_transaction();
    LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;
    v_next := (SELECT coalesce(max(w.revision), 0) + 1 FROM keyservice.writes w);
    IF NEW.revision <> v_next THEN
        RAISE 'the next revision of keyservice.writes is %, not %', v_next, NEW.revision
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF NOT (CASE
        WHEN NEW.key_id IS NOT NULL THEN EXISTS (
            SELECT FROM keyservice.keys k WHERE k.key_id = NEW.key_id AND k.revision = NEW.revision)
        WHEN NEW.domain IS NOT NULL THEN EXISTS (
            SELECT FROM keyservice.domains d
            WHERE d.account_id = NEW.account_id AND d.domain = NEW.domain AND d.revision = NEW.revision)
        ELSE EXISTS (
            SELECT FROM keyservice.accounts a
            WHERE a.account_id = NEW.account_id AND a.revision = NEW.revision) END)
    THEN
        RAISE 'the row that this write names has not revision %', NEW.revision
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NEW;
END $$;

DROP TRIGGER next_revision ON keyservice.writes;
CREATE TRIGGER next_revision BEFORE INSERT ON keyservice.writes
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_empty_write();

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
