-- Tells the histories of this store apart. After a restore, or a failover that has lost writes, revisions that were
-- lost are given to other writes. So a new history begins there, and the id of each write begins with that of its
-- history.
--
-- Replicas of the release before may run on while this is applied and afterwards: the column's default names their
-- writes too.
CREATE TABLE keyservice.histories (
    number         integer PRIMARY KEY CHECK (number > 0),
    history_id     uuid    NOT NULL,                              -- its first half alone counts
    after_revision bigint  NOT NULL CHECK (after_revision >= 0),  -- the last revision from the history before
    replayed_until timestamptz                                    -- of one that a replay has begun: what it knew of
        CHECK (replayed_until >= '1970-01-01 00:00:00+00' AND replayed_until < '10000-01-01 00:00:00+00')
);

-- The first has the id of the store. Nothing is known of the restores of before. What is written from now on is not of
-- that one: a backup of the release before brings it back up to here, and this migration then runs once more.
INSERT INTO keyservice.histories (number, history_id, after_revision)
SELECT 1, s.store_id, 0 FROM keyservice.store_identity s;
INSERT INTO keyservice.histories (number, history_id, after_revision)
SELECT 2, gen_random_uuid(), max(w.revision) FROM keyservice.writes w HAVING max(w.revision) > 0;

CREATE FUNCTION keyservice.new_write_id() RETURNS uuid
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Without a history, a write is still made.
    RETURN coalesce((
        SELECT (left(h.history_id::text, 18) || right(gen_random_uuid()::text, 18))::uuid
        FROM keyservice.histories h ORDER BY h.number DESC LIMIT 1), gen_random_uuid());
END $$;

ALTER TABLE keyservice.writes ALTER COLUMN write_id SET DEFAULT keyservice.new_write_id();

-- Whatever is written from now on belongs to a new history.
CREATE FUNCTION keyservice.begin_history(p_replayed_until timestamptz DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- So that no write is under way that has the id of the history before and a later revision.
    PERFORM keyservice.keep_out_writers();
    INSERT INTO keyservice.histories (number, history_id, after_revision, replayed_until)
    SELECT coalesce(max(h.number), 0) + 1, gen_random_uuid(),
        (SELECT coalesce(max(w.revision), 0) FROM keyservice.writes w), p_replayed_until
    FROM keyservice.histories h;
END $$;

-- As in 0025, and begins a history.
CREATE OR REPLACE FUNCTION keyservice.accept_restore(
    p_time timestamptz, p_caller text, p_revision bigint DEFAULT NULL, p_write_id uuid DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF keyservice.is_own() THEN
        RETURN false;
    END IF;
    -- Another session may be about to accept it.
    PERFORM FROM keyservice.origin o ORDER BY o.mark FOR UPDATE;
    IF keyservice.is_own() OR p_revision > 0 AND NOT EXISTS (
        SELECT FROM keyservice.writes w WHERE w.revision = p_revision AND w.write_id = p_write_id)
    THEN
        RETURN false;
    END IF;
    PERFORM keyservice.mark_origin();
    PERFORM keyservice.begin_history();
    INSERT INTO keyservice.audit (time, caller, method, outcome, calls)
    VALUES (p_time, p_caller, 'AcceptRestore', 'OK', 1);
    RETURN true;
END $$;

-- Who reads the records learns of which history each is.
CREATE OR REPLACE VIEW keyservice_audit.records AS
SELECT a.number, a.time, a.revision, a.calls, a.caller, a.method, a.account_id, a.key_id, a.domain,
    a.include_subdomains, a.outcome, a.key_end,
    (SELECT s.store_id FROM keyservice.store_identity s) AS store_id,
    h.history_id, h.after_revision AS history_after, h.parent AS history_parent
FROM keyservice.audit a
LEFT JOIN LATERAL (
    SELECT h.history_id, h.after_revision,
        -- Nothing goes on from one in which nothing was written.
        (SELECT p.history_id FROM keyservice.histories p
         WHERE p.number < h.number AND p.after_revision < h.after_revision
         ORDER BY p.number DESC LIMIT 1) AS parent
    FROM keyservice.histories h WHERE h.after_revision < a.revision ORDER BY h.number DESC LIMIT 1) h ON true;

-- Who could write keys can read them, and begin one as a replica does.
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
        EXECUTE format('GRANT SELECT, INSERT ON keyservice.histories TO %s', v_writer);
    END LOOP;
END $$;
