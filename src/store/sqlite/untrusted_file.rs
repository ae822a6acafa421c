//! The settings with which SQLite opens a database whose file others may have changed.
//!
//! Promises that no view, trigger, generated column, check or index of a file runs anything that reaches
//! beyond the file's own tables (<https://www.sqlite.org/security.html>). Every connection is set
//! so before it reads the file.
//!
//! `SQLITE_DBCONFIG_DEFENSIVE` is left out: it forbids statements that harm the file, and this program
//! runs no statements but its own.

use rusqlite::{Connection, config::DbConfig};

pub(super) fn distrust(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // A damaged page is an error, and not read beyond its end.
    connection.pragma_update(None, "cell_size_check", true)?;
    // There may be no folder for temporary files, or one that others may read. A large sort, as for a new
    // index, would fail.
    connection.pragma_update(None, "temp_store", "memory")
}

/// The same for a connection that only reads tables: it uses no view at all.
pub(super) fn distrust_and_read(connection: &Connection) -> rusqlite::Result<()> {
    distrust(connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{open, read_only};
    use rusqlite::Connection;
    use std::path::PathBuf;
    use tempfile::TempDir;

    /// Each uses a function or a table of SQLite's own that the SQL of a trusted file may use. In a generated
    /// column or an index, SQLite allows no such function in any file.
    const PLANTED: &str = "
        CREATE TABLE victim (number INTEGER);
        CREATE TABLE defaults (depth DEFAULT (rtreedepth(zeroblob(4))));
        CREATE VIEW view AS SELECT file FROM pragma_database_list;
        CREATE VIEW computed AS SELECT rtreedepth(zeroblob(4));
        CREATE VIEW plain AS SELECT number FROM victim;
        CREATE TABLE stolen (file TEXT);
        CREATE TRIGGER planted AFTER INSERT ON victim BEGIN
            INSERT INTO stolen SELECT file FROM pragma_database_list;
        END;";

    const VIEWS: [&str; 2] = ["SELECT * FROM view", "SELECT * FROM computed"];
    const USES: [&str; 4] = [
        VIEWS[0],
        VIEWS[1],
        "INSERT INTO victim VALUES (1)",
        "INSERT INTO defaults DEFAULT VALUES",
    ];

    fn planted() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("planted.db");
        let connection = Connection::open(&path).expect("it opens");
        connection.execute_batch(PLANTED).expect("planted");
        for using in USES {
            let used = connection.execute_batch(using);
            used.unwrap_or_else(|error| panic!("{using}: {error}"));
        }
        (directory, path)
    }

    #[test]
    fn what_is_planted_in_a_file_reaches_nothing_beyond_its_tables() {
        let (_directory, path) = planted();
        let serving = open::connect(&path).expect("it opens");
        for using in USES {
            let error = serving.execute_batch(using).expect_err(using).to_string();
            assert!(error.contains("unsafe use of"), "{using}: {error}");
        }
        let reading = read_only::connect(&path, "mode=ro").expect("it opens");
        for using in VIEWS {
            reading.execute_batch(using).expect_err(using);
        }
        let plain = reading.execute_batch("SELECT * FROM plain");
        let error = plain.expect_err("a view").to_string();
        assert!(
            error.contains("access to view \"plain\" prohibited"),
            "{error}"
        );
    }

    #[test]
    fn no_connection_makes_temporary_files() {
        let (_directory, path) = planted();
        for connection in [open::connect(&path), read_only::connect(&path, "mode=ro")] {
            let connection = connection.expect("it opens");
            let memory = connection.pragma_query_value(None, "temp_store", |row| row.get(0));
            assert_eq!(memory, Ok(2));
        }
    }

    #[test]
    fn every_connection_checks_the_pages_that_it_reads() {
        let (_directory, path) = planted();
        for connection in [open::connect(&path), read_only::connect(&path, "mode=ro")] {
            let connection = connection.expect("it opens");
            let checked = connection.pragma_query_value(None, "cell_size_check", |row| row.get(0));
            assert_eq!(checked, Ok(true));
        }
    }
}
