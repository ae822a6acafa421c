-- Tells which write an audit record is about, and gives those who read the records a schema of their own.
--
-- Replicas of the release before may run on while this is applied and afterwards: they name the columns
-- that they fill.

-- The write that made things as the call left them. Null: the call wrote nothing, or the record is of the
-- release before.
ALTER TABLE keyservice.audit ADD COLUMN revision bigint;

-- CREATE CONSTRAINT TRIGGER locks its tables before it looks at the rights on them. So whoever may use a
-- schema can lock all its tables for as long as he likes, those too of which he may read nothing. Nothing
-- that serves calls reads these views.
CREATE SCHEMA keyservice_audit;

CREATE VIEW keyservice_audit.records AS
SELECT number, time, revision, calls, caller, method, account_id, key_id, domain, include_subdomains, outcome
FROM keyservice.audit;

CREATE VIEW keyservice_audit.migrations AS SELECT number FROM keyservice.migrations;
