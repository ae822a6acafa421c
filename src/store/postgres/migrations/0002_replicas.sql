-- One row for every replica that may hold a lease, as its last renewal left it.
--
-- The rows are updated several times a second, each by one replica: the free half of a page takes
-- a row's next version, and vacuum comes before the dead ones matter.
CREATE TABLE keyservice.replicas (
    replica_id       uuid    PRIMARY KEY,  -- drawn at random by every process
    name             text    NOT NULL,
    applied_revision bigint  NOT NULL,
    renewals         bigint  NOT NULL,
    lease_millis     integer NOT NULL CHECK (lease_millis > 0)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);

-- What a replica must know of a key, with the position of the key's last write.
CREATE VIEW keyservice.changes AS
SELECT k.key_id, k.digest, k.account_id, k.domain, k.expire_time,
       k.revoke_time IS NOT NULL AS revoked, k.revision, w.write_id
FROM keyservice.keys k JOIN keyservice.writes w USING (revision);

-- Renews a replica's lease: records what its memory held before this call, and gives what it must
-- apply before it may use the lease. history_holds is false, and nothing else happens, when the
-- write it applied last is not among this database's.
--
-- The shared form of the writers' lock makes every renewal stand wholly before or wholly after any
-- write. Without it a renewal could read before a write and commit after the writer had looked at
-- the replicas: a fresh lease for a stale memory. As in begin_write, the lock is taken in a
-- statement of its own, so that the next ones see every write before it; and all is one call, so
-- that a replica which hangs cannot sit on the lock.
CREATE FUNCTION keyservice.renew_lease(
    p_replica_id uuid, p_name text, p_renewals bigint, p_lease_millis integer,
    p_applied_revision bigint, p_applied_write_id uuid, p_limit bigint,
    OUT history_holds boolean, OUT changes keyservice.changes[], OUT replicas keyservice.replicas[])
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'keyservice renewals need READ COMMITTED, not %', current_setting('transaction_isolation');
    END IF;
    PERFORM pg_advisory_xact_lock_shared(1415071059, 2);

    history_holds := p_applied_revision = 0 OR EXISTS (
        SELECT FROM keyservice.writes w
        WHERE w.revision = p_applied_revision AND w.write_id = p_applied_write_id);
    IF NOT history_holds THEN
        RETURN;
    END IF;

    -- A call that was held up on its way must not undo a later one.
    INSERT INTO keyservice.replicas AS r (replica_id, name, applied_revision, renewals, lease_millis)
    VALUES (p_replica_id, p_name, p_applied_revision, p_renewals, p_lease_millis)
    ON CONFLICT (replica_id) DO UPDATE
    SET name = excluded.name, applied_revision = excluded.applied_revision,
        renewals = excluded.renewals, lease_millis = excluded.lease_millis
    WHERE r.renewals < excluded.renewals;

    changes := ARRAY(
        SELECT c FROM keyservice.changes c WHERE c.revision > p_applied_revision
        ORDER BY c.revision LIMIT p_limit);
    replicas := ARRAY(SELECT r FROM keyservice.replicas r);
END $$;

-- Every replica that may hold a lease. A standby cannot tell, until it is promoted: a renewal that
-- its primary acknowledged is on its disk and may not show yet. The reading is a statement of its
-- own, so that it sees all that came before the look at whether this is a standby.
CREATE FUNCTION keyservice.read_replicas() RETURNS SETOF keyservice.replicas
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE 'a standby does not know which replicas hold leases' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    RETURN QUERY SELECT * FROM keyservice.replicas;
END $$;

-- As before, and with the revision of the first key's write when the request id was used before.
CREATE OR REPLACE FUNCTION keyservice.create_key(
    p_key_id uuid, p_digest bytea, p_account_id text, p_name text, p_preview text, p_domain text,
    p_request_id text, p_create_time timestamptz, p_expire_time timestamptz,
    OUT revision bigint, OUT first_key_id uuid)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_next bigint := keyservice.begin_write();
BEGIN
    SELECT k.key_id, k.create_revision INTO first_key_id, revision FROM keyservice.keys k
    WHERE k.account_id COLLATE "C" = p_account_id AND k.request_id COLLATE "C" = p_request_id
    FOR UPDATE;  -- a write, for the reason that revoke_key has
    IF FOUND THEN
        RETURN;
    END IF;
    revision := v_next;
    INSERT INTO keyservice.keys
        (key_id, digest, account_id, name, preview, domain, request_id, create_time, expire_time,
         create_revision, revision)
    VALUES
        (p_key_id, p_digest, p_account_id, p_name, p_preview, p_domain, p_request_id, p_create_time,
         p_expire_time, v_next, v_next);
    PERFORM keyservice.end_write(v_next, p_create_time, p_key_id);
END $$;
