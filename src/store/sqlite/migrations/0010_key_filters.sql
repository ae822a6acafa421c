-- Lists by any filter, each page by an index.
CREATE INDEX keys_by_preview ON keys (preview, create_revision);
CREATE INDEX keys_revoked ON keys (account_id, create_revision) WHERE revoke_time IS NOT NULL;
CREATE INDEX keys_unrevoked ON keys (account_id, create_revision) WHERE revoke_time IS NULL;
CREATE INDEX keys_expiring ON keys (account_id, create_revision)
    WHERE revoke_time IS NULL AND expire_time IS NOT NULL;
CREATE INDEX keys_suspended ON keys (account_id, create_revision)
    WHERE revoke_time IS NULL AND suspend_time IS NOT NULL;
CREATE INDEX keys_suspended_anywhere ON keys (create_revision)
    WHERE revoke_time IS NULL AND suspend_time IS NOT NULL;
