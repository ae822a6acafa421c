//! After an old backup was restored and the log or the records from after it were replayed, nothing is granted that
//! was denied.

use super::calls::{Clients, DOMAIN, Made, OTHER, Place, whole_log};
use crate::support::{
    server::{Server, audit_command::audit_output},
    stores::accept_restore,
};
use keyservice::{grpc::proto::key::Status, model::time::Timestamp};
use serde_json::Value;
use std::time::{Duration, SystemTime};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// What the service has told.
#[derive(Clone, Copy, PartialEq)]
enum Source {
    Log,
    Records,
    Both,
}

/// The keys from before the backup, by what became of them after it.
struct Keys {
    kept: Made,
    revoked: Made,
    suspended: Made,
    resumed: Made,
    narrowed: Made,
    moved: Made,
    widened: Made,
    shortened: Made,
    rotated: Made,
    rotated_at_once: Made,
    in_batch: [Made; 2],
    of_suspended_account: Made,
}

impl Keys {
    async fn create(clients: &mut Clients) -> Self {
        Self {
            kept: clients.create(None).await,
            revoked: clients.create(None).await,
            suspended: clients.create(None).await,
            resumed: clients.create(None).await,
            narrowed: clients.create(None).await,
            moved: clients.create(Some(DOMAIN)).await,
            widened: clients.create(Some(DOMAIN)).await,
            shortened: clients.create(None).await,
            rotated: clients.create(None).await,
            rotated_at_once: clients.create(None).await,
            in_batch: [clients.create(None).await, clients.create(None).await],
            of_suspended_account: clients.create_for("globex", None).await,
        }
    }

    /// Makes calls, and gives two keys that are lost with them.
    async fn change(&self, clients: &mut Clients) -> [Made; 2] {
        clients
            .keys
            .revoke(&self.revoked.id)
            .await
            .expect("revoked");
        clients.suspend(&self.suspended).await;
        clients.suspend(&self.resumed).await;
        clients.resume(&self.resumed).await;
        clients.set_scope(&self.narrowed, Some(DOMAIN)).await;
        clients.set_scope(&self.moved, Some(OTHER)).await;
        clients.set_scope(&self.widened, None).await;
        clients.set_expiry(&self.shortened, HOUR).await;
        let successor = clients.rotate(&self.rotated, HOUR).await;
        clients.rotate(&self.rotated_at_once, Duration::ZERO).await;
        let [one, other] = &self.in_batch;
        clients.batch_revoke(&[one, other]).await;
        clients.suspend_account("globex").await;
        clients
            .domains
            .remove("acme", "removed.example")
            .await
            .unwrap();
        clients.domains.add("acme", "wide.example").await.unwrap();
        clients
            .domains
            .remove("acme", "back.example")
            .await
            .unwrap();
        clients.domains.add("acme", "back.example").await.unwrap();
        [successor, clients.create(None).await]
    }

    async fn assert_denied(&self, clients: &mut Clients) {
        let denied = [
            (&self.revoked, DOMAIN),
            (&self.suspended, DOMAIN),
            (&self.narrowed, OTHER),
            (&self.moved, DOMAIN),
            (&self.rotated_at_once, DOMAIN),
            (&self.in_batch[0], DOMAIN),
            (&self.in_batch[1], DOMAIN),
            (&self.of_suspended_account, DOMAIN),
            (&self.kept, "removed.example"),
            (&self.kept, "below.wide.example"),
        ];
        for (place, (key, domain)) in denied.into_iter().enumerate() {
            let is_granted = clients.is_granted(key, domain).await;
            assert!(!is_granted, "{place}: {domain}");
        }
        let soon = SystemTime::now() + HOUR;
        for key in [&self.shortened, &self.rotated] {
            let (_, expires, _) = clients.status(key).await;
            assert!(expires.expect("it expires") <= soon);
        }
    }

    async fn assert_granted(&self, clients: &mut Clients) {
        let granted = [
            (&self.kept, DOMAIN),
            (&self.kept, "wide.example"),
            (&self.kept, "back.example"),
            (&self.resumed, DOMAIN),
            (&self.narrowed, DOMAIN),
            (&self.widened, DOMAIN),
            (&self.shortened, DOMAIN),
            (&self.rotated, DOMAIN),
        ];
        for (place, (key, domain)) in granted.into_iter().enumerate() {
            assert!(clients.is_granted(key, domain).await, "{place}: {domain}");
        }
    }
}

const FOUND: [&str; 16] = [
    "lost_key gone",
    "lost_key gone",
    "lost_key gone",
    "lost_rights lost",
    "narrow",
    "narrow",
    "narrow",
    "remove_domain",
    "remove_subdomains",
    "revoke",
    "revoke",
    "revoke",
    "revoke",
    "suspend",
    "suspend_account",
    "suspend_unclear",
];

fn found(result: &str) -> Vec<String> {
    let found = FOUND.iter().map(|it| match it.contains(' ') {
        true => (*it).to_owned(),
        false => format!("{it} {result}"),
    });
    found.collect()
}

async fn nothing_that_was_denied_is_granted(mut place: Place, source: Source) {
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    for (account, domain, include_subdomains) in [
        ("acme", DOMAIN, false),
        ("acme", OTHER, false),
        ("acme", "removed.example", false),
        ("acme", "back.example", false),
        ("acme", "wide.example", true),
        ("globex", DOMAIN, false),
    ] {
        let added = clients
            .domains
            .add_with(account, domain, include_subdomains);
        added.await.expect("added");
    }
    let keys = Keys::create(&mut clients).await;
    let before = whole_log(server).await;
    let copy = place.copy();

    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    let [successor, created] = keys.change(&mut clients).await;
    keys.assert_denied(&mut clients).await;
    let log = before + &whole_log(server).await;
    let told = match source {
        Source::Log => log,
        Source::Records => audit_output(&place.store, &[]),
        Source::Both => log + &audit_output(&place.store, &[]),
    };
    for key in [&keys.kept, &keys.revoked, &successor, &created] {
        assert!(!told.contains(&key.token), "no line has a token");
    }
    let told = place.write("told", &told);

    place.restore(copy);
    // PostgreSQL's services may run: they decide by each write when the replay returns.
    let running = match place.store.starts_with("postgres") {
        true => Some(place.serve().await),
        false => None,
    };
    let tried = place.replay(&["--dry-run", &told]);
    assert_eq!(tried.code(), Some(0), "{}", tried.errors());
    assert_eq!(tried.findings(), found("would_be_written"));
    assert_eq!(
        place.replayed_records().len(),
        0,
        "a dry run writes nothing"
    );

    let replayed = place.replay(&[&told]);
    assert_eq!(replayed.code(), Some(0), "{}", replayed.errors());
    assert_eq!(replayed.findings(), found("written"));
    let printed = String::from_utf8_lossy(&replayed.0.stdout).into_owned();
    for line in printed.lines().filter(|line| line.contains("\"narrow\"")) {
        let line: Value = serde_json::from_str(line).expect(line);
        let ends = line["key_end"].as_str().and_then(Timestamp::parse_rfc3339);
        assert!(ends.is_some() || line["domain"].is_string(), "{line}");
    }
    let until = "the last line that was read is of 20";
    assert!(replayed.errors().contains(until), "{}", replayed.errors());
    let server: Server = match running {
        Some(server) => server,
        None => {
            accept_restore(&place.store);
            place.serve().await
        }
    };
    let mut clients = Clients::of(&server).await;
    keys.assert_denied(&mut clients).await;
    keys.assert_granted(&mut clients).await;
    assert!(!clients.is_granted(&created, DOMAIN).await);
    let (status, _, reason) = clients.status(&keys.moved).await;
    assert_eq!(status, Status::Suspended);
    assert_eq!(reason.as_deref(), Some("LOST_WRITE"));
    let (_, _, reason) = clients.status(&keys.suspended).await;
    let reason = reason.expect("suspended");
    assert!(reason.contains("by anyone"), "{reason}");

    // Each write is on record under a name that says which one it repeats.
    let records = place.replayed_records();
    assert_eq!(records.len(), 12);
    assert!(
        records
            .iter()
            .all(|it| it.contains(" replay:") && it.contains('@'))
    );

    // A second replay finds nothing to write, and undoes nothing that was decided since.
    clients.resume(&keys.suspended).await;
    server.terminate().await;
    let again = place.replay(&[&told]);
    assert_eq!(again.code(), Some(0), "{}", again.errors());
    let findings = again.findings();
    assert!(
        findings.iter().all(|it| !it.ends_with(" written")),
        "{findings:?}"
    );
    assert_eq!(place.replayed_records().len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_log_in_a_file() {
    nothing_that_was_denied_is_granted(Place::sqlite(), Source::Log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_records_in_a_file() {
    nothing_that_was_denied_is_granted(Place::sqlite(), Source::Records).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_log_and_the_records_in_postgres_under_a_running_service() {
    nothing_that_was_denied_is_granted(Place::postgres(), Source::Both).await;
}
