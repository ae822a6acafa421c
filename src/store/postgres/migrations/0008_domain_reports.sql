-- What people want to know of domains: which of them were widened, and how many keys a removal concerns.
--
-- Replicas of the release before may run on while this is applied and afterwards: they name the columns
-- that they fill.

-- What an AddDomain said of the names below the domain. Null: another call, or one of the release before.
ALTER TABLE keyservice.audit ADD COLUMN include_subdomains boolean;

-- How many of the newest keys of a domain are active, and how many were looked at, at most p_limit.
--
-- The time must have a bound, so the index keys_by_domain must give the keys in their order. PostgreSQL
-- would rather read and sort them all if it believed that there are few, or go through the newer keys of
-- all other domains if it believed that there are many. The domain is given as a range of one, because
-- then no other index has the order.
CREATE FUNCTION keyservice.count_active_keys(
    p_account_id text, p_domain text, p_time timestamptz, p_limit bigint,
    OUT active bigint, OUT looked_at bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
BEGIN
    SELECT count(*) FILTER (
               WHERE k.revoke_time IS NULL AND (k.expire_time IS NULL OR k.expire_time > p_time)),
           count(*)
    INTO active, looked_at
    FROM (SELECT x.revoke_time, x.expire_time FROM keyservice.keys x
          WHERE x.account_id COLLATE "C" = p_account_id
            AND x.domain COLLATE "C" >= p_domain AND x.domain COLLATE "C" <= p_domain
          ORDER BY x.domain COLLATE "C" DESC, x.create_revision DESC LIMIT p_limit) k;
END $$;
