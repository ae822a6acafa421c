//! The room for this replica's connections under each limit that holds for it.

use crate::store::postgres::rights::quoted;

/// A limit on connections.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    /// Whom it limits, and how to raise it.
    pub(super) on: Limited,
    pub(super) allowed: i64,
    /// The connections that others have: other replicas, or whoever shares the limit.
    pub(super) used: i64,
}

#[derive(Debug, Clone)]
pub(super) enum Limited {
    Role(String),
    Database(String),
    Server,
}

impl Limit {
    /// What to say if this replica's connections do not fit.
    pub(super) fn complaint(&self, connections: i64) -> Option<String> {
        let Self { on, allowed, used } = self;
        if allowed - used >= connections {
            return None;
        }
        let whom = match on {
            Limited::Role(role) => format!("the role {role}"),
            Limited::Database(database) => format!("the database {database}"),
            Limited::Server => "the server".to_owned(),
        };
        let enough = used + connections;
        let raise = match on {
            Limited::Role(role) => {
                format!("ALTER ROLE {} CONNECTION LIMIT {enough}", quoted(role))
            }
            Limited::Database(database) => {
                format!(
                    "ALTER DATABASE {} CONNECTION LIMIT {enough}",
                    quoted(database)
                )
            }
            Limited::Server => "raise max_connections".to_owned(),
        };
        Some(format!(
            "{whom} allows {allowed} connections, and others have {used} of them now, but this \
             replica may need {connections} (--pool-size and three), so calls may wait for one \
             another or fail: {raise}, or start with a smaller --pool-size"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_do_not_fit_are_a_warning_with_the_numbers() {
        let complaint = |on, allowed, used| Limit { on, allowed, used }.complaint(11);
        assert_eq!(complaint(Limited::Server, 11, 0), None);
        assert_eq!(complaint(Limited::Server, 97, 86), None);
        let whole = complaint(Limited::Server, 97, 87).expect("one too few");
        assert!(
            whole.contains("97 connections") && whole.contains("87 of them"),
            "{whole}"
        );
        let role = complaint(Limited::Role("kate".to_owned()), 8, 0).expect("too few");
        assert!(
            role.contains("ALTER ROLE \"kate\" CONNECTION LIMIT 11"),
            "{role}"
        );
        let database = complaint(Limited::Database("keys".to_owned()), 20, 11).expect("too few");
        assert!(
            database.contains("ALTER DATABASE \"keys\" CONNECTION LIMIT 22"),
            "{database}"
        );
    }
}
