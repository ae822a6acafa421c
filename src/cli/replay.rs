//! `keyservice replay`: writes again what a restored store has lost and what took rights away, by the service's log or
//! exported audit records.
//!
//! Promises that it writes nothing if a line is malformed, unless it is told to go on without it, and
//! that it says what is missing. Must never print a line that it has read.

use super::{
    client::Failure,
    complain,
    known_by_store::knows_any,
    named_store::NamedStore,
    output::{OutputFormat, is_broken_pipe, to_stdout},
    replay_findings::{Summary, is_complete, json_line, omissions, report_missing, sentence},
    shown_password::{PASSWORD_IN_ARGUMENTS, stands_in_arguments},
};
use crate::{
    config::StoreAddress,
    model::{
        audit_record::AuditQuery,
        counted::counted,
        printable::{printable, printable_json},
        time::{LeaseTerm, Timestamp},
        token::Digester,
    },
    replay::{
        Original,
        histories::Histories,
        input::{Input, MAX_WRITES},
        loss::loss,
        plan::Plan,
        replayer::{Finding, NewHistory, Replayer},
        stored_writes::StoredWrites,
    },
    replication::acknowledgement::{Acknowledgements, Unacknowledged},
    serve::read_digest_secret,
    store::{
        OpenError, Position, Presence, ReadRecord, RecordOrigin, ReplicaId, RestoredStore,
        Revision, Store,
        postgres::{self, PoolSettings, PostgresStore},
        sqlite::{self, SqliteStore},
    },
};
use clap::Args;
use std::{
    error::Error,
    fs::File,
    io::{self, BufReader, Write as _},
    path::PathBuf,
    time::Duration,
};
use tokio::runtime;
use uuid::Uuid;

/// What to read, and where to write.
#[derive(Debug, Args)]
pub(super) struct ReplayCommand {
    #[command(flatten)]
    store: NamedStore,

    /// The file of the service's --digest-secret-file, if it has one. No token is digested, but a store is opened with
    /// its own secret only.
    #[arg(long, env = "KEYSERVICE_DIGEST_SECRET_FILE", value_name = "FILE")]
    digest_secret_file: Option<PathBuf>,

    /// Print what would be written, and write none of it. The store is still brought to this release.
    #[arg(long)]
    dry_run: bool,

    /// Go on without the lines that are malformed. It allows nothing else: the command still fails if by the revisions
    /// of the others a write is missing.
    #[arg(long)]
    incomplete: bool,

    /// Take lines that carry the id of another store, and lines without an id that name no key and no account which
    /// this store knows.
    #[arg(long)]
    any_store: bool,

    #[command(flatten)]
    format: OutputFormat,

    /// Logs of the service in JSON, or output of `keyservice audit --output json`, in any order. `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Limits on the store, of which nothing depends on being quick.
const LIMIT: Duration = Duration::from_secs(10);

/// The term of the lease of a process that has none.
const TERM: Duration = Duration::from_secs(2);

impl ReplayCommand {
    /// Reads the lines, and writes what they tell and the store lacks.
    pub(super) fn run(&self) -> Result<(), Box<dyn Error>> {
        self.store.refuse_service()?;
        if stands_in_arguments(&self.store.address) {
            complain(PASSWORD_IN_ARGUMENTS);
        }
        let input = self.read()?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.replay(&input))
    }

    fn read(&self) -> Result<Input, Failure> {
        let mut input = Input::new(MAX_WRITES);
        for path in &self.files {
            let name = path.display().to_string();
            let read = if name == "-" {
                input.read("standard input", io::stdin().lock())
            } else {
                let opened = File::open(path).map(BufReader::new);
                opened.and_then(|file| input.read(&name, file))
            };
            read.map_err(|error| Failure::Misused(format!("cannot read {name}: {error}")))?;
        }
        for malformed in &input.malformed {
            complain(&format!(
                "{}, line {}: {}",
                malformed.file, malformed.line, malformed.why
            ));
        }
        let malformed = input.malformed_count;
        let more = malformed - input.malformed.len() as u64;
        if more > 0 {
            complain(&format!("and {}", counted(more, "more such line")));
        }
        if malformed > 0 && !self.incomplete {
            return Err(Failure::Misused(format!(
                "found {}, so nothing was written: give the whole files, or --incomplete to go on without",
                counted(malformed, "malformed line")
            )));
        }
        if input.events().is_empty() {
            return Err(Failure::Misused(format!(
                "none of {} tells of a write: give the JSON log of the service, or the output of `keyservice \
                 audit --output json`",
                counted(input.lines, "line")
            )));
        }
        Ok(input)
    }

    async fn replay(&self, input: &Input) -> Result<(), Box<dyn Error>> {
        let secret = self.digest_secret_file.as_deref();
        let secret = secret.map(read_digest_secret).transpose()?;
        let digester = Digester::new(secret.as_deref());
        // Before the records are read, since it brings them to this release. They are read without it: SQLite's file
        // is read in another way than it is served.
        let repeatable = input
            .first_repeatable()
            .map(|first| (first.saturating_add(1), Timestamp::MAX));
        let (store, first_repeatable) = self.open(&digester, repeatable).await?;
        self.refuse_lines_of_another_store(input, store.identity.store_id)?;
        let chain = store.histories.histories().await?;
        drop(store);
        let mut stored = StoredWrites::new(input);
        let since = first_repeatable.map_or(Timestamp::MAX, |first| first.time);
        self.read_records(&mut stored, input.since().min(since))
            .await?;
        // Before it is opened: to close another handle on SQLite's file would release the locks.
        let restored = self.find_restored().await?;
        let histories = Histories::new(chain, input);
        let loss = loss(&stored, &histories);
        let (store, last_stored) = self.open(&digester, Some(loss)).await?;
        if !self.any_store && !knows_any(&store, input, &stored).await? {
            return Err(Failure::Refused(UNKNOWN.to_owned()).into());
        }
        let plan = Plan::of(&stored, &histories, last_stored);
        let mut summary = Summary::default();
        // Others may write to a store that was accepted, so no history can have the writes of a replay alone.
        let omissions = omissions(input, &plan);
        let is_complete = is_complete(&plan, &omissions);
        let history = restored.is_some().then_some(NewHistory {
            replayed_until: plan.lost_until.filter(|_| is_complete),
        });
        let written = self.write(&store, &plan, history, &mut summary).await?;
        let acknowledged = match written {
            Some(last) => wait_until_acknowledged(&store, last).await,
            None => Ok(()),
        };
        drop(store);
        summary.tell(self.dry_run);
        if let Some(until) = input.until {
            complain(&format!(
                "the last line that was read is of {until}: a write after that is not known here"
            ));
        }
        if let Err(error) = acknowledged {
            return Err(Failure::Unavailable(format!(
                "the writes stand, but {error}: replicas that run may not decide by them yet"
            ))
            .into());
        }
        report_missing(&histories, &plan, &omissions);
        let last_write = restored.and_then(|restored| restored.last_write);
        if stored.lost().is_empty() && input.until < last_write {
            return Err(Failure::Refused(NOTHING_LATER.to_owned()).into());
        }
        if summary.failed > 0 {
            let failed = counted(summary.failed, "write");
            let failed = format!("{failed} could not be made: run it again");
            return Err(Failure::Refused(failed).into());
        }
        if !is_complete {
            let done = if self.dry_run {
                "nothing was written, and the lines"
            } else {
                "what the lines tell is written, but they"
            };
            return Err(Failure::Refused(format!(
                "{done} do not tell everything: give the logs of all replicas, from before the backup to the end, or \
                 exported audit records"
            ))
            .into());
        }
        Ok(())
    }

    fn refuse_lines_of_another_store(&self, input: &Input, own: Uuid) -> Result<(), Failure> {
        let Some((other, lines)) = input.of_another_store(own) else {
            return Ok(());
        };
        if self.any_store {
            return Ok(());
        }
        let others = match lines.lines - 1 {
            0 => String::new(),
            others => format!(", as {}", counted(others, "other line")),
        };
        Err(Failure::Refused(format!(
            "{}, line {}: this is about the store {other}{others}, and the store here is {own}, so nothing was written: \
             give those lines alone whose `store_id` is that of this store. A backup from before stores had ids gets one \
             of its own: if it is that, give --any-store",
            lines.file, lines.line,
        )))
    }

    async fn write(
        &self,
        store: &Store,
        plan: &Plan<'_>,
        history: Option<NewHistory>,
        summary: &mut Summary,
    ) -> Result<Option<Position>, Box<dyn Error>> {
        let as_table = self.format.is_table();
        let mut lines = Vec::new();
        let report = |finding: &Finding<'_>| {
            summary.add(finding);
            lines.push(if as_table {
                printable(&sentence(finding, self.dry_run)).into_owned()
            } else {
                printable_json(&json_line(finding, self.dry_run)).into_owned()
            });
        };
        let replayer = Replayer::new(store, plan, self.dry_run, report);
        let written = replayer.run(history).await;
        // What was done is told, whatever came after it.
        let printed = to_stdout(
            |output| lines.iter().try_for_each(|line| writeln!(output, "{line}")),
            is_broken_pipe,
        );
        let written = written?;
        printed?;
        Ok(written)
    }

    /// What is known of the store, if nobody has accepted it since it was restored.
    async fn find_restored(&self) -> Result<Option<RestoredStore>, OpenError> {
        match &self.store.address {
            StoreAddress::Sqlite(path) => sqlite::find_restored(path),
            StoreAddress::Postgres(address) => postgres::find_restored(address.expose()).await,
        }
    }

    /// Opens the store. Gives its last write from before a loss too.
    async fn open(
        &self,
        digester: &Digester,
        loss: Option<(i64, Timestamp)>,
    ) -> Result<(Store, Option<Original>), Box<dyn Error>> {
        let (first, until) = loss.unwrap_or((0, Timestamp::EPOCH));
        let first = Revision::from_number(first);
        let (store, last): (Store, _) = match &self.store.address {
            StoreAddress::Sqlite(path) => {
                if let Presence::Nothing(address) = SqliteStore::look(path) {
                    return Err(cannot_open(OpenError::Missing(address)));
                }
                let store = SqliteStore::open_restored(path, digester).map_err(cannot_open)?;
                let last = store.last_write_before(first, until).await?;
                (store.into(), last)
            }
            StoreAddress::Postgres(address) => {
                let address = address.expose();
                if let Presence::Nothing(address) = PostgresStore::look(address, LIMIT).await? {
                    return Err(cannot_open(OpenError::Missing(address)));
                }
                let settings = PoolSettings {
                    pool_size: 2,
                    connect_timeout: LIMIT,
                    acquire_timeout: LIMIT,
                    statement_timeout: LIMIT,
                    lease_statement_timeout: LIMIT,
                };
                let opened = PostgresStore::open_restored(address, settings, digester).await;
                let store = opened.map_err(cannot_open)?;
                let last = store.last_write_before(first, until).await?;
                (store.into(), last)
            }
        };
        let last = last.map(|(revision, time)| Original {
            revision: revision.number(),
            time,
        });
        Ok((store, last))
    }

    async fn read_records(
        &self,
        stored: &mut StoredWrites<'_>,
        since: Timestamp,
    ) -> Result<(), Box<dyn Error>> {
        let query = AuditQuery {
            methods: Vec::new(),
            since,
            until: None,
            account_id: None,
            key_id: None,
            domain: None,
            caller: None,
            limit: None,
        };
        let mut note = |origin: RecordOrigin, read: ReadRecord| -> io::Result<()> {
            // A record that cannot be read does not count. The worst that follows is that a denial is written twice.
            if let Ok(record) = read {
                stored.note(&record, origin.history.map(|history| history.id));
            }
            Ok(())
        };
        match &self.store.address {
            StoreAddress::Sqlite(path) => sqlite::read_audit(path, &query, &mut note)?,
            StoreAddress::Postgres(address) => {
                let read = postgres::read_audit(address.expose(), &query, &mut note).await;
                read.map_err(|error| Failure::Refused(format!("{error}; {ROLE}")))?;
            }
        }
        Ok(())
    }
}

/// Another digest secret is a mistake in the command, and nothing was written.
fn cannot_open(error: OpenError) -> Box<dyn Error> {
    match error {
        OpenError::OtherDigestSecret(_) => Failure::Misused(error.to_string()).into(),
        error => Failure::from(error).into(),
    }
}

const NOTHING_LATER: &str = "the lines end before the last write of the store, and tell of none that it lacks: give the log \
                             from the backup to the end, which tells what came after";

const UNKNOWN: &str = "no line says which store it is about, and this store knows none of the keys and accounts that \
                       they name, so nothing was written: check that the lines are those of this store. If they are, \
                       give --any-store";

const ROLE: &str =
    "the role must be one that may read the records and write, such as the owner of the tables";

/// Waits until every replica that runs decides by the write. This process is none.
async fn wait_until_acknowledged(store: &Store, write: Position) -> Result<(), Unacknowledged> {
    let own = ReplicaId::from_uuid(Uuid::from_u128(rand::random()));
    let acknowledgements = Acknowledgements::new(store.replicas.clone(), own, LeaseTerm::new(TERM));
    acknowledgements.set_applied(Revision::from_number(i64::MAX));
    acknowledgements.wait_until_acknowledged(write).await
}
