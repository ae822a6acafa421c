-- Protects the service from roles that may do no more than connect, or than read.
--
-- Every function gets a search_path of its own. Otherwise whoever may create objects in a schema of
-- the session's path could have a function or operator of theirs run in place of PostgreSQL's own,
-- with this service's rights. pg_temp stands last, because it is searched first where it is not named.
--
-- The writers' lock becomes a table's, because everybody may take an advisory lock.
--
-- Replicas of the release before may run on while this is applied: they call the same functions.
-- This transaction holds the old lock, so no call holds it at the moment of the commit. Calls that
-- have begun by then go on with the old functions, and must not pass the new ones by:
-- * a write ends in the new end_write, which takes the new lock, so that each renewal still stands
--   wholly before or wholly after the write. If another write has taken its revision meanwhile, it
--   fails, and writes nothing;
-- * a renewal fails, since it gives no renew_time, and its replica renews again.
-- The columns of replicas change, for which PostgreSQL has each session of such a replica prepare its
-- statement anew, after one error.
SELECT pg_advisory_xact_lock(1415071059, 2);

-- The writers' lock. It holds no row, ever. Writers take it in EXCLUSIVE mode, and renewals in ROW
-- SHARE mode, which conflicts with EXCLUSIVE alone. Both need the right to UPDATE this table; SELECT
-- gives neither. Dumps and VACUUM conflict with no renewal.
CREATE TABLE keyservice.writers_lock ();

-- Who could write so far can go on.
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
        EXECUTE format('GRANT UPDATE ON keyservice.writers_lock TO %s', v_writer);
    END LOOP;
END $$;

-- A lease is from 200 ms to 60 s long, as the settings allow. A row with another one would hold up
-- every write for as long as it says.
UPDATE keyservice.replicas SET
    name = left(name, 400),
    applied_revision = greatest(applied_revision, 0),
    renewals = greatest(renewals, 0),
    lease_millis = least(greatest(lease_millis, 200), 60000);
ALTER TABLE keyservice.replicas
    ADD CONSTRAINT name_length CHECK (char_length(name) <= 400),
    ADD CONSTRAINT applied_revision_range CHECK (applied_revision >= 0),
    ADD CONSTRAINT renewals_range CHECK (renewals >= 0),
    ADD CONSTRAINT lease_millis_range CHECK (lease_millis BETWEEN 200 AND 60000),
    -- By the database's clock, for people. No decision may depend on it.
    ADD COLUMN renew_time timestamptz NOT NULL DEFAULT now();
ALTER TABLE keyservice.replicas ALTER COLUMN renew_time DROP DEFAULT;

ALTER FUNCTION keyservice.begin_transaction() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION keyservice.create_key(uuid, bytea, text, text, text, text, text, timestamptz, timestamptz)
    SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION keyservice.revoke_key(uuid, bytea, text[], timestamptz)
    SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION keyservice.refuse_standby() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION keyservice.holds(bigint, uuid) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION keyservice.read_changes(bigint, uuid, bigint) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION keyservice.refuse_change() SET search_path = pg_catalog, pg_temp;

-- Begins a write: the next revision, with every earlier write visible from here on.
--
-- The lock is held to the end of the transaction, after its commit can be seen. So the next writer
-- sees this one's row, and revisions are in commit order; a sequence would hand out a lower number
-- that commits later, and a reader of "since R" would skip it.
--
-- The lock is taken in a statement of its own because, under READ COMMITTED, a statement's snapshot
-- is older than its wait for a lock; under a stricter level all statements would share that snapshot.
--
-- The other tables' locks come first. So a write that must wait for another user of a table, say one
-- that builds an index, waits without the writers' lock, which every renewal of a lease needs too.
CREATE OR REPLACE FUNCTION keyservice.begin_write() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM keyservice.begin_transaction();
    LOCK TABLE keyservice.keys, keyservice.writes IN ROW EXCLUSIVE MODE;
    LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;
    RETURN (SELECT coalesce(max(w.revision), 0) + 1 FROM keyservice.writes w);
END $$;

-- Ends a write: its row, and the wake-up of every replica once it is committed. Gives its id.
--
-- A commit fails if its notification finds the server's queue full, and any role of any of the
-- server's databases can fill it. So a write does without one while the queue is half full: the
-- replicas find it at their next renewals.
CREATE OR REPLACE FUNCTION keyservice.end_write(
    p_revision bigint, p_write_time timestamptz, p_key_id uuid)
RETURNS uuid
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_write_id uuid;
BEGIN
    -- For a write that began with the function of the release before. Any other has the lock.
    LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;
    INSERT INTO keyservice.writes (revision, write_time, key_id)
    VALUES (p_revision, p_write_time, p_key_id)
    RETURNING writes.write_id INTO v_write_id;
    IF pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('keyservice_writes', p_revision::text);
    END IF;
    RETURN v_write_id;
END $$;

-- Renews a replica's lease: records what its memory held completely before this call, and gives
-- what came since the position that it has got to. When the write at that position is not among this
-- database's, history_holds is false and nothing else happens.
--
-- The lock makes every renewal stand wholly before or wholly after any write. Without it a renewal
-- could read before a write and commit after the writer had looked at the replicas: a fresh lease for
-- a stale memory. As in begin_write, the lock is taken in a statement of its own, so that the next
-- ones see every write before it; and all is one call, so that a replica which hangs cannot sit on
-- the lock.
CREATE OR REPLACE FUNCTION keyservice.renew_lease(
    p_replica_id uuid, p_name text, p_renewals bigint, p_lease_millis integer,
    p_applied_revision bigint, p_since_revision bigint, p_since_write_id uuid, p_limit bigint,
    OUT history_holds boolean, OUT changes keyservice.changes[], OUT replicas keyservice.replicas[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM keyservice.begin_transaction();
    PERFORM keyservice.refuse_standby();
    LOCK TABLE keyservice.writers_lock IN ROW SHARE MODE;
    SELECT c.history_holds, c.changes INTO history_holds, changes
    FROM keyservice.read_changes(p_since_revision, p_since_write_id, p_limit) c;
    IF NOT history_holds THEN
        RETURN;
    END IF;

    INSERT INTO keyservice.replicas AS r
        (replica_id, name, applied_revision, renewals, lease_millis, renew_time)
    VALUES (p_replica_id, left(p_name, 400), p_applied_revision, p_renewals, p_lease_millis,
            clock_timestamp())
    ON CONFLICT (replica_id) DO UPDATE
    SET applied_revision = excluded.applied_revision, renewals = excluded.renewals,
        lease_millis = excluded.lease_millis, renew_time = excluded.renew_time
    WHERE r.renewals < excluded.renewals;
    -- A call that was held up must not undo a later one, nor give a lease that nobody sees.
    IF NOT FOUND THEN
        RAISE 'a later renewal of this replica is on record' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    replicas := ARRAY(SELECT r FROM keyservice.replicas r);
END $$;

-- Every replica that may hold a lease, and which of these writes are not among this database's: for
-- those, what its replicas have applied says nothing.
CREATE OR REPLACE FUNCTION keyservice.look_at_replicas(
    p_revisions bigint[], p_write_ids uuid[],
    OUT lost bigint[], OUT replicas keyservice.replicas[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM keyservice.refuse_standby();
    lost := ARRAY(
        SELECT p.revision FROM ROWS FROM (unnest(p_revisions), unnest(p_write_ids))
            AS p (revision, write_id)
        WHERE p.revision <> 0 AND NOT EXISTS (
            SELECT FROM keyservice.writes w
            WHERE w.revision = p.revision AND w.write_id = p.write_id));
    replicas := ARRAY(SELECT r FROM keyservice.replicas r);
END $$;
