-- The write that made things as the call left them. Null: the call wrote nothing, or the record is of the
-- release before.
ALTER TABLE audit ADD COLUMN revision INTEGER;
