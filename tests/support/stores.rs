//! Stores for tests, opened as the service opens them.

use crate::support::{
    new_key,
    postgres::{Cluster, Version, session},
    server::{audit_command::record_of_a_list, sqlite_in},
};
use keyservice::{
    model::{
        account::{AccountId, Accounts},
        audit_record::AdminMethod,
        domain::Domain,
        key::{Key, KeyId, Labels, Reason, RequestId, Scope, Status, filter::KeyFilter},
        time::{LeaseTerm, Timestamp},
        token::{Digester, TokenDigest},
    },
    store::{
        Batch, BatchRevocation, ChangeFeed, CreateOutcome, DomainAddition, DomainQuery,
        DomainRemoval, KeyLookup, KeyReplacement, KeySuspension, KeyTarget, ListQuery, NewKey,
        NotCreated, NotedUse, Old, OpenError, Position, Progress, Renewal, Replaced, ReplicaId,
        Revision, Revocation, Selection, State, StillAllowed, Store, StoreError, Suspended,
        SuspensionChange, batches,
        postgres::{PoolSettings, PostgresStore},
        sqlite::SqliteStore,
    },
};
use std::{collections::HashMap, error::Error, sync::Arc, time::Duration};
use tempfile::TempDir;

/// A new and empty store that is opened twice, as by two replicas. SQLite serves only one process, so
/// both are the same there.
pub struct Stores {
    pub first: Store,
    pub second: Store,
    /// The address for `--store`.
    pub address: String,
    directory: Option<TempDir>,
    pub cluster: Option<(Arc<Cluster>, String)>,
}

impl Stores {
    pub fn sqlite() -> Self {
        let directory = super::directory();
        let path = directory.path().join("keys.db");
        let store = SqliteStore::open(&path, &Digester::new(None)).expect("it opens");
        let first = Store::from(store);
        Self {
            second: first.clone(),
            first,
            address: sqlite_in(&directory),
            directory: Some(directory),
            cluster: None,
        }
    }

    /// Closes a file, and gives the directory that it is in.
    pub fn close(self) -> TempDir {
        self.directory.expect("it is SQLite")
    }

    pub async fn postgres() -> Self {
        Self::postgres_of(Version::Installed).await
    }

    pub async fn postgres_of(version: Version) -> Self {
        Self::postgres_on(Cluster::shared_of(version)).await
    }

    pub async fn postgres_on(cluster: Arc<Cluster>) -> Self {
        let address = cluster.create_database();
        Self {
            first: open(&address).await.into(),
            second: open(&address).await.into(),
            address: address.clone(),
            directory: None,
            cluster: Some((cluster, address)),
        }
    }

    /// Runs SQL in a separate session. Returns the database's error message if it fails.
    pub async fn sql(&self, sql: &str) -> Result<(), String> {
        if let Some(file) = self.address.strip_prefix("sqlite:") {
            let file = rusqlite::Connection::open(file).expect("it opens");
            file.execute_batch(sql).map_err(|error| error.to_string())
        } else {
            let session = session(&self.address).await;
            let ran = session.batch_execute(sql).await;
            ran.map_err(|error| error.as_db_error().expect("an answer").to_string())
        }
    }

    /// The same, without the triggers by which a row changes only in a write of its own.
    pub async fn sql_without_triggers(&self, sql: &str) -> Result<(), String> {
        let without = match self.cluster {
            None => "",
            Some(_) => "SET session_replication_role = replica; ",
        };
        self.sql(&format!("{without}{sql}")).await
    }

    /// Runs SQL that the triggers of the schema would refuse.
    pub async fn sql_behind_its_back(&self, sql: &str) {
        let sql = match self.cluster {
            None => sql.to_owned(),
            Some(_) => format!("SET session_replication_role = replica; {sql}"),
        };
        self.sql(&sql).await.expect("run");
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        if let Some(file) = self.address.strip_prefix("sqlite:") {
            let file = rusqlite::Connection::open(file).expect("it opens");
            return file.query_row(&sql, [], |row| row.get(0)).expect("counted");
        }
        let sql = sql.replace("FROM ", "FROM keyservice.");
        let row = session(&self.address).await.query_one(&sql, &[]).await;
        row.expect("counted").get(0)
    }

    /// Gives the account `acme` so many keys, newer than all that there are.
    pub async fn insert_active_keys(&self, count: usize) {
        self.insert_active_keys_for("NULL", count).await;
    }

    /// The same, of keys for a domain, which is given in SQL.
    pub async fn insert_active_keys_for(&self, domain: &str, count: usize) {
        let columns = "key_id, digest, account_id, domain, name, preview, create_time, \
                       create_revision, revision";
        let many = match self.cluster {
            None => format!(
                "WITH RECURSIVE numbers (n) AS \
                     (VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) \
                 INSERT INTO keys ({columns}) \
                 SELECT randomblob(16), randomblob(32), 'acme', {domain}, 'one of many', 'tsend_', 0, last + n, last + n \
                 FROM numbers, (SELECT coalesce(max(revision), 0) AS last FROM keys)"
            ),
            Some(_) => format!(
                "INSERT INTO keyservice.keys ({columns}) \
                 SELECT gen_random_uuid(), sha256(gen_random_uuid()::text::bytea), 'acme', {domain}, 'one of many', 'tsend_', now(), \
                     last + n, last + n \
                 FROM generate_series(1, {count}) n, \
                     (SELECT coalesce(max(revision), 0) AS last FROM keyservice.keys) latest"
            ),
        };
        self.sql_without_triggers(&many).await.expect("inserted");
    }

    /// Gives the account `acme` so many keys with labels, of which few are revoked, suspended or expired, and
    /// half are for the domain `half.example`.
    pub async fn insert_labelled_keys(&self, count: usize) {
        let is_sqlite = self.cluster.is_none();
        let pick = |sqlite: &'static str, postgres| if is_sqlite { sqlite } else { postgres };
        let all = pick(r#"'["kind=all"]'"#, "'{kind=all}'::text[]");
        let oldest = pick(r#"'["kind=oldest"]'"#, "'{kind=oldest}'::text[]");
        let now = pick("1", "now()");
        let later = pick("253402300799000000", "now() + interval '1 year'");
        let id = pick("randomblob(16)", "gen_random_uuid()");
        let digest = pick("randomblob(32)", "sha256(gen_random_uuid()::text::bytea)");
        let numbers = match is_sqlite {
            true => format!(
                "(WITH RECURSIVE numbers (n) AS \
                     (VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) SELECT n FROM numbers)"
            ),
            false => format!("generate_series(1, {count}) n"),
        };
        let (before, table, after) = match is_sqlite {
            true => (
                "PRAGMA cache_size = -400000; PRAGMA synchronous = OFF;",
                self.keys_table(),
                String::new(),
            ),
            // Otherwise a key may have no revision but that of the next write. Triggers are off then.
            false => (
                "SET session_replication_role = replica;",
                self.keys_table(),
                "INSERT INTO keyservice.key_labels SELECT account_id, labels[1], create_revision FROM keyservice.keys; \
                 INSERT INTO keyservice.writes (revision, write_time, key_id) \
                 SELECT revision, now(), key_id FROM keyservice.keys ORDER BY revision DESC LIMIT 1;"
                    .to_owned(),
            ),
        };
        let insert = format!(
            "{before} INSERT INTO {table} (key_id, digest, account_id, name, create_time, create_revision, \
                 revision, labels, domain, preview, revoke_time, suspend_time, suspend_reason, expire_time) \
             SELECT {id}, {digest}, 'acme', 'one of many', {now}, n, n, \
                 CASE WHEN n = 1 THEN {oldest} ELSE {all} END, \
                 CASE WHEN n % 2 = 0 THEN 'half.example' END, \
                 CASE WHEN n = 7 THEN 'tsend_aa…zzzz' ELSE 'tsend_' || n END, \
                 CASE WHEN n % 1000 = 1 THEN {now} END, \
                 CASE WHEN n % 10000 = 2 THEN {now} END, \
                 CASE WHEN n % 10000 = 2 THEN 'abuse' END, \
                 CASE WHEN n = 4 THEN {now} WHEN n % 3 = 0 THEN {later} END \
             FROM {numbers}; {after}"
        );
        self.sql(&insert).await.expect("inserted");
        if !is_sqlite {
            self.sql("VACUUM ANALYZE").await.expect("done");
        }
    }

    /// The name of the table of keys.
    pub fn keys_table(&self) -> &'static str {
        match self.cluster {
            None => "keys",
            Some(_) => "keyservice.keys",
        }
    }

    /// The names of the two audit tables.
    pub fn audit_tables(&self) -> [&'static str; 2] {
        match self.cluster {
            None => ["audit", "audit_prunings"],
            Some(_) => ["keyservice.audit", "keyservice.audit_prunings"],
        }
    }

    /// Loads all states, with the position of the load.
    pub async fn load(&self) -> (Position, States) {
        let (position, batches) = load(&*self.first.changes).await.expect("it loads");
        let mut states = HashMap::new();
        for state in batches.into_iter().flat_map(states_in) {
            assert!(states.insert(Subject::of(&state), state).is_none());
        }
        (position, states)
    }
}

/// Loads everything, with the position of the load.
pub async fn load(changes: &dyn ChangeFeed) -> Result<(Position, Vec<Batch>), StoreError> {
    let (sender, mut receiver) = batches();
    let taking = async {
        let mut taken = Vec::new();
        while let Some(batch) = receiver.recv().await {
            taken.push(batch);
        }
        taken
    };
    let (position, taken) = tokio::join!(changes.load(sender), taking);
    Ok((position?, taken))
}

fn states_in(batch: Batch) -> Vec<State> {
    match batch {
        Batch::Keys(keys) => keys.iter().map(|key| State::Key(key.into())).collect(),
        Batch::Domains(domains) => domains.into_iter().map(State::Domain).collect(),
        Batch::Accounts(accounts) => accounts.into_iter().map(State::Account).collect(),
        Batch::KeyEstimate(_) | Batch::Uses(_) => Vec::new(),
    }
}

/// What a state is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    Key(TokenDigest),
    Domain(AccountId, Domain),
    Account(AccountId),
}

impl Subject {
    pub fn of(state: &State) -> Self {
        match state {
            State::Key(key) => Self::Key(key.digest),
            State::Domain(domain) => Self::Domain(domain.account_id.clone(), domain.domain.clone()),
            State::Account(account) => Self::Account(account.account_id.clone()),
        }
    }
}

/// Whether this is the state of a revoked key.
pub fn is_revoked(state: &State) -> bool {
    matches!(state, State::Key(key) if key.revoked)
}

pub async fn open(address: &str) -> PostgresStore {
    try_to_open(address).await.expect("it opens")
}

pub async fn try_to_open(address: &str) -> Result<PostgresStore, OpenError> {
    PostgresStore::open(address, pool_settings(), &Digester::new(None)).await
}

/// Opens a database as the replay does, which writes to it before it is accepted.
pub async fn open_restored(address: &str) -> PostgresStore {
    PostgresStore::open_restored(address, pool_settings(), &Digester::new(None))
        .await
        .expect("it opens")
}

fn pool_settings() -> PoolSettings {
    PoolSettings {
        pool_size: 8,
        connect_timeout: Duration::from_secs(10),
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(10),
        lease_statement_timeout: Duration::from_secs(10),
    }
}

/// Adds the domain of a key that must be verified, and does what else the service does with domains.
async fn use_domains(store: &Store, new: &mut NewKey) -> Result<Position, Box<dyn Error>> {
    let (account_id, name) = (new.key.account_id.clone(), "example.com".to_owned());
    let domain = Domain::parse(name)?;
    let (now, caller) = (Timestamp::now(), new.caller.clone());
    let mut addition = DomainAddition {
        account_id: account_id.clone(),
        domain: domain.clone(),
        include_subdomains: true,
        now,
        caller: caller.clone(),
        still_allowed: StillAllowed::always(),
    };
    drop(store.domains.add_domain(&addition).await?);
    let removal = DomainRemoval {
        account_id: account_id.clone(),
        domain: domain.clone(),
        now,
        caller,
        still_allowed: StillAllowed::always(),
    };
    for _ in 0..2 {
        assert!(store.domains.remove_domain(&removal).await?.is_some());
    }
    new.must_be_verified = true;
    new.max_keys = Some(1_000_000);
    let refused = store.keys.create(new).await?;
    assert_eq!(refused, Err(NotCreated::DomainNotVerified));
    addition.include_subdomains = false;
    let first = store.domains.add_domain(&addition).await?;
    let again = store.domains.add_domain(&addition).await?;
    assert_eq!(first.clone().into_parts(), again.into_parts());
    let query = DomainQuery {
        account_id: account_id.clone(),
        after: None,
        limit: 10,
        now,
    };
    let listed = store.domains.list_domains(&query).await?;
    assert_eq!(listed[0].domain, first.value().domain);
    let counted = store.domains.count_active_keys(&account_id, &domain, now);
    assert_eq!(counted.await?, listed[0].active_keys);
    Ok(first.position())
}

/// Does what the service does with one key, beside creating and revoking it, and with its account.
async fn use_key(store: &Store, new: &NewKey) -> Result<(), Box<dyn Error>> {
    let lookup = KeyLookup {
        target: KeyTarget::Digest(new.digest),
        accounts: Accounts::one(new.key.account_id.clone()),
    };
    let now = new.key.create_time;
    let reason = Reason::parse("a reason")?;
    let (_, mut successor) = new_key("acme", "a key");
    successor.request_id = Some(RequestId::parse(format!("{:?}", successor.key.id))?);
    successor.key.predecessor = Some(new.key.id);
    let rotated = KeyReplacement {
        key: Key {
            successor: Some(successor.key.id),
            labels: Labels::parse([("a".to_owned(), "c".to_owned())])?,
            ..new.key.suspended(&reason, now)?
        },
        must_be_verified: true,
        max_keys: Some(1_000_000),
        successor: Some(successor.clone()),
        method: AdminMethod::Rotate,
        now,
        caller: new.caller.clone(),
        still_allowed: StillAllowed::always(),
    };
    let replaced = store.keys.replace(&rotated).await?;
    assert!(matches!(replaced, Replaced::Replaced(_)), "{replaced:?}");
    let replaced = store.keys.replace(&rotated).await?;
    assert!(
        matches!(replaced, Replaced::RequestIdUsed(_)),
        "{replaced:?}"
    );
    let found = store.keys.get(&lookup).await?.ok_or("it is there")?;
    assert_eq!(found, rotated.key);
    for reason in [Some(reason.clone()), None] {
        let suspension = KeySuspension {
            target: KeyTarget::Id(successor.key.id),
            accounts: lookup.accounts.clone(),
            reason,
            now,
            caller: new.caller.clone(),
            still_allowed: StillAllowed::always(),
        };
        let stored = store.keys.set_key_suspension(&suspension).await?;
        assert!(matches!(stored, Suspended::Stored(_)), "{stored:?}");
    }

    let mut suspension = SuspensionChange {
        account_id: new.key.account_id.clone(),
        reason: Some(reason),
        now,
        caller: new.caller.clone(),
        still_allowed: StillAllowed::always(),
    };
    for reason in [suspension.reason.clone(), None] {
        suspension.reason = reason;
        let changed = store.accounts.set_suspension(&suspension).await?;
        assert_eq!(changed.value().is_some(), suspension.reason.is_some());
    }
    let account = store.accounts.get_account(&suspension.account_id);
    assert_eq!(account.await?.suspension, None);
    let (account_id, all) = (&suspension.account_id, Revision::from_number(i64::MAX));
    store.accounts.count_keys(account_id, now, all).await?;
    Ok(())
}

/// Revokes what is left of the account's keys, and selects, lists and counts keys in every way.
async fn use_batch(store: &Store, new: &NewKey) -> Result<(), Box<dyn Error>> {
    let target = KeyTarget::Id(new.key.id);
    let accounts = Accounts::one(new.key.account_id.clone());
    let given = Selection::new(vec![target], accounts);
    assert_eq!(store.keys.select(&given).await?.already_revoked, 1);
    let mut filter = KeyFilter {
        account_id: Some(new.key.account_id.clone()),
        ..KeyFilter::default()
    };
    let unrevoked = |filter| ListQuery {
        filter: KeyFilter {
            is_unrevoked: true,
            ..filter
        },
        after: None,
        limit: 10,
        search_len: 10,
        now: Timestamp::now(),
    };
    let selected = store.keys.list(&unrevoked(filter.clone())).await?;
    let selected = selected.ok_or("there is no page token")?.keys;
    let batch = BatchRevocation {
        key_ids: selected.iter().map(|key| key.id).collect(),
        filter: filter.clone(),
        reason: Reason::parse("a reason")?,
        now: Timestamp::now(),
        caller: new.caller.clone(),
        still_allowed: StillAllowed::always(),
    };
    assert!(
        *store.keys.batch_revoke(&batch).await?.value() > 0,
        "the successor"
    );
    filter.labels = new.key.labels.clone();
    let labelled = store.keys.list(&unrevoked(filter.clone())).await?;
    assert_eq!(labelled.ok_or("there is no page token")?.keys, []);
    let query = ListQuery {
        filter,
        after: None,
        limit: 10,
        search_len: 10,
        now: Timestamp::now(),
    };
    store
        .keys
        .list(&query)
        .await?
        .ok_or("there is no page token")?;
    store
        .keys
        .count(&query)
        .await?
        .ok_or("there is no page token")?;
    Ok(())
}

/// Opens a store and does everything with it that the service does. Returns the first error.
pub async fn use_everything(address: &str) -> Result<(), Box<dyn Error>> {
    let store = Store::from(try_to_open(address).await?);
    let (_, mut new) = new_key("acme", "a key");
    new.request_id = Some(RequestId::parse(format!("{:?}", new.key.id))?);
    new.key.scope = Scope::Domain(Domain::parse("example.com".to_owned())?);
    new.key.expire_time = Some(new.key.create_time);
    new.key.labels = Labels::parse([("a".to_owned(), "b".to_owned())])?;
    let added = use_domains(&store, &mut new).await?;
    let created = store
        .keys
        .create(&new)
        .await?
        .map_err(|_| "it is verified")?;
    let (_, created) = created.into_parts();
    let again = store
        .keys
        .create(&new)
        .await?
        .map_err(|_| "it is verified")?;
    let (again, _) = again.into_parts();
    assert!(matches!(again, CreateOutcome::RequestIdUsed { .. }));

    let (_, loaded) = load(&*store.changes).await?;
    assert!(!loaded.is_empty());
    let id = ReplicaId::from_uuid(new.key.id.as_uuid());
    let mut renewal = Renewal {
        id,
        name: "a replica".to_owned(),
        renewals: 1,
        term: LeaseTerm::LONGEST,
        applied: Revision::ZERO,
        since: Progress::at(added),
        limit: 1000,
    };
    let registry = store.replicas.clone().expect("replicas share it");
    let renewed = registry.renew(&renewal).await?;
    assert!(
        renewed
            .page
            .changes
            .iter()
            .any(|change| Subject::of(&change.state) == Subject::Key(new.digest))
    );
    use_key(&store, &new).await?;
    for time in [Timestamp::now(), Timestamp::MAX] {
        let noted = NotedUse {
            key_id: new.key.id,
            time,
            unless_since: time,
        };
        assert_eq!(store.uses.record_uses(&[noted]).await?.len(), 1);
    }
    renewal.renewals += 1;
    renewal.since = Progress::at(created);
    registry.renew(&renewal).await?;
    for target in [KeyTarget::Digest(new.digest), KeyTarget::Id(new.key.id)] {
        let revocation = Revocation {
            target,
            accounts: Accounts::one(new.key.account_id.clone()),
            now: Timestamp::now(),
            caller: new.caller.clone(),
            still_allowed: StillAllowed::always(),
        };
        assert!(store.keys.revoke(&revocation).await?.is_some());
    }
    use_batch(&store, &new).await?;
    assert!(added.revision < created.revision);
    let changes = store.changes.changes(renewal.since, 1000).await?.changes;
    assert!(changes.iter().any(|change| is_revoked(&change.state)));

    let statuses = [
        None,
        Some(Status::Active),
        Some(Status::Expired),
        Some(Status::Revoked),
        Some(Status::Suspended),
    ];
    for status in statuses {
        for domain in [None, new.key.scope.domain()] {
            let query = ListQuery {
                filter: KeyFilter {
                    account_id: Some(new.key.account_id.clone()),
                    status,
                    domain: domain
                        .map(|domain| Domain::parse(domain.to_owned()))
                        .transpose()?,
                    ..KeyFilter::default()
                },
                after: None,
                limit: 1000,
                search_len: 1000,
                now: Timestamp::now(),
            };
            let next_page = ListQuery {
                after: Some(new.key.id),
                ..query.clone()
            };
            assert!(store.keys.list(&next_page).await?.is_some());
            let listed = store.keys.list(&query).await?;
            let mut keys = listed.iter().flat_map(|listed| &listed.keys);
            let found = keys.any(|key| key.id == new.key.id);
            assert_eq!(found, matches!(status, None | Some(Status::Revoked)));
        }
    }
    let record = record_of_a_list(Timestamp::now());
    store
        .audit
        .append_records(&[record.clone(), record])
        .await?;
    let snapshot = registry.replicas(&[created]).await?;
    assert_eq!(snapshot.lost, []);
    let own = snapshot.replicas.iter().find(|replica| replica.id == id);
    assert!(registry.remove_lapsed(own.expect("it has renewed")).await?);
    registry.leave(id).await?;
    let mut old = Old {
        before: Timestamp::MAX,
        now: Timestamp::now(),
        applied: created.revision,
    };
    let raised = store.retention.raise_history_start(&old, Revision::ZERO);
    let until = raised.await?.until;
    assert!(store.retention.history_start().await? > Revision::ZERO);
    // No key was denied for long.
    old.before = Timestamp::from_micros(0).ok_or("in range")?;
    let none = KeyId::from_uuid(uuid::Uuid::nil());
    let forgotten = store.retention.forget_keys(&old, until, none).await?;
    assert_eq!(forgotten.count, 0);
    let forgotten = store.retention.forget_writes(&old, until, Revision::ZERO);
    forgotten.await?;
    assert_eq!(store.retention.missing_keys(&[none]).await?, [none]);
    Ok(())
}

pub type States = HashMap<Subject, State>;

/// Accepts a store that a test has restored or copied.
pub fn accept_restore(store: &str) {
    let accepted = std::process::Command::new(env!("CARGO_BIN_EXE_keyservice"))
        .args(["accept-restore", "--yes", "--store", store])
        .output()
        .expect("it runs");
    assert!(accepted.status.success(), "{accepted:?}");
}
