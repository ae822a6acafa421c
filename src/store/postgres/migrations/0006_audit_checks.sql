-- The service's role may insert records, and its password may be stolen. So no record may have texts that
-- the service would not write, which those who read the records would have to take.
--
-- The rows of before are not checked: that would hold up calls for as long as it takes to read them all.
ALTER TABLE keyservice.audit
    ADD CONSTRAINT text_lengths CHECK (
        char_length(caller) <= 400 AND char_length(account_id) <= 400) NOT VALID,
    ADD CONSTRAINT method_name CHECK (method ~ '^[A-Za-z]{1,40}$') NOT VALID,
    ADD CONSTRAINT outcome_name CHECK (outcome ~ '^[A-Z_]{1,40}$') NOT VALID;
