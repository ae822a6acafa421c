-- Counts the keys of an account that are neither revoked nor expired.
CREATE INDEX keys_in_force ON keys (account_id, expire_time) WHERE revoke_time IS NULL;
