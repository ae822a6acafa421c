-- Looks at the revisions of keys and of writes once for each statement, as 0010 does once for each row: a
-- statement that revokes 10,000 keys must not hold up the renewals of leases for long.

-- As in 0009, and for the same reason.
LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;

-- Before a row is there that could be in the way of another write.
CREATE FUNCTION keyservice.lock_writers() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM keyservice.begin_transaction();
    LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;
    RETURN NULL;
END $$;

-- Each change of a key takes a revision that no write has yet, and is the only one to take it. The foreign key
-- revision_is_a_write sees to it that a write follows.
CREATE FUNCTION keyservice.refuse_old_revisions() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := (SELECT coalesce(max(w.revision), 0) + 1 FROM keyservice.writes w);
    v_least bigint := (SELECT min(c.revision) FROM changed c);
BEGIN
    -- The second change of a row in one transaction would take the revision of the first.
    IF TG_OP = 'UPDATE' THEN
        IF (SELECT max(b.revision) FROM before b) >= v_next THEN
            RAISE 'revision % is taken by another change', v_next
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
    END IF;
    IF v_least < v_next THEN
        RAISE 'the next revision of keyservice.% is %, not %', TG_TABLE_NAME, v_next, v_least
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF EXISTS (SELECT FROM keyservice.domains d WHERE d.revision >= v_next)
        OR EXISTS (SELECT FROM keyservice.accounts a WHERE a.revision >= v_next)
    THEN
        RAISE 'revision % is taken by another row', v_next
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NULL;
END $$;

-- Writes take the next revisions, each for the row that has it.
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
    IF v_least <> v_next OR v_most <> v_next + v_count - 1
        OR EXISTS (SELECT FROM keyservice.writes w WHERE w.revision > v_most)
    THEN
        RAISE 'the next revisions of keyservice.writes are from % on, not from % to %', v_next, v_least, v_most
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF EXISTS (
        SELECT FROM changed c
        WHERE NOT (CASE
            WHEN c.key_id IS NOT NULL THEN EXISTS (
                SELECT FROM keyservice.keys k WHERE k.key_id = c.key_id AND k.revision = c.revision)
            WHEN c.domain IS NOT NULL THEN EXISTS (
                SELECT FROM keyservice.domains d
                WHERE d.account_id = c.account_id AND d.domain = c.domain AND d.revision = c.revision)
            ELSE EXISTS (
                SELECT FROM keyservice.accounts a
                WHERE a.account_id = c.account_id AND a.revision = c.revision) END))
    THEN
        RAISE 'a row that these writes name has not their revision'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER next_revision ON keyservice.keys;
CREATE TRIGGER lock_writers BEFORE INSERT OR UPDATE ON keyservice.keys
    FOR EACH STATEMENT EXECUTE FUNCTION keyservice.lock_writers();
CREATE TRIGGER next_revision_of_new AFTER INSERT ON keyservice.keys
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keyservice.refuse_old_revisions();
CREATE TRIGGER next_revision AFTER UPDATE ON keyservice.keys
    REFERENCING OLD TABLE AS before NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION keyservice.refuse_old_revisions();
DROP TRIGGER next_revision ON keyservice.writes;
CREATE TRIGGER lock_writers BEFORE INSERT ON keyservice.writes
    FOR EACH STATEMENT EXECUTE FUNCTION keyservice.lock_writers();
CREATE TRIGGER next_revision AFTER INSERT ON keyservice.writes
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keyservice.refuse_empty_writes();
DROP FUNCTION keyservice.refuse_earlier_revision();
DROP FUNCTION keyservice.refuse_empty_write();
