-- Keys that are changed, suspended and rotated, and accounts that are suspended.
--
-- Replicas of the release before may run on while this is applied and afterwards. They do not know these
-- changes, and would go on granting what a change has taken away. So no such change is made while one of
-- them may hold a lease, and after the first change none of them gets a lease any more.

ALTER TABLE keyservice.keys
    ADD COLUMN suspend_reason text,
    ADD COLUMN suspend_time   timestamptz,  -- null: not suspended
    ADD COLUMN predecessor    uuid REFERENCES keyservice.keys (key_id),
    ADD COLUMN successor      uuid REFERENCES keyservice.keys (key_id),
    ADD COLUMN version        integer NOT NULL DEFAULT 1,  -- counts the changes of the row
    -- The rows of before have neither, so they need not be read.
    ADD CONSTRAINT suspension CHECK (
        (suspend_reason IS NULL) = (suspend_time IS NULL) AND char_length(suspend_reason) <= 400) NOT VALID,
    -- The service's role may insert rows, and its password may be stolen. The service has never stored
    -- another form.
    ADD CONSTRAINT account_id_form CHECK (
        account_id COLLATE "C" ~ '^[A-Za-z0-9][A-Za-z0-9_.:@/-]{0,127}$') NOT VALID,
    ADD CONSTRAINT domain_form CHECK (
        char_length(domain) <= 253
        AND domain COLLATE "C" ~ '^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$') NOT VALID;
ALTER TABLE keyservice.domains
    ADD CONSTRAINT account_id_form CHECK (account_id ~ '^[A-Za-z0-9][A-Za-z0-9_.:@/-]{0,127}$') NOT VALID,
    ADD CONSTRAINT domain_form CHECK (
        char_length(domain) <= 253 AND domain ~ '^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$') NOT VALID;

-- A row is made when an account is first suspended, and never deleted.
CREATE TABLE keyservice.accounts (
    account_id     text   COLLATE "C" PRIMARY KEY,
    suspend_reason text,
    suspend_time   timestamptz,  -- null: not suspended
    revision       bigint NOT NULL UNIQUE
        REFERENCES keyservice.writes (revision) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT account_id_form CHECK (account_id ~ '^[A-Za-z0-9][A-Za-z0-9_.:@/-]{0,127}$'),
    CONSTRAINT suspension CHECK (
        (suspend_reason IS NULL) = (suspend_time IS NULL) AND char_length(suspend_reason) <= 400)
);

CREATE TRIGGER next_revision BEFORE INSERT OR UPDATE OF revision ON keyservice.accounts
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_other_revision();

-- A write is one of a key, of a domain or of an account.
ALTER TABLE keyservice.writes
    DROP CONSTRAINT one_subject,
    ADD CONSTRAINT one_subject CHECK (
        num_nonnulls(key_id, account_id) = 1 AND num_nonnulls(key_id, domain) < 2) NOT VALID;

-- One row, from the first change on that the release before does not know.
CREATE TABLE keyservice.first_change (
    only_row boolean PRIMARY KEY CHECK (only_row)
);

-- Whether a replica reads keyservice.feed, and so knows every change.
ALTER TABLE keyservice.replicas ADD COLUMN reads_feed boolean NOT NULL DEFAULT false;

-- A replica renews its lease, and so comes here, under the writers' lock. So either it finds the first
-- change, or the first change finds it.
CREATE FUNCTION keyservice.refuse_older_replica() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT NEW.reads_feed AND EXISTS (SELECT FROM keyservice.first_change) THEN
        RAISE 'keys were changed in ways that this release does not know: run the newer release'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER no_older_replica BEFORE INSERT ON keyservice.replicas
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_older_replica();

-- What a replica must know of a key, a domain or an account, with the position of its last write. The
-- LIMITs are there for the reason that keyservice.states has.
CREATE VIEW keyservice.feed AS
SELECT w.revision, w.write_id,
       k.key_id, k.digest, k.expire_time, k.revoke_time IS NOT NULL AS revoked,
       coalesce(k.suspend_time, a.suspend_time) IS NOT NULL AS suspended,
       coalesce(k.account_id, d.account_id, a.account_id) AS account_id,
       coalesce(k.domain, d.domain) AS domain,
       d.include_subdomains, d.remove_time IS NOT NULL AS removed
FROM keyservice.writes w
LEFT JOIN LATERAL (SELECT * FROM keyservice.keys k WHERE k.revision = w.revision LIMIT 1) k ON true
LEFT JOIN LATERAL (SELECT * FROM keyservice.domains d WHERE d.revision = w.revision LIMIT 1) d ON true
LEFT JOIN LATERAL (SELECT * FROM keyservice.accounts a WHERE a.revision = w.revision LIMIT 1) a ON true
WHERE num_nonnulls(k.key_id, d.revision, a.revision) > 0;

-- Who could write keys can change them, and suspend accounts.
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
            'GRANT UPDATE (name, domain, expire_time, suspend_reason, suspend_time, successor, version) '
            'ON keyservice.keys TO %s', v_writer);
        EXECUTE format(
            'GRANT SELECT, INSERT, UPDATE (suspend_reason, suspend_time, revision) '
            'ON keyservice.accounts TO %s', v_writer);
        EXECUTE format('GRANT SELECT, INSERT ON keyservice.first_change TO %s', v_writer);
        EXECUTE format('GRANT SELECT ON keyservice.feed TO %s', v_writer);
    END LOOP;
END $$;

-- Begins a write, as before, with the lock on one more table.
CREATE OR REPLACE FUNCTION keyservice.begin_write() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM keyservice.begin_transaction();
    LOCK TABLE keyservice.keys, keyservice.domains, keyservice.accounts, keyservice.writes
        IN ROW EXCLUSIVE MODE;
    LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;
    PERFORM set_config('lock_timeout', '500ms', true);
    RETURN (SELECT coalesce(max(w.revision), 0) + 1 FROM keyservice.writes w);
END $$;

-- Begins a write that the release before does not know.
CREATE FUNCTION keyservice.begin_change() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := keyservice.begin_write();
BEGIN
    IF EXISTS (SELECT FROM keyservice.replicas r WHERE NOT r.reads_feed) THEN
        RAISE 'a replica of the release before is running, which does not know this change: update it'
            USING ERRCODE = 'KS001';  -- of this service's own
    END IF;
    IF NOT EXISTS (SELECT FROM keyservice.first_change) THEN
        INSERT INTO keyservice.first_change VALUES (true);
    END IF;
    RETURN v_next;
END $$;

-- Ends a write of an account: its row. Gives its id.
CREATE FUNCTION keyservice.end_write(p_revision bigint, p_write_time timestamptz, p_account_id text)
RETURNS uuid
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_write_id uuid;
BEGIN
    INSERT INTO keyservice.writes (revision, write_time, account_id)
    VALUES (p_revision, p_write_time, p_account_id)
    RETURNING writes.write_id INTO v_write_id;
    RETURN v_write_id;
END $$;

-- As before, and counts the change.
CREATE OR REPLACE FUNCTION keyservice.revoke_key(
    p_key_id uuid, p_digest bytea, p_account_ids text[], p_revoke_time timestamptz,
    OUT revoked keyservice.keys, OUT write_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := keyservice.begin_write();
BEGIN
    SELECT * INTO revoked FROM keyservice.keys k
    WHERE (k.key_id = p_key_id OR k.digest = p_digest)
      AND (p_account_ids IS NULL OR k.account_id COLLATE "C" = ANY (p_account_ids))
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF revoked.revoke_time IS NOT NULL THEN
        SELECT w.write_id INTO write_id FROM keyservice.writes w WHERE w.revision = revoked.revision;
        RETURN;
    END IF;
    UPDATE keyservice.keys k SET revoke_time = p_revoke_time, version = k.version + 1, revision = v_next
    WHERE k.key_id = revoked.key_id
    RETURNING * INTO revoked;
    write_id := keyservice.end_write(v_next, p_revoke_time, revoked.key_id);
END $$;

-- Replaces the function of 0008, which says why it is so. Suspended keys are not active.
CREATE OR REPLACE FUNCTION keyservice.count_active_keys(
    p_account_id text, p_domain text, p_time timestamptz, p_limit bigint,
    OUT active bigint, OUT looked_at bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
BEGIN
    SELECT count(*) FILTER (
               WHERE k.revoke_time IS NULL AND k.suspend_time IS NULL
                 AND (k.expire_time IS NULL OR k.expire_time > p_time)),
           count(*)
    INTO active, looked_at
    FROM (SELECT x.revoke_time, x.suspend_time, x.expire_time FROM keyservice.keys x
          WHERE x.account_id COLLATE "C" = p_account_id
            AND x.domain COLLATE "C" >= p_domain AND x.domain COLLATE "C" <= p_domain
          ORDER BY x.domain COLLATE "C" DESC, x.create_revision DESC LIMIT p_limit) k;
END $$;

-- Gives a key's row its next version, if it still has the version before. With a digest, it also stores
-- the key that succeeds it, which inherits what the row then says; p_successor is its id.
--
-- The outcome is REPLACED; CONFLICT, if the row has another version; UNVERIFIED, if the key's domain must
-- be verified for its account and is not (it need not be where p_parents is null); or REQUEST_ID_USED, if
-- the account has used the request id before, for first_key_id. Then that key's row is locked, as in
-- create_key and for the same reason.
CREATE FUNCTION keyservice.replace_key(
    p_key_id uuid, p_version integer, p_name text, p_domain text, p_parents text[],
    p_expire_time timestamptz, p_revoke_time timestamptz, p_suspend_reason text,
    p_suspend_time timestamptz, p_time timestamptz, p_successor uuid, p_digest bytea, p_preview text,
    p_request_id text, p_successor_expire_time timestamptz,
    OUT outcome text, OUT revision bigint, OUT write_id uuid, OUT first_key_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := keyservice.begin_change();
    v_account_id text := (SELECT k.account_id FROM keyservice.keys k WHERE k.key_id = p_key_id);
BEGIN
    SELECT k.key_id, k.create_revision, w.write_id INTO first_key_id, revision, write_id
    FROM keyservice.keys k JOIN keyservice.writes w ON w.revision = k.create_revision
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
            (key_id, digest, account_id, name, preview, domain, request_id, create_time, expire_time,
             predecessor, create_revision, revision)
        VALUES
            (p_successor, p_digest, v_account_id, p_name, p_preview, p_domain, p_request_id, p_time,
             p_successor_expire_time, p_key_id, v_next, v_next);
        PERFORM keyservice.end_write(v_next, p_time, p_successor);
        v_next := v_next + 1;
    END IF;
    UPDATE keyservice.keys k
    SET name = p_name, domain = p_domain, expire_time = p_expire_time, revoke_time = p_revoke_time,
        suspend_reason = p_suspend_reason, suspend_time = p_suspend_time, successor = p_successor,
        version = p_version, revision = v_next
    WHERE k.key_id = p_key_id;
    outcome := 'REPLACED';
    revision := v_next;
    write_id := keyservice.end_write(v_next, p_time, p_key_id);
END $$;

-- Suspends a key, or resumes it if there is no reason, whatever its version. A key that was suspended before
-- stays so since then. A revoked key stays as it is, and write_id is null. revised is null if there is no
-- such key.
CREATE FUNCTION keyservice.set_key_suspension(
    p_key_id uuid, p_digest bytea, p_account_ids text[], p_reason text, p_time timestamptz,
    OUT revised keyservice.keys, OUT write_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := keyservice.begin_change();
BEGIN
    SELECT * INTO revised FROM keyservice.keys k
    WHERE (k.key_id = p_key_id OR k.digest = p_digest)
      AND (p_account_ids IS NULL OR k.account_id COLLATE "C" = ANY (p_account_ids))
    FOR UPDATE;
    IF NOT FOUND OR revised.revoke_time IS NOT NULL THEN
        RETURN;
    END IF;
    UPDATE keyservice.keys k
    SET suspend_reason = p_reason,
        suspend_time = CASE WHEN p_reason IS NOT NULL THEN coalesce(k.suspend_time, p_time) END,
        version = k.version + 1, revision = v_next
    WHERE k.key_id = revised.key_id
    RETURNING * INTO revised;
    write_id := keyservice.end_write(v_next, p_time, revised.key_id);
END $$;

-- Suspends an account, or resumes it if there is no reason. An account that was suspended before stays so
-- since then.
CREATE FUNCTION keyservice.set_suspension(
    p_account_id text, p_reason text, p_time timestamptz,
    OUT suspend_time timestamptz, OUT revision bigint, OUT write_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    revision := keyservice.begin_change();
    INSERT INTO keyservice.accounts AS a (account_id, suspend_reason, suspend_time, revision)
    VALUES (p_account_id, p_reason, CASE WHEN p_reason IS NOT NULL THEN p_time END, set_suspension.revision)
    ON CONFLICT (account_id) DO UPDATE
    SET suspend_reason = p_reason,
        suspend_time = CASE WHEN p_reason IS NOT NULL THEN coalesce(a.suspend_time, p_time) END,
        revision = excluded.revision
    RETURNING a.suspend_time INTO set_suspension.suspend_time;
    write_id := keyservice.end_write(set_suspension.revision, p_time, p_account_id);
END $$;

-- What came since a revision, as read_states of the release before, and accounts too.
CREATE FUNCTION keyservice.read_feed(
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
        SELECT f FROM keyservice.feed f WHERE f.revision > p_since_revision
        ORDER BY f.revision LIMIT p_limit)) s (feed)
    LEFT JOIN keyservice.writes w ON w.revision = (SELECT max(x.revision) FROM keyservice.writes x);
END $$;

-- Renews a replica's lease, as renew of the release before, and gives accounts too. What renew_lease of
-- earlier releases says of the lock and of the order of its statements holds here.
CREATE FUNCTION keyservice.renew_by_feed(
    p_replica_id uuid, p_name text, p_renewals bigint, p_lease_millis integer,
    p_applied_revision bigint, p_since_revision bigint, p_head_revision bigint, p_head_write_id uuid,
    p_limit bigint,
    OUT history_holds boolean, OUT head_revision bigint, OUT head_write_id uuid,
    OUT feed keyservice.feed[], OUT replicas keyservice.replicas[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM keyservice.begin_transaction();
    PERFORM keyservice.refuse_standby();
    LOCK TABLE keyservice.writers_lock IN ROW SHARE MODE;
    SELECT f.history_holds, f.head_revision, f.head_write_id, f.feed
    INTO history_holds, head_revision, head_write_id, feed
    FROM keyservice.read_feed(p_since_revision, p_head_revision, p_head_write_id, p_limit) f;
    IF NOT history_holds THEN
        RETURN;
    END IF;

    -- Somebody may have stored it, and it would keep everybody from suspending. The role may not update it.
    DELETE FROM keyservice.replicas r WHERE r.replica_id = p_replica_id AND NOT r.reads_feed;
    INSERT INTO keyservice.replicas AS r
        (replica_id, name, applied_revision, renewals, lease_millis, renew_time, reads_feed)
    VALUES (p_replica_id, left(p_name, 400), p_applied_revision, p_renewals, p_lease_millis,
            clock_timestamp(), true)
    ON CONFLICT (replica_id) DO UPDATE
    SET applied_revision = excluded.applied_revision, renewals = excluded.renewals,
        lease_millis = excluded.lease_millis, renew_time = excluded.renew_time
    WHERE r.renewals < excluded.renewals;
    IF NOT FOUND THEN
        RAISE 'a later renewal of this replica is on record' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    replicas := ARRAY(SELECT r FROM keyservice.replicas r);
END $$;
