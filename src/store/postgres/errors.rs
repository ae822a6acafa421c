//! What PostgreSQL's answers, errors and silence mean to the store.

use crate::store::{StoreError, with_causes};
use std::{sync::Once, time::Duration};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

/// How much longer this side waits than the server's own `statement_timeout`: long enough for the
/// server to answer first, unless it cannot be reached.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// What is wrong with a pooler that does not keep sessions.
pub(super) const LOSES_STATEMENTS: &str =
    "a pooler before PostgreSQL shares sessions and loses prepared statements";

/// What to do about it.
pub(super) const KEEP_STATEMENTS: &str =
    "use it in session mode, or use PgBouncer 1.21 or later with max_prepared_statements";

/// Tells errors that may pass, of the server, the network or the moment, from those that will not.
pub(super) fn store_error(error: &tokio_postgres::Error) -> StoreError {
    if is_lost_statement(error) {
        static ADVICE: Once = Once::new();
        ADVICE.call_once(|| {
            tracing::warn!(
                "{LOSES_STATEMENTS} ({}): {KEEP_STATEMENTS}; until then calls fail",
                with_causes(error)
            );
        });
    }
    let cause = with_causes(error).into();
    match error.code() {
        Some(code) if code.code() == OLDER_REPLICA => StoreError::OlderReplica,
        Some(code) if code.code() == OTHER_STORE => {
            let found = error.as_db_error().map(|error| error.message().to_owned());
            StoreError::OtherStore(found.unwrap_or_default())
        }
        // The server did not send this error, so it arose on the way.
        None => StoreError::Unavailable(cause),
        // Somebody holds a lock.
        Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => StoreError::Busy(with_causes(error)),
        Some(code) if may_pass(code.code()) => StoreError::Unavailable(cause),
        Some(_) => StoreError::Failed(cause),
    }
}

/// Why a statement failed.
pub(super) enum Failure {
    /// The server has refused it and has done nothing of it. Of many things that the statement asked for, one
    /// alone may be the reason.
    Refused(StoreError),
    /// Nothing of it was done, because a caller of it has lost its rights.
    Disallowed,
    /// It was not sent, or it was broken off, or it is not known what became of it.
    Broken(StoreError),
}

impl Failure {
    pub(super) fn of(error: &tokio_postgres::Error) -> Self {
        // Class 57 is an operator's doing, or a time limit.
        let is_refused = |code: &SqlState| !code.code().starts_with("57");
        match error.code() {
            Some(code) if is_refused(code) => Self::Refused(store_error(error)),
            Some(_) | None => Self::Broken(store_error(error)),
        }
    }
}

impl From<StoreError> for Failure {
    /// For an error that did not come from the server.
    fn from(error: StoreError) -> Self {
        Self::Broken(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) | Failure::Broken(error) => error,
            Failure::Disallowed => StoreError::Disallowed,
        }
    }
}

/// The code of an error that this service's function `begin_change` raises.
const OLDER_REPLICA: &str = "KS001";

/// The code of an error that this service's function `check_store` raises.
const OTHER_STORE: &str = "KS002";

/// Trying again may help.
const PASSES: bool = true;

/// Somebody must mend something first.
const STAYS: bool = false;

/// Every class of errors in appendix A of PostgreSQL's manual. A session that got an error is closed,
/// so what only that session suffers from passes.
///
/// An error that refuses a connection does not come here: it may always pass.
#[rustfmt::skip]
const CLASSES: [(&str, bool); 44] = [
    ("00", STAYS), // success: no error
    ("01", STAYS), // a warning: no error
    ("02", STAYS), // no data
    ("03", STAYS), // a statement that is not complete
    ("08", PASSES), // the connection; a pooler also says so when it has none left, or had none in time
    ("09", STAYS), // a triggered action
    ("0A", STAYS), // a feature that is missing
    ("0B", STAYS), // a transaction that cannot begin
    ("0F", STAYS), // a locator
    ("0L", STAYS), // a grantor
    ("0P", STAYS), // a role's name
    ("0Z", STAYS), // diagnostics
    ("10", STAYS), // XQuery
    ("20", STAYS), // no case applies
    ("21", STAYS), // more rows than one
    ("22", STAYS), // a value that does not fit
    ("23", STAYS), // a constraint
    ("24", STAYS), // a cursor's state
    ("25", PASSES), // a transaction's state: read-only, ended by a time limit, or what a pooler left
    ("26", PASSES), // a prepared statement that the session lacks, behind a pooler
    ("27", STAYS), // a trigger that has changed the row
    ("28", PASSES), // a role or a password that a pooler cannot use, while somebody changes it
    ("2B", STAYS), // rights that depend on one another
    ("2D", STAYS), // a transaction that cannot end
    ("2F", STAYS), // a function in SQL
    ("34", STAYS), // a cursor's name
    ("38", STAYS), // a function in another language
    ("39", STAYS), // a call of such a function
    ("3B", STAYS), // a savepoint
    ("3D", PASSES), // a database that a pooler cannot find, while somebody restores or renames it
    ("3F", STAYS), // a schema's name
    ("40", PASSES), // a rollback: a deadlock, or a conflict with another transaction
    ("42", STAYS), // syntax, names and rights
    ("44", STAYS), // a view's check
    ("53", PASSES), // resources: disk, memory, connections
    ("54", STAYS), // a limit of the program
    ("55", PASSES), // an object that is in use, or not in the state that it must have
    ("57", PASSES), // an operator's doing: a statement cancelled, the server shut down or starting
    ("58", PASSES), // the system: files and devices
    ("72", PASSES), // a snapshot that is too old
    ("F0", STAYS), // the configuration file
    ("HV", STAYS), // foreign data
    ("P0", STAYS), // an exception in PL/pgSQL, which a function of this service raises for a fault
    ("XX", STAYS), // a fault in the server, or damaged data
];

/// The errors that differ from their class.
#[rustfmt::skip]
const EXCEPTIONS: [(&str, bool); 3] = [
    ("0A000", PASSES), // a plan that a migration has outdated; another session makes a new one
    ("23505", PASSES), // two writes took one revision, during a migration from the release before
    ("42P05", PASSES), // a prepared statement that the session has already, behind a pooler
];

/// A class that a later version of PostgreSQL adds is taken for a fault, so that somebody looks at it.
fn may_pass(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    let exception = EXCEPTIONS.iter().find(|(known, _)| *known == code);
    let found = exception.or_else(|| CLASSES.iter().find(|(known, _)| *known == class));
    found.is_some_and(|(_, passes)| *passes)
}

/// Whether a session does not have the prepared statement that was made in it, or has another one by
/// that name. Only a pooler can bring that about.
pub(super) fn is_lost_statement(error: &tokio_postgres::Error) -> bool {
    const CODES: [SqlState; 2] = [
        SqlState::INVALID_SQL_STATEMENT_NAME,
        SqlState::DUPLICATE_PSTATEMENT,
    ];
    error.as_db_error().is_some_and(|error| {
        CODES.contains(error.code()) || error.message().starts_with("bind message supplies")
    })
}

/// Of PostgreSQL 17 and later.
const TRANSACTION_TIMEOUT: &str = "25P04";

/// What a server, or the way to it, said to an attempt to connect, on one line.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    let said = with_causes(error);
    // The code is that of every refusal in pg_hba.conf.
    if said.contains("requires a valid client certificate") {
        return format!(
            "{said}, and this service sends none: in pg_hba.conf, let it use a password, with an entry \
             that has scram-sha-256 and no clientcert"
        );
    }
    if error.code() == Some(&SqlState::INVALID_CATALOG_NAME) {
        return format!(
            "{said}: check the name of the database in the address, and create the database if it is to have that name"
        );
    }
    // Other refusals have this code as well.
    if error.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE)
        && said.contains("not currently accepting connections")
    {
        return format!(
            "{said}: if it is the right one, let it take them with `ALTER DATABASE … ALLOW_CONNECTIONS true`"
        );
    }
    if error
        .code()
        .is_some_and(|code| code.code() == TRANSACTION_TIMEOUT)
    {
        return format!(
            "{said}: transaction_timeout is too short for a session to begin; reset it where it is set, for the \
             role, the database or the server"
        );
    }
    said
}

/// What `PgBouncer` and Supavisor say when they have too many connections, under codes that mean other
/// things too.
const POOLERS_REFUSALS: [&str; 3] = [
    "no more connections allowed",
    "max client connections reached",
    "max clients reached",
];

/// Whether a server, or a pooler before it, has refused a connection because it has too many.
pub(super) fn refuses_for_lack_of_room(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        let message = error.message().to_lowercase();
        let is_poolers = POOLERS_REFUSALS.iter().any(|part| message.contains(part));
        is_poolers || *error.code() == SqlState::TOO_MANY_CONNECTIONS
    })
}

/// The server's answer, if it comes within the limit.
pub(super) async fn answered_within<T>(
    limit: Duration,
    answer: impl Future<Output = T>,
) -> Result<T, StoreError> {
    timeout(limit, answer).await.map_err(|_| no_answer(limit))
}

pub(super) fn no_answer(limit: Duration) -> StoreError {
    let limit = humantime::format_duration(limit);
    StoreError::Unavailable(format!("PostgreSQL gave no answer within {limit}").into())
}

/// For an answer that the migrations' functions never give.
pub(super) fn unexpected(what: &'static str) -> StoreError {
    StoreError::Failed(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All codes of PostgreSQL 13 to 18, as their `errcodes.txt` has them.
    const PASSING: &str = "\
        08000 08001 08003 08004 08006 08007 08P01 0A000 23505 25000 25001 25002 25003 25004 \
        25005 25006 25007 25008 25P01 25P02 25P03 25P04 26000 28000 28P01 3D000 40000 40001 \
        40002 40003 40P01 42P05 53000 53100 53200 53300 53400 55000 55006 55P02 55P03 55P04 \
        57000 57014 57P01 57P02 57P03 57P04 57P05 58000 58030 58P01 58P02 58P03 72000";
    const STAYING: &str = "\
        00000 01000 01003 01004 01006 01007 01008 0100C 01P01 02000 02001 03000 09000 0B000 \
        0F000 0F001 0L000 0LP01 0P000 0Z000 0Z002 10608 20000 21000 22000 22001 22002 22003 \
        22004 22005 22007 22008 22009 2200B 2200C 2200D 2200F 2200G 2200H 2200L 2200M 2200N \
        2200S 2200T 22010 22011 22012 22013 22014 22015 22016 22018 22019 2201B 2201E 2201F \
        2201G 2201W 2201X 22021 22022 22023 22024 22025 22026 22027 2202E 2202G 2202H 22030 \
        22031 22032 22033 22034 22035 22036 22037 22038 22039 2203A 2203B 2203C 2203D 2203E \
        2203F 2203G 22P01 22P02 22P03 22P04 22P05 22P06 23000 23001 23502 23503 23514 23P01 \
        24000 27000 2B000 2BP01 2D000 2F000 2F002 2F003 2F004 2F005 34000 38000 38001 38002 \
        38003 38004 39000 39001 39004 39P01 39P02 39P03 3B000 3B001 3F000 42000 42501 42601 \
        42602 42611 42622 42701 42702 42703 42704 42710 42712 42723 42725 42803 42804 42809 \
        42830 42846 42883 428C9 42939 42P01 42P02 42P03 42P04 42P06 42P07 42P08 42P09 42P10 \
        42P11 42P12 42P13 42P14 42P15 42P16 42P17 42P18 42P19 42P20 42P21 42P22 44000 54000 \
        54001 54011 54023 F0000 F0001 HV000 HV001 HV002 HV004 HV005 HV006 HV007 HV008 HV009 \
        HV00A HV00B HV00C HV00D HV00J HV00K HV00L HV00M HV00N HV00P HV00Q HV00R HV010 HV014 \
        HV021 HV024 HV090 HV091 P0000 P0001 P0002 P0003 P0004 XX000 XX001 XX002";

    #[test]
    fn every_code_of_postgresql_is_known_to_pass_or_to_stay() {
        for (codes, passes) in [(PASSING, PASSES), (STAYING, STAYS)] {
            for code in codes.split_whitespace() {
                assert_eq!(may_pass(code), passes, "{code}");
                assert!(
                    CLASSES.iter().any(|(class, _)| code.starts_with(class)),
                    "{code}"
                );
            }
        }
        let all = PASSING.split_whitespace().chain(STAYING.split_whitespace());
        assert_eq!(all.count(), 263);
        assert!(!may_pass("ZZ000") && !may_pass(""));
    }
}
