-- Labels, by which people organise their keys: a JSON array of NAME=VALUE, in the order of the names.
-- Null: none.
ALTER TABLE keys ADD COLUMN labels TEXT;

-- Finds the keys that have a label, in the order in which they were created. Triggers fill it from
-- keys.labels.
CREATE TABLE key_labels (
    account_id      TEXT    NOT NULL,
    label           TEXT    NOT NULL,
    create_revision INTEGER NOT NULL,
    PRIMARY KEY (account_id, label, create_revision)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER labels_of_new_key AFTER INSERT ON keys
WHEN NEW.labels IS NOT NULL
BEGIN
    INSERT INTO key_labels SELECT NEW.account_id, value, NEW.create_revision FROM json_each(NEW.labels);
END;

CREATE TRIGGER labels_of_changed_key AFTER UPDATE OF labels ON keys
WHEN OLD.labels IS NOT NEW.labels
BEGIN
    DELETE FROM key_labels
    WHERE account_id = OLD.account_id AND create_revision = OLD.create_revision
      AND label IN (SELECT value FROM json_each(OLD.labels));
    INSERT INTO key_labels
    SELECT NEW.account_id, value, NEW.create_revision FROM json_each(NEW.labels);
END;

CREATE TRIGGER labels_of_deleted_key AFTER DELETE ON keys
WHEN OLD.labels IS NOT NULL
BEGIN
    DELETE FROM key_labels
    WHERE account_id = OLD.account_id AND create_revision = OLD.create_revision
      AND label IN (SELECT value FROM json_each(OLD.labels));
END;
