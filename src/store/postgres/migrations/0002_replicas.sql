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

-- Refuses to look at a standby. It may lag behind what its primary has acknowledged: a history that
-- seems to have lost writes, a lease that seems not to be there.
CREATE FUNCTION keyservice.refuse_standby() RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE 'this server is a standby' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
END $$;

-- Whether the write at a position is among this database's. Revision 0 stands before all of them.
CREATE FUNCTION keyservice.holds(p_revision bigint, p_write_id uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT p_revision = 0 OR EXISTS (
        SELECT FROM keyservice.writes w WHERE w.revision = p_revision AND w.write_id = p_write_id)
$$;

-- What came since a position. history_holds is false when its write is not among this database's.
CREATE FUNCTION keyservice.read_changes(
    p_revision bigint, p_write_id uuid, p_limit bigint,
    OUT history_holds boolean, OUT changes keyservice.changes[])
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM keyservice.refuse_standby();
    history_holds := keyservice.holds(p_revision, p_write_id);
    changes := ARRAY(
        SELECT c FROM keyservice.changes c WHERE history_holds AND c.revision > p_revision
        ORDER BY c.revision LIMIT p_limit);
END $$;

-- Renews a replica's lease: records what its memory held completely before this call, and gives
-- what came since the position that it has got to. When the write at that position is not among this
-- database's, history_holds is false and nothing else happens.
--
-- The shared form of the writers' lock makes every renewal stand wholly before or wholly after any
-- write. Without it a renewal could read before a write and commit after the writer had looked at
-- the replicas: a fresh lease for a stale memory. As in begin_write, the lock is taken in a
-- statement of its own, so that the next ones see every write before it; and all is one call, so
-- that a replica which hangs cannot sit on the lock.
CREATE FUNCTION keyservice.renew_lease(
    p_replica_id uuid, p_name text, p_renewals bigint, p_lease_millis integer,
    p_applied_revision bigint, p_since_revision bigint, p_since_write_id uuid, p_limit bigint,
    OUT history_holds boolean, OUT changes keyservice.changes[], OUT replicas keyservice.replicas[])
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM keyservice.begin_transaction();
    PERFORM keyservice.refuse_standby();
    PERFORM pg_advisory_xact_lock_shared(1415071059, 2);
    SELECT c.history_holds, c.changes INTO history_holds, changes
    FROM keyservice.read_changes(p_since_revision, p_since_write_id, p_limit) c;
    IF NOT history_holds THEN
        RETURN;
    END IF;

    INSERT INTO keyservice.replicas AS r (replica_id, name, applied_revision, renewals, lease_millis)
    VALUES (p_replica_id, p_name, p_applied_revision, p_renewals, p_lease_millis)
    ON CONFLICT (replica_id) DO UPDATE
    SET name = excluded.name, applied_revision = excluded.applied_revision,
        renewals = excluded.renewals, lease_millis = excluded.lease_millis
    WHERE r.renewals < excluded.renewals;
    -- A call that was held up must not undo a later one, nor give a lease that nobody sees.
    IF NOT FOUND THEN
        RAISE 'a later renewal of this replica is on record' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    replicas := ARRAY(SELECT r FROM keyservice.replicas r);
END $$;

-- Every replica that may hold a lease, and which of these writes are not among this database's: for
-- those, what its replicas have applied says nothing.
CREATE FUNCTION keyservice.look_at_replicas(
    p_revisions bigint[], p_write_ids uuid[],
    OUT lost bigint[], OUT replicas keyservice.replicas[])
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM keyservice.refuse_standby();
    lost := ARRAY(
        SELECT p.revision FROM unnest(p_revisions, p_write_ids) AS p (revision, write_id)
        WHERE NOT keyservice.holds(p.revision, p.write_id));
    replicas := ARRAY(SELECT r FROM keyservice.replicas r);
END $$;
