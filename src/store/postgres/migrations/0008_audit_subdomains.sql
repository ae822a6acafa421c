-- What an AddDomain said of the names below the domain, so that a report tells a domain that was widened
-- from one that was narrowed. Null: another call, or one of the release before.
--
-- Replicas of the release before may run on while this is applied and afterwards: they name the columns
-- that they fill.
ALTER TABLE keyservice.audit ADD COLUMN include_subdomains boolean;
