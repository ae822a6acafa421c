-- Tells this store from every other one. Two databases may have the same name, the same owner and the same
-- digest secret, and an address may come to lead from one to the other while replicas run.
--
-- A dump carries the id, so what is restored from it is the same store. Replicas of the release before know
-- nothing of it, and may run on while this is applied and afterwards.
CREATE TABLE keyservice.store_identity (
    only_row boolean PRIMARY KEY CHECK (only_row),
    store_id uuid    NOT NULL
);

INSERT INTO keyservice.store_identity (only_row, store_id) VALUES (true, gen_random_uuid());

-- Fails in any other store, and with it the statement that asks. VOLATILE, so that no plan leaves it out.
CREATE FUNCTION keyservice.check_store(p_store_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_store_id uuid := (SELECT s.store_id FROM keyservice.store_identity s);
BEGIN
    IF v_store_id IS DISTINCT FROM p_store_id THEN
        RAISE 'expected the store %, found %', p_store_id, coalesce(v_store_id::text, 'one without an id')
            USING ERRCODE = 'KS002';
    END IF;
END $$;

-- Who could write keys can ask for it. Nobody but the owner may change it.
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
        EXECUTE format('GRANT SELECT ON keyservice.store_identity TO %s', v_writer);
    END LOOP;
END $$;
