-- Verified domains. A domain belongs to a pair of account and name, and its row is never deleted: one
-- that was removed has a remove_time, so that every replica learns of the removal.
--
-- Replicas of the release before may run on while this is applied and afterwards. They call the
-- functions that they know, and see a write of a domain as one of a key that nobody has.

-- The domain that a call concerned. Null: none, or not known.
--
-- First of all, because a report may be reading this table. The wait for it would otherwise add to that
-- for keyservice.writes, and renewals wait from then on.
ALTER TABLE keyservice.audit
    ADD COLUMN domain text,
    -- The rows of before have none, so they need not be read.
    ADD CONSTRAINT domain_length CHECK (char_length(domain) <= 400) NOT VALID,
    -- A record of any other time would not be found when all are read.
    ADD CONSTRAINT time_range CHECK (
        time >= '1970-01-01 00:00:00+00' AND time < '10000-01-01 00:00:00+00') NOT VALID;

CREATE TABLE keyservice.domains (
    account_id         text        COLLATE "C" NOT NULL,
    domain             text        COLLATE "C" NOT NULL,
    include_subdomains boolean     NOT NULL,
    create_time        timestamptz NOT NULL,  -- when the account first had it
    verify_time        timestamptz NOT NULL,  -- when it was added, and not removed since
    remove_time        timestamptz,           -- null: verified
    revision           bigint      NOT NULL UNIQUE
        REFERENCES keyservice.writes (revision) DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (account_id, domain),
    -- All limits of the service are lower.
    CONSTRAINT text_lengths CHECK (char_length(account_id) <= 400 AND char_length(domain) <= 400)
);

CREATE TRIGGER next_revision BEFORE INSERT OR UPDATE OF revision ON keyservice.domains
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_other_revision();

-- Tells whether another account has a domain.
CREATE INDEX domains_by_name ON keyservice.domains (domain) WHERE remove_time IS NULL;

-- A write is one of a key or of a domain. The rows of before are of keys: to check them again would
-- hold up renewals for as long as it takes to read them all.
ALTER TABLE keyservice.writes
    ALTER COLUMN key_id DROP NOT NULL,
    ADD COLUMN account_id text COLLATE "C",
    ADD COLUMN domain text COLLATE "C",
    ADD CONSTRAINT one_subject CHECK (
        num_nonnulls(key_id, domain) = 1 AND num_nonnulls(account_id, domain) <> 1) NOT VALID,
    ADD CONSTRAINT domain_exists FOREIGN KEY (account_id, domain)
        REFERENCES keyservice.domains (account_id, domain) NOT VALID;

-- What a replica must know of a key or a domain, with the position of its last write.
--
-- The LIMITs keep PostgreSQL from joining in another way than row by row. To merge the tables, it would
-- read each of them from its first revision on, whatever revision is asked for.
CREATE VIEW keyservice.states AS
SELECT w.revision, w.write_id,
       k.key_id, k.digest, k.expire_time, k.revoke_time IS NOT NULL AS revoked,
       coalesce(k.account_id, d.account_id) AS account_id, coalesce(k.domain, d.domain) AS domain,
       d.include_subdomains, d.remove_time IS NOT NULL AS removed
FROM keyservice.writes w
LEFT JOIN LATERAL (SELECT * FROM keyservice.keys k WHERE k.revision = w.revision LIMIT 1) k ON true
LEFT JOIN LATERAL (SELECT * FROM keyservice.domains d WHERE d.revision = w.revision LIMIT 1) d ON true
WHERE k.key_id IS NOT NULL OR d.domain IS NOT NULL;

-- For replicas of the release before, which know keys alone and must apply every write: a write of a
-- domain is that of a revoked key with a digest of zeros, which no token has.
CREATE OR REPLACE VIEW keyservice.changes AS
SELECT coalesce(k.key_id, '00000000-0000-0000-0000-000000000000') AS key_id,
       coalesce(k.digest, decode(repeat('00', 32), 'hex')) AS digest,
       coalesce(k.account_id, 'none') AS account_id, k.domain, k.expire_time,
       k.key_id IS NULL OR k.revoke_time IS NOT NULL AS revoked, w.revision, w.write_id
FROM keyservice.writes w
LEFT JOIN LATERAL (SELECT * FROM keyservice.keys k WHERE k.revision = w.revision LIMIT 1) k ON true
LEFT JOIN LATERAL (SELECT * FROM keyservice.domains d WHERE d.revision = w.revision LIMIT 1) d ON true
WHERE k.key_id IS NOT NULL OR d.domain IS NOT NULL;

-- Who could write keys can write domains.
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
            'GRANT SELECT, INSERT, UPDATE (include_subdomains, verify_time, remove_time, revision) '
            'ON keyservice.domains TO %s', v_writer);
        EXECUTE format('GRANT SELECT ON keyservice.states TO %s', v_writer);
    END LOOP;
END $$;

-- Begins a write, as before, with the lock on one more table.
CREATE OR REPLACE FUNCTION keyservice.begin_write() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM keyservice.begin_transaction();
    LOCK TABLE keyservice.keys, keyservice.domains, keyservice.writes IN ROW EXCLUSIVE MODE;
    LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;
    PERFORM set_config('lock_timeout', '500ms', true);
    RETURN (SELECT coalesce(max(w.revision), 0) + 1 FROM keyservice.writes w);
END $$;

-- Ends a write of a domain: its row. Gives its id.
CREATE FUNCTION keyservice.end_write(
    p_revision bigint, p_write_time timestamptz, p_account_id text, p_domain text)
RETURNS uuid
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_write_id uuid;
BEGIN
    INSERT INTO keyservice.writes (revision, write_time, account_id, domain)
    VALUES (p_revision, p_write_time, p_account_id, p_domain)
    RETURNING writes.write_id INTO v_write_id;
    RETURN v_write_id;
END $$;

-- Whether a domain is verified for an account: by itself, or by one of the names above it.
CREATE FUNCTION keyservice.is_verified(p_account_id text, p_domain text, p_parents text[])
RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM keyservice.domains d
        WHERE d.account_id = p_account_id AND d.domain = ANY (p_parents || p_domain)
          AND d.remove_time IS NULL AND (d.include_subdomains OR d.domain = p_domain))
$$;

-- Stores a key, as the function of the release before, unless its domain must be verified and is not.
-- Then it gives nulls. It need not be where p_parents, the names above the domain, is null.
CREATE FUNCTION keyservice.create_key(
    p_key_id uuid, p_digest bytea, p_account_id text, p_name text, p_preview text, p_domain text,
    p_parents text[], p_request_id text, p_create_time timestamptz, p_expire_time timestamptz,
    OUT revision bigint, OUT write_id uuid, OUT first_key_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := keyservice.begin_write();
BEGIN
    SELECT k.key_id, k.create_revision, w.write_id INTO first_key_id, revision, write_id
    FROM keyservice.keys k JOIN keyservice.writes w ON w.revision = k.create_revision
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
        (key_id, digest, account_id, name, preview, domain, request_id, create_time, expire_time,
         create_revision, revision)
    VALUES
        (p_key_id, p_digest, p_account_id, p_name, p_preview, p_domain, p_request_id, p_create_time,
         p_expire_time, v_next, v_next);
    revision := v_next;
    write_id := keyservice.end_write(v_next, p_create_time, p_key_id);
END $$;

-- Adds a domain to an account, or changes include_subdomains of one that it has. Gives the domain's row
-- and its last write. If there is nothing to change, the row is locked, as in create_key and for the same
-- reason. is_shared tells whether another account has the domain too.
CREATE FUNCTION keyservice.add_domain(
    p_account_id text, p_domain text, p_include_subdomains boolean, p_time timestamptz,
    OUT added keyservice.domains, OUT write_id uuid, OUT is_shared boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := keyservice.begin_write();
BEGIN
    is_shared := EXISTS (
        SELECT FROM keyservice.domains d
        WHERE d.domain = p_domain AND d.account_id <> p_account_id AND d.remove_time IS NULL);
    SELECT * INTO added FROM keyservice.domains d
    WHERE d.account_id = p_account_id AND d.domain = p_domain
    FOR UPDATE;
    IF added.remove_time IS NULL AND added.include_subdomains = p_include_subdomains THEN
        SELECT w.write_id INTO write_id FROM keyservice.writes w WHERE w.revision = added.revision;
        RETURN;
    END IF;
    INSERT INTO keyservice.domains AS d
        (account_id, domain, include_subdomains, create_time, verify_time, revision)
    VALUES (p_account_id, p_domain, p_include_subdomains, p_time, p_time, v_next)
    ON CONFLICT (account_id, domain) DO UPDATE
    SET include_subdomains = excluded.include_subdomains,
        verify_time = CASE WHEN d.remove_time IS NULL THEN d.verify_time ELSE p_time END,
        remove_time = NULL, revision = v_next
    RETURNING * INTO added;
    write_id := keyservice.end_write(v_next, p_time, p_account_id, p_domain);
END $$;

-- Removes a domain from an account, and gives the write that removed it; nulls if the account has never
-- had it. If it was removed before, its row is locked, as in create_key and for the same reason.
CREATE FUNCTION keyservice.remove_domain(
    p_account_id text, p_domain text, p_time timestamptz, OUT revision bigint, OUT write_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := keyservice.begin_write();
    v_remove_time timestamptz;
BEGIN
    SELECT d.revision, d.remove_time INTO revision, v_remove_time FROM keyservice.domains d
    WHERE d.account_id = p_account_id AND d.domain = p_domain
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_remove_time IS NOT NULL THEN
        SELECT w.write_id INTO write_id FROM keyservice.writes w
        WHERE w.revision = remove_domain.revision;
        RETURN;
    END IF;
    UPDATE keyservice.domains d SET remove_time = p_time, revision = v_next
    WHERE d.account_id = p_account_id AND d.domain = p_domain;
    revision := v_next;
    write_id := keyservice.end_write(v_next, p_time, p_account_id, p_domain);
END $$;

-- Takes the names below a domain from an account, and gives the write that did it; nulls if the account
-- does not have them.
CREATE FUNCTION keyservice.remove_subdomains(
    p_account_id text, p_domain text, p_time timestamptz, OUT revision bigint, OUT write_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_next bigint := keyservice.begin_write();
BEGIN
    UPDATE keyservice.domains d SET include_subdomains = false, revision = v_next
    WHERE d.account_id = p_account_id AND d.domain = p_domain
      AND d.remove_time IS NULL AND d.include_subdomains;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    revision := v_next;
    write_id := keyservice.end_write(v_next, p_time, p_account_id, p_domain);
END $$;

-- What came since a revision. The head is the last write at that moment. history_holds is false when the
-- reader's head, up to which it has read, is not among the writes of this database: the last states
-- leave out the states before them, so they count only together with the head that came with them.
--
-- The plan must be made for the revision: for any revision, PostgreSQL would expect so many rows that it
-- would compile the plan first, which takes longer than to read them.
CREATE FUNCTION keyservice.read_states(
    p_since_revision bigint, p_head_revision bigint, p_head_write_id uuid, p_limit bigint,
    OUT history_holds boolean, OUT head_revision bigint, OUT head_write_id uuid,
    OUT states keyservice.states[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    PERFORM keyservice.refuse_standby();
    history_holds := keyservice.holds(p_head_revision, p_head_write_id);
    IF NOT history_holds THEN
        RETURN;
    END IF;
    -- One statement, so that both are of one moment.
    SELECT w.revision, w.write_id, s.states INTO head_revision, head_write_id, states
    FROM (SELECT ARRAY(
        SELECT s FROM keyservice.states s WHERE s.revision > p_since_revision
        ORDER BY s.revision LIMIT p_limit)) s (states)
    LEFT JOIN keyservice.writes w ON w.revision = (SELECT max(x.revision) FROM keyservice.writes x);
END $$;

-- Renews a replica's lease, as renew_lease of the release before, and gives domains too. What that
-- function says of the lock and of the order of its statements holds here.
CREATE FUNCTION keyservice.renew(
    p_replica_id uuid, p_name text, p_renewals bigint, p_lease_millis integer,
    p_applied_revision bigint, p_since_revision bigint, p_head_revision bigint, p_head_write_id uuid,
    p_limit bigint,
    OUT history_holds boolean, OUT head_revision bigint, OUT head_write_id uuid,
    OUT states keyservice.states[], OUT replicas keyservice.replicas[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM keyservice.begin_transaction();
    PERFORM keyservice.refuse_standby();
    LOCK TABLE keyservice.writers_lock IN ROW SHARE MODE;
    SELECT s.history_holds, s.head_revision, s.head_write_id, s.states
    INTO history_holds, head_revision, head_write_id, states
    FROM keyservice.read_states(p_since_revision, p_head_revision, p_head_write_id, p_limit) s;
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
    IF NOT FOUND THEN
        RAISE 'a later renewal of this replica is on record' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    replicas := ARRAY(SELECT r FROM keyservice.replicas r);
END $$;
