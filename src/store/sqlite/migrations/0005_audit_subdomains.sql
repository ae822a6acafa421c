-- What an AddDomain said of the names below the domain: 0 or 1. Null: another call, or one of the release
-- before. There is no CHECK, for which every row would be read.
ALTER TABLE audit ADD COLUMN include_subdomains INTEGER;
