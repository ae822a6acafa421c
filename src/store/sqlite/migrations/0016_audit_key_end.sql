-- When a key stops working, as an Update of it, or a Rotate that replaced it, has left it. 9223372036854775807: never.
-- Null: another call, or a record of the release before.
ALTER TABLE audit ADD COLUMN key_end INTEGER;
