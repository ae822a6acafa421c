-- Why a key was revoked. Null: nobody said.
ALTER TABLE keys ADD COLUMN revoke_reason TEXT;
