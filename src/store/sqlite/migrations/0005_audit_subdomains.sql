-- Whether an AddDomain included the names below the domain: 0 or 1. Null: another call, or one of the release
-- before. The column has no CHECK, because SQLite would read every row to add it.
ALTER TABLE audit ADD COLUMN include_subdomains INTEGER;
