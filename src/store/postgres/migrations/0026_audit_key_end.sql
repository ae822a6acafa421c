-- Tells in an audit record when a changed key stops working. So what the change took away can be taken away again
-- in a store that has lost it.
--
-- Replicas of the release before may run on while this is applied and afterwards: they name the columns that they
-- fill.

-- When a key stops working, as an Update of it, or a Rotate that replaced it, has left it. Null: another call, or a
-- record of the release before. The rows of before have none, and need not be read.
ALTER TABLE keyservice.audit
    ADD COLUMN key_end timestamptz,
    ADD CONSTRAINT key_end_range CHECK (
        key_end >= '1970-01-01 00:00:00+00' AND (key_end < '10000-01-01 00:00:00+00' OR key_end = 'infinity'))
        NOT VALID;

-- Who reads them learns of which store they are.
CREATE OR REPLACE VIEW keyservice_audit.records AS
SELECT number, time, revision, calls, caller, method, account_id, key_id, domain, include_subdomains, outcome, key_end,
    (SELECT s.store_id FROM keyservice.store_identity s) AS store_id
FROM keyservice.audit;
