-- When each key was last used. Not in keys, because its rows are wide and have many indexes.
--
-- A row is written at most once an hour while its key is in use. The free part of a page takes the row's
-- next version.
CREATE TABLE keyservice.key_uses (
    key_id         uuid        PRIMARY KEY,
    last_used_time timestamptz NOT NULL,
    -- A time to come would hide for long that the key is not used, or that it is.
    CONSTRAINT used_before_now CHECK (last_used_time <= now())
) WITH (fillfactor = 70);

-- Who could write keys can write their uses.
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
        EXECUTE format(
            'GRANT SELECT, INSERT, UPDATE (last_used_time) ON keyservice.key_uses TO %s', v_writer);
    END LOOP;
END $$;
