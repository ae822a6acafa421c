-- Tells which write an audit record is about, and gives those who read the records a schema of their own.
--
-- Replicas of the release before may run on while this is applied and afterwards: they name the columns
-- that they fill.

-- The write that made things as the call left them. Null: the call wrote nothing, or the record is of the
-- release before.
ALTER TABLE keyservice.audit
    ADD COLUMN revision bigint,
    ADD CONSTRAINT number_range CHECK (number > 0) NOT VALID,
    ADD CONSTRAINT revision_range CHECK (revision > 0) NOT VALID;

-- The service's role may insert records, and whoever has its password may too. A record of a write that is
-- still to come would be taken for that write's own. It is no foreign key, because old writes go and their
-- records stay.
CREATE FUNCTION keyservice.refuse_unwritten_revision() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_revision bigint := (SELECT max(a.revision) FROM added a);
BEGIN
    -- A batch stores the records of its keys before its writes, which no key may lack at the end.
    IF v_revision > greatest(
        (SELECT max(w.revision) FROM keyservice.writes w), (SELECT max(k.revision) FROM keyservice.keys k), 0)
    THEN
        RAISE 'keyservice.writes has no revision % yet', v_revision
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER written_revision AFTER INSERT ON keyservice.audit REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION keyservice.refuse_unwritten_revision();

-- CREATE CONSTRAINT TRIGGER locks its tables before it looks at the rights on them. So whoever may use a
-- schema can lock all its tables for as long as he likes, those too of which he may read nothing. Nothing
-- that serves calls reads these views.
CREATE SCHEMA keyservice_audit;

CREATE VIEW keyservice_audit.records AS
SELECT number, time, revision, calls, caller, method, account_id, key_id, domain, include_subdomains, outcome
FROM keyservice.audit;

CREATE VIEW keyservice_audit.migrations AS SELECT number FROM keyservice.migrations;
