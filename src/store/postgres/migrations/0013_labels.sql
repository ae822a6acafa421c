-- Labels, by which people organise their keys.

-- As in 0009, and for the same reason.
LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;

ALTER TABLE keyservice.keys
    ADD COLUMN labels text[] NOT NULL DEFAULT '{}',  -- each NAME=VALUE, in the order of the names
    -- The rows of before have none, so they need not be read.
    ADD CONSTRAINT labels_size CHECK (
        cardinality(labels) <= 16 AND octet_length(labels::text) <= 8000
        AND coalesce(array_ndims(labels), 1) = 1 AND array_position(labels, NULL) IS NULL) NOT VALID;

-- Finds the keys that have a label, in the order in which they were created. Only a trigger writes to it, from
-- keys.labels: who could delete its rows could hide keys from those who revoke them by their label.
CREATE TABLE keyservice.key_labels (
    account_id      text   COLLATE "C",
    label           text   COLLATE "C",
    create_revision bigint,
    PRIMARY KEY (account_id, label, create_revision)
);

-- Runs with the rights of its owner, and for keys alone.
CREATE FUNCTION keyservice.index_labels() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'keyservice.keys'::regclass THEN
        RAISE 'only keys have labels';
    END IF;
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM keyservice.key_labels l
        WHERE l.account_id = OLD.account_id AND l.label = ANY (OLD.labels)
          AND l.create_revision = OLD.create_revision;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO keyservice.key_labels (account_id, label, create_revision)
        SELECT NEW.account_id, n.label, NEW.create_revision FROM unnest(NEW.labels) n (label)
        -- Somebody else may have stored such a row, which must not keep a key from being created.
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;

-- Takes the lock with which the trigger writes, for those who may not.
CREATE FUNCTION keyservice.lock_labels() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    LOCK TABLE keyservice.key_labels IN ROW EXCLUSIVE MODE;
END $$;

-- Otherwise a role could have a trigger of its own run it.
REVOKE EXECUTE ON FUNCTION keyservice.index_labels() FROM PUBLIC;

CREATE TRIGGER labels_of_new_key AFTER INSERT ON keyservice.keys
    FOR EACH ROW WHEN (NEW.labels <> '{}') EXECUTE FUNCTION keyservice.index_labels();
CREATE TRIGGER labels_of_changed_key AFTER UPDATE OF labels ON keyservice.keys
    FOR EACH ROW WHEN (OLD.labels <> NEW.labels) EXECUTE FUNCTION keyservice.index_labels();
CREATE TRIGGER labels_of_deleted_key AFTER DELETE ON keyservice.keys
    FOR EACH ROW WHEN (OLD.labels <> '{}') EXECUTE FUNCTION keyservice.index_labels();

-- Who could change keys can label them.
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
        EXECUTE format('GRANT UPDATE (labels) ON keyservice.keys TO %s', v_writer);
        EXECUTE format('GRANT SELECT ON keyservice.key_labels TO %s', v_writer);
    END LOOP;
END $$;

-- Begins a write that may take long: renewals of leases go on until the end of the insert into writes. It locks
-- one table more than begin_write did before.
CREATE FUNCTION keyservice.begin_long_write() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM keyservice.begin_transaction();
    LOCK TABLE keyservice.keys IN ROW EXCLUSIVE MODE;
    PERFORM keyservice.lock_labels();
    LOCK TABLE keyservice.domains, keyservice.accounts, keyservice.writes IN ROW EXCLUSIVE MODE;
    PERFORM keyservice.keep_out_writers();
    PERFORM set_config('lock_timeout', '500ms', true);
    RETURN (SELECT coalesce(max(w.revision), 0) + 1 FROM keyservice.writes w);
END $$;

-- Begins a write, as before, and keeps out renewals from the start.
CREATE OR REPLACE FUNCTION keyservice.begin_write() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := keyservice.begin_long_write();
BEGIN
    PERFORM keyservice.keep_out_renewals();
    RETURN v_next;
END $$;

-- As create_key of the release before, which goes on using that one, with labels.
CREATE FUNCTION keyservice.create_key(
    p_key_id uuid, p_digest bytea, p_account_id text, p_name text, p_preview text, p_domain text,
    p_parents text[], p_request_id text, p_create_time timestamptz, p_expire_time timestamptz,
    p_labels text[],
    OUT revision bigint, OUT write_id uuid, OUT first_key_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := keyservice.begin_write();
BEGIN
    -- The write that created it, or if that is gone, the next one after it.
    SELECT k.key_id, w.revision, w.write_id INTO first_key_id, revision, write_id
    FROM keyservice.keys k CROSS JOIN LATERAL (
        SELECT x.revision, x.write_id FROM keyservice.writes x WHERE x.revision >= k.create_revision
        ORDER BY x.revision LIMIT 1) w
    WHERE k.account_id COLLATE "C" = p_account_id AND k.request_id COLLATE "C" = p_request_id
    FOR UPDATE OF k;
    IF FOUND THEN
        RETURN;
    END IF;
    IF p_domain IS NOT NULL AND p_parents IS NOT NULL
        AND NOT keyservice.is_verified(p_account_id, p_domain, p_parents)
    THEN
        RETURN;
    END IF;
    INSERT INTO keyservice.keys
        (key_id, digest, account_id, name, preview, domain, labels, request_id, create_time, expire_time,
         create_revision, revision)
    VALUES
        (p_key_id, p_digest, p_account_id, p_name, p_preview, p_domain, p_labels, p_request_id,
         p_create_time, p_expire_time, v_next, v_next);
    revision := v_next;
    write_id := keyservice.end_write(v_next, p_create_time, p_key_id);
END $$;

DROP FUNCTION keyservice.replace_key(
    uuid, integer, text, text, text[], timestamptz, timestamptz, text, timestamptz, timestamptz, uuid, bytea,
    text, text, timestamptz);

-- As before, with labels, which the successor inherits.
CREATE FUNCTION keyservice.replace_key(
    p_key_id uuid, p_version integer, p_name text, p_domain text, p_parents text[], p_labels text[],
    p_expire_time timestamptz, p_revoke_time timestamptz, p_suspend_reason text,
    p_suspend_time timestamptz, p_time timestamptz, p_successor uuid, p_digest bytea, p_preview text,
    p_request_id text, p_successor_expire_time timestamptz,
    OUT outcome text, OUT revision bigint, OUT write_id uuid, OUT first_key_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := keyservice.begin_change();
    v_account_id text := (SELECT k.account_id FROM keyservice.keys k WHERE k.key_id = p_key_id);
BEGIN
    SELECT k.key_id, w.revision, w.write_id INTO first_key_id, revision, write_id
    FROM keyservice.keys k CROSS JOIN LATERAL (
        SELECT x.revision, x.write_id FROM keyservice.writes x WHERE x.revision >= k.create_revision
        ORDER BY x.revision LIMIT 1) w
    WHERE k.account_id COLLATE "C" = v_account_id AND k.request_id COLLATE "C" = p_request_id
    FOR UPDATE OF k;
    IF FOUND THEN
        outcome := 'REQUEST_ID_USED';
        RETURN;
    END IF;
    PERFORM FROM keyservice.keys k WHERE k.key_id = p_key_id AND k.version = p_version - 1 FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'CONFLICT';
        RETURN;
    END IF;
    IF p_domain IS NOT NULL AND p_parents IS NOT NULL
        AND NOT keyservice.is_verified(v_account_id, p_domain, p_parents)
    THEN
        outcome := 'UNVERIFIED';
        RETURN;
    END IF;
    IF p_digest IS NOT NULL THEN
        INSERT INTO keyservice.keys
            (key_id, digest, account_id, name, preview, domain, labels, request_id, create_time,
             expire_time, predecessor, create_revision, revision)
        VALUES
            (p_successor, p_digest, v_account_id, p_name, p_preview, p_domain, p_labels, p_request_id,
             p_time, p_successor_expire_time, p_key_id, v_next, v_next);
        PERFORM keyservice.end_write(v_next, p_time, p_successor);
        v_next := v_next + 1;
    END IF;
    UPDATE keyservice.keys k
    SET name = p_name, domain = p_domain, labels = p_labels, expire_time = p_expire_time,
        revoke_time = p_revoke_time, suspend_reason = p_suspend_reason, suspend_time = p_suspend_time,
        successor = p_successor, version = p_version, revision = v_next
    WHERE k.key_id = p_key_id;
    outcome := 'REPLACED';
    revision := v_next;
    write_id := keyservice.end_write(v_next, p_time, p_key_id);
END $$;
