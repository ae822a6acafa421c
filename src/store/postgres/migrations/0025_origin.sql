-- Tells a store from what was restored from a dump of it, which has the same rows and the same id, and may lack
-- revocations.
--
-- PostgreSQL notes in each row which transaction has written it. These rows know that too. A standby, a base backup
-- and pg_upgrade keep rows as they are, and so does VACUUM. A dump, and a logical copy, has what a row knows, but
-- another transaction writes it then.
CREATE TABLE keyservice.origin (
    mark       smallint PRIMARY KEY CHECK (mark IN (1, 2)),
    written_by xid      NOT NULL
);

-- A transaction of another server may have the same number. So there are two rows, of two transactions: a restore
-- writes both in one.
CREATE FUNCTION keyservice.is_own() RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT count(*) = 2 AND bool_and(o.written_by = o.xmin) FROM keyservice.origin o);
END $$;

-- Marks the rows as written here.
CREATE FUNCTION keyservice.mark_origin() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The transaction takes its number before its part does. So the first row has the higher one, also if each row is
    -- restored by a transaction of its own: then it has the lower one, and both cannot be right.
    PERFORM pg_current_xact_id();
    -- What a block with an exception clause writes has a number of its own.
    BEGIN
        UPDATE keyservice.origin SET written_by = '0' WHERE mark = 1;
        UPDATE keyservice.origin SET written_by = xmin WHERE mark = 1;
    EXCEPTION WHEN no_data_found THEN
        RAISE;
    END;
    UPDATE keyservice.origin SET written_by = '0' WHERE mark = 2;
    UPDATE keyservice.origin SET written_by = xmin WHERE mark = 2;
    IF NOT keyservice.is_own() THEN
        RAISE 'the table keyservice.origin has not the two rows of a migration';
    END IF;
END $$;

-- Says that what was restored is the store from now on. Gives false, and writes nothing, if it is so already, or if
-- it does not have this write, which a replica asks for that vouches by its memory.
CREATE FUNCTION keyservice.accept_restore(
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
    INSERT INTO keyservice.audit (time, caller, method, outcome, calls)
    VALUES (p_time, p_caller, 'AcceptRestore', 'OK', 1);
    RETURN true;
END $$;

-- When the last write was that no replay has made. What a replay writes again was lost before, so it says nothing of
-- how far the restored rows reach. Runs with the rights of its owner, since the service's role reads no records. A
-- replay gives its write and the record of it the same time.
CREATE FUNCTION keyservice.last_original_write() RETURNS timestamptz
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT w.write_time FROM keyservice.writes w
        WHERE NOT EXISTS (
            SELECT FROM keyservice.audit a
            WHERE a.time = w.write_time AND a.revision = w.revision AND starts_with(a.caller, 'replay:'))
        ORDER BY w.revision DESC LIMIT 1);
END $$;

INSERT INTO keyservice.origin (mark, written_by) VALUES (1, '0'), (2, '0');
SELECT keyservice.mark_origin();

-- Who could write keys can read it, and accept a restore as a replica does.
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
        EXECUTE format('GRANT SELECT, UPDATE (written_by) ON keyservice.origin TO %s', v_writer);
    END LOOP;
END $$;
