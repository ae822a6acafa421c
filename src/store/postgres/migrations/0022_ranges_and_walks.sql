-- Every time in a row has a range, and whoever looks for keys that are not revoked goes past no others.

-- An account whose keys for one domain are rotated has ever more of them that are revoked.
CREATE INDEX keys_unrevoked_by_domain
    ON keyservice.keys (account_id COLLATE "C", domain COLLATE "C", create_revision)
    WHERE domain IS NOT NULL AND revoke_time IS NULL;

-- As in 0014, with one more walk. Replicas of the release before do not ask for it.
CREATE OR REPLACE FUNCTION keyservice.walk_keys(
    p_walk text, p_account_id text, p_text text, p_before bigint, p_limit bigint)
RETURNS SETOF keyservice.keys
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET enable_incremental_sort = off AS $$
DECLARE
    v_account text := 'k.account_id COLLATE "C" >= $1 AND (k.account_id COLLATE "C", k.create_revision) < ($1, $3)';
    v_domain text := 'k.account_id COLLATE "C" = $1 AND k.domain COLLATE "C" >= $2 '
        'AND (k.domain COLLATE "C", k.create_revision) < ($2, $3)';
    v_order text := 'k.account_id COLLATE "C" DESC, ';
    v_which text;
BEGIN
    IF p_walk = 'LABEL' THEN
        RETURN QUERY
            SELECT k.*
            FROM (SELECT x.create_revision FROM keyservice.key_labels x
                  WHERE x.account_id = p_account_id AND x.label >= p_text
                    AND (x.label, x.create_revision) < (p_text, p_before)
                  ORDER BY x.label DESC, x.create_revision DESC LIMIT p_limit) l
            CROSS JOIN LATERAL (
                SELECT * FROM keyservice.keys x WHERE x.create_revision = l.create_revision LIMIT 1) k;
        RETURN;
    END IF;
    CASE p_walk
        WHEN 'ACCOUNT' THEN
            v_which := v_account;
        WHEN 'ACTIVE' THEN
            v_which := v_account || ' AND k.revoke_time IS NULL';
        WHEN 'REVOKED' THEN
            v_which := v_account || ' AND k.revoke_time IS NOT NULL';
        WHEN 'EXPIRED' THEN
            v_which := v_account || ' AND k.revoke_time IS NULL AND k.expire_time IS NOT NULL';
        WHEN 'SUSPENDED' THEN
            v_which := v_account || ' AND k.revoke_time IS NULL AND k.suspend_time IS NOT NULL';
        WHEN 'DOMAIN' THEN
            v_which := v_domain;
            v_order := 'k.domain COLLATE "C" DESC, ';
        WHEN 'UNREVOKED_DOMAIN' THEN
            v_which := v_domain || ' AND k.domain IS NOT NULL AND k.revoke_time IS NULL';
            v_order := 'k.domain COLLATE "C" DESC, ';
        WHEN 'PREVIEW' THEN
            v_which := '($1 IS NULL OR k.account_id COLLATE "C" = $1) AND k.preview COLLATE "C" >= $2 '
                'AND (k.preview COLLATE "C", k.create_revision) < ($2, $3)';
            v_order := 'k.preview COLLATE "C" DESC, ';
        WHEN 'SUSPENDED_ANYWHERE' THEN
            v_which := 'k.create_revision < $3 AND k.revoke_time IS NULL AND k.suspend_time IS NOT NULL';
            v_order := '';
        WHEN 'ALL' THEN
            v_which := 'k.create_revision < $3';
            v_order := '';
    END CASE;
    RETURN QUERY EXECUTE format(
        'SELECT k.* FROM keyservice.keys k WHERE %s ORDER BY %s k.create_revision DESC LIMIT $4',
        v_which, v_order)
        USING p_account_id, p_text, p_before, p_limit;
END $$;

-- As in 0009, and for the same reason. Renewals wait from here on, and not for the index above.
LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;
-- In the order in which the view feed names them, since its readers would meet this half way otherwise.
LOCK TABLE keyservice.keys, keyservice.domains, keyservice.accounts IN ACCESS EXCLUSIVE MODE;

-- As those of keys since 0016. The rows of before need not be read.
ALTER TABLE keyservice.domains
    ADD CONSTRAINT time_range CHECK (
        least(create_time, verify_time, remove_time) >= '1970-01-01 00:00:00+00'
        AND greatest(create_time, verify_time, remove_time) < '10000-01-01 00:00:00+00') NOT VALID;
ALTER TABLE keyservice.accounts
    ADD CONSTRAINT time_range CHECK (
        suspend_time >= '1970-01-01 00:00:00+00' AND suspend_time < '10000-01-01 00:00:00+00') NOT VALID;
