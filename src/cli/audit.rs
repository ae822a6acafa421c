//! Owns `keyservice audit`: reading a store's audit records, and printing them.
//! Promises that each is printed as it is read, so that no number of them needs more memory.
//! Must never end badly because whoever reads the output has seen enough.

use crate::{
    config::{AuditFormat, AuditSettings, StoreAddress},
    model::{account::AccountId, audit_record::AuditRecord},
    store::{ReadAuditError, postgres, sqlite},
};
use serde_json::json;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use tokio::runtime;

/// Prints the records that are asked for to standard output.
pub fn print(settings: &AuditSettings) -> Result<(), ReadAuditError> {
    let stdout = io::stdout().lock();
    let as_table = match settings.format {
        AuditFormat::Auto => stdout.is_terminal(),
        AuditFormat::Table => true,
        AuditFormat::Json => false,
    };
    let line = if as_table { table_line } else { json_line };
    let mut output = BufWriter::new(stdout);
    let printed = print_to(&mut output, settings, as_table, line);
    match printed {
        Err(ReadAuditError::Print(error)) if error.kind() == ErrorKind::BrokenPipe => {
            // Nor shall the buffer's end say so.
            drop(output.into_parts());
            Ok(())
        }
        printed => printed,
    }
}

fn print_to(
    output: &mut impl Write,
    settings: &AuditSettings,
    as_table: bool,
    line: fn(&AuditRecord) -> String,
) -> Result<(), ReadAuditError> {
    if as_table {
        writeln!(output, "{}", row(HEADINGS))?;
    }
    let query = settings.query();
    let mut print = |record| writeln!(output, "{}", line(&record));
    match &settings.store.address {
        StoreAddress::Sqlite(path) => sqlite::read_audit(path, &query, &mut print)?,
        StoreAddress::Postgres(address) => {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(postgres::read_audit(address, &query, &mut print))?;
        }
    }
    Ok(output.flush()?)
}

const HEADINGS: [&str; 7] = [
    "TIME", "CALLER", "METHOD", "OUTCOME", "CALLS", "KEY", "ACCOUNT",
];

/// Wide enough for what is common; a longer text moves the rest of its line, since the widest is
/// known only at the end.
fn row(cells: [&str; 7]) -> String {
    let [time, caller, method, outcome, count, key, account] = cells;
    format!(
        "{time:<27}  {caller:<16}  {method:<6}  {outcome:<18}  {count:>5}  {key:<30}  {account}"
    )
}

fn table_line(record: &AuditRecord) -> String {
    row([
        &time(record),
        record.caller.as_str(),
        record.method.as_str(),
        record.outcome.as_str(),
        &record.calls.to_string(),
        &record.key_id.map_or("-".to_owned(), |id| id.to_string()),
        record.account_id.as_ref().map_or("-", AccountId::as_str),
    ])
}

/// Every field in every line, so that who reads one knows them all.
fn json_line(record: &AuditRecord) -> String {
    format!(
        "{{\"time\":{},\"caller\":{},\"method\":{},\"account_id\":{},\"key_id\":{},\"outcome\":{},\
         \"calls\":{}}}",
        json!(time(record)),
        json!(record.caller.as_str()),
        json!(record.method.as_str()),
        json!(record.account_id.as_ref().map(AccountId::as_str)),
        json!(record.key_id.map(|id| id.to_string())),
        json!(record.outcome.as_str()),
        record.calls
    )
}

fn time(record: &AuditRecord) -> String {
    humantime::format_rfc3339_micros(record.time.to_system_time()).to_string()
}
