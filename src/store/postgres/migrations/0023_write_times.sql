-- A replica whose clock is far ahead of the database's can write, and a domain's form does not depend on a setting.
--
-- Replicas of the release before may run on while this is applied and afterwards.

-- As in 0009, and for the same reason.
LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;

-- The history starts at no write that is too young, so a time far ahead would stop it for as long. The check
-- time_range refuses one that is a day ahead. But a Revoke must not fail because two clocks disagree: what is stored
-- is then a time that the check takes. No decision depends on it.
CREATE FUNCTION keyservice.bound_write_time() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.write_time := now() + interval '23 hours';
    RETURN NEW;
END $$;

CREATE TRIGGER bounded_time BEFORE INSERT ON keyservice.writes FOR EACH ROW
    WHEN (NEW.write_time > now() + interval '23 hours') EXECUTE FUNCTION keyservice.bound_write_time();

-- As before, but without a backslash: where standard_conforming_strings was off, any character stood for the dot.
ALTER TABLE keyservice.keys
    DROP CONSTRAINT domain_form,
    ADD CONSTRAINT domain_form CHECK (
        char_length(domain) <= 253
        AND domain COLLATE "C" ~ '^[a-z0-9-]{1,63}([.][a-z0-9-]{1,63})*$') NOT VALID;
ALTER TABLE keyservice.domains
    DROP CONSTRAINT domain_form,
    ADD CONSTRAINT domain_form CHECK (
        char_length(domain) <= 253 AND domain ~ '^[a-z0-9-]{1,63}([.][a-z0-9-]{1,63})*$') NOT VALID;
