-- Who did what: a row for every admin call, in no order but that of the primary key. Read by time
-- alone; an index for each other way to ask would make every write dearer.
CREATE TABLE keyservice.audit (
    number     bigint      GENERATED ALWAYS AS IDENTITY,
    time       timestamptz NOT NULL,
    key_id     uuid,                -- null: none, or not known
    calls      integer     NOT NULL CHECK (calls > 0),
    caller     text        NOT NULL,
    method     text        NOT NULL,
    account_id text,                -- null: not known
    outcome    text        NOT NULL,
    PRIMARY KEY (time, number)
);

-- Says that the records before a time may be deleted, and stays when they are. A time to come, once
-- written here by mistake, would let every later record be deleted.
CREATE TABLE keyservice.audit_prunings (
    before     timestamptz PRIMARY KEY,
    prune_time timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT before_is_past CHECK (before <= prune_time)
);

CREATE FUNCTION keyservice.refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit' THEN
        IF OLD.time < (SELECT max(p.before) FROM keyservice.audit_prunings p) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE 'keyservice.% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'To delete old records, insert the time before which they may go into keyservice.audit_prunings.';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON keyservice.audit
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_change();
CREATE TRIGGER append_only_as_a_whole BEFORE TRUNCATE ON keyservice.audit
    FOR EACH STATEMENT EXECUTE FUNCTION keyservice.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON keyservice.audit_prunings
    FOR EACH ROW EXECUTE FUNCTION keyservice.refuse_change();
CREATE TRIGGER append_only_as_a_whole BEFORE TRUNCATE ON keyservice.audit_prunings
    FOR EACH STATEMENT EXECUTE FUNCTION keyservice.refuse_change();
