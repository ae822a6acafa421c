-- Protects the service from other users of the server, and from rows that its own role's password
-- would let others write.
--
-- Replicas of the release before may run on while this is applied: they call the same functions.
-- Their writes are not announced any more, so other replicas learn of them at their next renewals.

-- Begins a transaction of this service's. The rest relies on what it makes sure of, whatever the
-- session, the role's own settings or the pooler have set: each statement sees what was committed
-- before it, and a commit is on disk, and on the synchronous standbys', when it is acknowledged.
CREATE OR REPLACE FUNCTION keyservice.begin_transaction() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'keyservice needs READ COMMITTED, not %', current_setting('transaction_isolation');
    END IF;
    IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
END $$;

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
-- While it has the writers' lock, it waits no longer for anything than a lease can do without.
CREATE OR REPLACE FUNCTION keyservice.begin_write() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM keyservice.begin_transaction();
    LOCK TABLE keyservice.keys, keyservice.writes IN ROW EXCLUSIVE MODE;
    LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;
    PERFORM set_config('lock_timeout', '500ms', true);
    RETURN (SELECT coalesce(max(w.revision), 0) + 1 FROM keyservice.writes w);
END $$;

-- Ends a write: its row. Gives its id.
--
-- It sends no notification. A transaction with one takes a lock at its commit that all databases of
-- the server share, and that any role of any of them can hold. A write would wait for it with the
-- writers' lock, and every renewal would wait for the write.
CREATE OR REPLACE FUNCTION keyservice.end_write(
    p_revision bigint, p_write_time timestamptz, p_key_id uuid)
RETURNS uuid
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_write_id uuid;
BEGIN
    -- For a write that began with the functions of an old release. Any other has the lock.
    LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;
    INSERT INTO keyservice.writes (revision, write_time, key_id)
    VALUES (p_revision, p_write_time, p_key_id)
    RETURNING writes.write_id INTO v_write_id;
    RETURN v_write_id;
END $$;

-- Wakes up every replica, in a transaction of its own after a write's. It may fail: then the replicas
-- find the write at their next renewals.
--
-- The limit holds to the end of the transaction, at whose commit the lock of all notifications is
-- taken. This commit writes nothing, so it holds that lock only for a moment.
--
-- A commit fails if its notification finds the server's queue full, and any role of any of the
-- server's databases can fill it. There is none while the queue is half full.
CREATE FUNCTION keyservice.announce_writes() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('lock_timeout', '250ms', true), set_config('synchronous_commit', 'off', true);
    IF pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('keyservice_writes', (SELECT max(w.revision)::text FROM keyservice.writes w));
    END IF;
END $$;

-- The service's role may insert rows and change revisions. One row with the highest number, or with
-- the next one, would be in the way of every later write.
CREATE FUNCTION keyservice.refuse_other_revision() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := (SELECT coalesce(max(w.revision), 0) + 1 FROM keyservice.writes w);
BEGIN
    IF NEW.revision <> v_next THEN
        RAISE 'the next revision of keyservice.% is %, not %', TG_TABLE_NAME, v_next, NEW.revision
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER next_revision BEFORE INSERT OR UPDATE OF revision ON keyservice.keys
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_other_revision();
CREATE TRIGGER next_revision BEFORE INSERT ON keyservice.writes
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_other_revision();

-- A key with a revision that no write has would keep the next write from taking it.
ALTER TABLE keyservice.keys
    ADD CONSTRAINT revision_is_a_write FOREIGN KEY (revision) REFERENCES keyservice.writes (revision)
        DEFERRABLE INITIALLY DEFERRED NOT VALID,
    -- Every replica reads these texts. All limits of the service are lower.
    ADD CONSTRAINT text_lengths CHECK (
        char_length(account_id) <= 400 AND char_length(name) <= 400 AND char_length(preview) <= 400
        AND char_length(domain) <= 400 AND char_length(request_id) <= 400) NOT VALID;

-- Every renewal reads every row. Each transaction may at most fill the table up to this number, so
-- sessions that insert at the same time are what bounds it.
CREATE FUNCTION keyservice.refuse_many_replicas() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT count(*) FROM keyservice.replicas r) > 1000 THEN
        RAISE 'keyservice.replicas holds at most 1000 replicas'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER few_replicas AFTER INSERT ON keyservice.replicas
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_many_replicas();
