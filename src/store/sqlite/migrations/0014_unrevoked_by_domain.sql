-- An account whose keys for one domain are rotated has ever more of them that are revoked.
CREATE INDEX keys_unrevoked_by_domain ON keys (account_id, domain, create_revision)
    WHERE domain IS NOT NULL AND revoke_time IS NULL;
