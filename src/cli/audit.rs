//! `keyservice audit`: prints the audit records of a store.
//!
//! Promises that records are printed as they are read, some at a time, so that any number of them needs no more
//! memory, and that one which cannot be read hides no other. Must never fail because the reader of its
//! output has seen enough.

use super::{
    client::{Failure, count_of_some, refuse_preview, sentence},
    complain,
    named_store::NamedStore,
    output::{OutputFormat, Table, is_broken_pipe, to_stdout},
    shown_password::{PASSWORD_IN_ARGUMENTS, stands_in_arguments},
    times::past,
};
use crate::{
    config::StoreAddress,
    model::{
        account::AccountId,
        audit_record::{AuditQuery, AuditRecord, MethodName},
        caller_name::CallerName,
        counted::counted,
        domain::Domain,
        key::KeyId,
        printable::{printable, printable_json},
        time::Timestamp,
    },
    store::{ApplyRecord, ReadAuditError, ReadRecord, RecordOrigin, Unreadable, postgres, sqlite},
};
use clap::Args;
use serde_json::json;
use std::io::Write;
use tokio::runtime;

/// Which records to print, and how. What is left out restricts nothing.
#[derive(Debug, Args)]
pub(super) struct AuditCommand {
    #[command(flatten)]
    store: NamedStore,

    /// Only records of this time or later: a time in UTC, such as 2030-01-31 or 2030-01-31T15:00:00Z,
    /// or how long ago, such as 36h or 7days.
    #[arg(long, value_name = "TIME", value_parser = past)]
    since: Option<Timestamp>,

    /// Only records from before this time, given in the same way.
    #[arg(long, value_name = "TIME", value_parser = past)]
    until: Option<Timestamp>,

    /// Only records that name this account.
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    account: Option<AccountId>,

    /// Only records that name this key. `keyservice keys get --token-file` says which id the key of a token has.
    #[arg(long, value_name = "KEY_ID", value_parser = key_id)]
    key: Option<KeyId>,

    /// Only records that name this domain: calls that add or remove it, and those about keys that are
    /// restricted to it.
    #[arg(long, value_name = "DOMAIN", value_parser = domain)]
    domain: Option<Domain>,

    /// Only calls of this caller: its name in the credentials file, `anyone` if the service has no such
    /// file, `unknown` for all callers that are not in it, or `keyservice` for the service itself.
    #[arg(long, value_name = "NAME", value_parser = caller)]
    caller: Option<CallerName>,

    /// Only calls of this method, as records name it, such as Revoke. Give one flag for each.
    #[arg(long = "method", value_name = "METHOD", value_parser = MethodName::parse)]
    methods: Vec<MethodName>,

    /// Only so many records, the newest.
    #[arg(long, value_name = "COUNT", value_parser = count_of_some, allow_negative_numbers = true)]
    limit: Option<u32>,

    #[command(flatten)]
    format: OutputFormat,
}

impl AuditCommand {
    /// Prints the records to standard output.
    pub(super) fn run(&self) -> Result<(), Failure> {
        self.refuse_reversed()?;
        self.store.refuse_service()?;
        self.print().map_err(|error| match error {
            ReadAuditError::Open(error) => error.into(),
            error => Failure::Refused(error.to_string()),
        })
    }

    /// With the two in the wrong order, nothing would be found, as if nobody had done anything.
    fn refuse_reversed(&self) -> Result<(), Failure> {
        match (self.since, self.until) {
            (Some(since), Some(until)) if until <= since => Err(Failure::Misused(format!(
                "--until ({until}) is not later than --since ({since}): no record lies between them"
            ))),
            _ => Ok(()),
        }
    }

    fn print(&self) -> Result<(), ReadAuditError> {
        if stands_in_arguments(&self.store.address) {
            complain(PASSWORD_IN_ARGUMENTS);
        }
        if !self.store.is_named {
            let store = &self.store.address;
            complain(&format!(
                "without --store, these are the records of {store:?}"
            ));
        }
        let as_table = self.format.is_table();
        let seen_enough = |error: &ReadAuditError| matches!(error, ReadAuditError::Print(error) if is_broken_pipe(error));
        to_stdout(|output| self.print_to(output, as_table), seen_enough)
    }

    fn print_to(&self, output: &mut impl Write, as_table: bool) -> Result<(), ReadAuditError> {
        let (mut printed, mut unreadable) = (0_u64, 0);
        let mut table = Table::new(HEADINGS);
        let mut print = |origin: RecordOrigin, read: ReadRecord| {
            printed += 1;
            unreadable += u64::from(read.is_err());
            match &read {
                Ok(record) if as_table => table.add(row(record)),
                Err(unreadable) if as_table => {
                    table.print(output)?;
                    writeln!(output, "{}", printable(&unreadable.to_string()))?;
                }
                _ => writeln!(output, "{}", printable_json(&json_line(origin, &read)))?,
            }
            if printed.is_multiple_of(AT_A_TIME) {
                table.print(output)?;
            }
            Ok(())
        };
        // Whoever may insert records may give them any time, and those with times to come would stand in the
        // place of the newest.
        let end = Timestamp::now();
        self.read(&self.query(end), &mut print)?;
        let mut times_to_come = 0_u64;
        if self.until.is_none() {
            let query = AuditQuery {
                since: self.since.map_or(end, |since| since.max(end)),
                until: None,
                limit: None,
                ..self.query(end)
            };
            self.read(&query, &mut |origin, read| match read {
                Ok(_) => {
                    times_to_come += 1;
                    Ok(())
                }
                Err(_) => print(origin, read),
            })?;
        }
        table.print(output)?;
        output.flush()?;
        if as_table && printed == 0 {
            complain("no record is as asked for");
        }
        if times_to_come > 0 {
            let records = counted(times_to_come, "record");
            complain(&format!(
                "left out {records} with times to come, which a wrong clock or somebody has made up: \
                 --until 9999-12-31 shows them"
            ));
        }
        match unreadable {
            0 => Ok(()),
            some => Err(ReadAuditError::Unreadable(some)),
        }
    }

    fn read(&self, query: &AuditQuery, apply: &mut ApplyRecord<'_>) -> Result<(), ReadAuditError> {
        match &self.store.address {
            StoreAddress::Sqlite(path) => sqlite::read_audit(path, query, apply),
            StoreAddress::Postgres(address) => {
                let runtime = runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(postgres::read_audit(address.expose(), query, apply))
            }
        }
    }

    fn query(&self, end: Timestamp) -> AuditQuery {
        AuditQuery {
            since: self.since.unwrap_or(Timestamp::EPOCH),
            until: Some(self.until.unwrap_or(end)),
            account_id: self.account.clone(),
            key_id: self.key,
            domain: self.domain.clone(),
            caller: self.caller.clone(),
            methods: self.methods.clone(),
            limit: self.limit,
        }
    }
}

const HEADINGS: [&str; 11] = [
    "TIME",
    "REVISION",
    "CALLER",
    "METHOD",
    "OUTCOME",
    "CALLS",
    "KEY",
    "ACCOUNT",
    "DOMAIN",
    "SUBDOMAINS",
    "KEY_END",
];

/// After how many rows the table is printed. A column is as wide as its widest cell up to then.
const AT_A_TIME: u64 = 1000;

fn row(record: &AuditRecord) -> [String; 11] {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let subdomains = record
        .include_subdomains
        .map(|included| if included { "included" } else { "excluded" }.to_owned());
    [
        record.time.to_string(),
        or_none(record.revision.map(|revision| revision.to_string())),
        record.caller.as_str().to_owned(),
        record.method.as_str().to_owned(),
        record.outcome.as_str().to_owned(),
        record.calls.to_string(),
        or_none(record.key_id.map(|id| id.to_string())),
        or_none(record.account_id.as_ref().map(|id| id.as_str().to_owned())),
        or_none(record.domain.as_ref().map(|it| it.as_str().to_owned())),
        or_none(subdomains),
        or_none(record.key_end.map(|end| end.to_string())),
    ]
}

/// The line of each record has every field, so that a reader who has seen one knows them all.
fn json_line(origin: RecordOrigin, read: &ReadRecord) -> String {
    let record = match read {
        Ok(record) => record,
        Err(Unreadable { number, why }) => {
            return json!({"unreadable": why, "number": number}).to_string();
        }
    };
    let history = origin.history;
    let parent = history.and_then(|it| it.parent);
    format!(
        "{{\"time\":{},\"revision\":{},\"caller\":{},\"method\":{},\"account_id\":{},\"key_id\":{},\"domain\":{},\
         \"include_subdomains\":{},\"key_end\":{},\"outcome\":{},\"calls\":{},\"store_id\":{},\
         \"history_id\":{},\"history_after\":{},\"history_parent\":{}}}",
        json!(record.time.to_string()),
        json!(record.revision),
        json!(record.caller.as_str()),
        json!(record.method.as_str()),
        json!(record.account_id.as_ref().map(AccountId::as_str)),
        json!(record.key_id.map(|id| id.to_string())),
        json!(record.domain.as_ref().map(Domain::as_str)),
        json!(record.include_subdomains),
        json!(record.key_end.map(|end| end.to_string())),
        json!(record.outcome.as_str()),
        record.calls,
        json!(origin.store_id.map(|id| id.to_string())),
        json!(history.map(|it| it.id.to_string())),
        json!(history.map(|it| it.after)),
        json!(parent.map(|id| id.to_string()))
    )
}

fn account(text: &str) -> Result<AccountId, String> {
    AccountId::parse(text.to_owned()).map_err(sentence)
}

fn key_id(text: &str) -> Result<KeyId, String> {
    refuse_preview(text)?;
    KeyId::parse(text).map_err(sentence)
}

fn caller(text: &str) -> Result<CallerName, String> {
    CallerName::parse_recorded(text).map_err(sentence)
}

fn domain(text: &str) -> Result<Domain, String> {
    Domain::parse(text.to_owned()).map_err(sentence)
}
