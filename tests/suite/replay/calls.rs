//! A store whose service makes calls before and after a backup, which is then restored.

use crate::support::{
    directory,
    postgres::{Cluster, database_in},
    server::{Client, Domains, Server, audit_command::audit_output, sqlite_in},
};
use keyservice::grpc::proto::{
    AllDomains, BatchRevokeRequest, CreateRequest, GetRequest, ResumeRequest, RotateRequest, Scope,
    SuspendAccountRequest, SuspendRequest, UpdateRequest,
    account_service_client::AccountServiceClient,
    batch_revoke_request::{Keys, Selection},
    get_request,
    key::Status,
    rotate_request,
    scope::Kind,
    suspend_request,
};
use prost_types::FieldMask;
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use tonic::transport::Channel;

/// The domain of most keys.
pub const DOMAIN: &str = "example.com";
/// Another domain of the account.
pub const OTHER: &str = "other.example";

/// A store, and a copy of it as it was at some moment.
pub struct Place {
    pub directory: TempDir,
    pub store: String,
    pub cluster: Option<Arc<Cluster>>,
}

impl Place {
    pub fn sqlite() -> Self {
        let directory = directory();
        let store = sqlite_in(&directory);
        Self {
            directory,
            store,
            cluster: None,
        }
    }

    pub fn postgres() -> Self {
        let cluster = Cluster::shared();
        Self {
            directory: directory(),
            store: cluster.create_database(),
            cluster: Some(cluster),
        }
    }

    pub async fn serve(&self) -> Server {
        Server::start_with(
            &self.store,
            &["--lease", "1s"],
            &[("KEYSERVICE_VERIFIED_DOMAINS", "required")],
        )
        .await
    }

    /// Copies the store, on which nothing runs. What is returned is where the copy stands.
    pub fn copy(&self) -> String {
        match &self.cluster {
            Some(cluster) => cluster.create_copy(database_in(&self.store)),
            None => {
                let backup = self.file("backup.db");
                run(&["backup", "--overwrite", "--store", &self.store, &backup]);
                backup
            }
        }
    }

    /// Has the copy in the store's place.
    pub fn restore(&mut self, copy: String) {
        if self.cluster.is_some() {
            self.store = copy;
        } else {
            run(&["restore", "--store", &self.store, &copy]);
        }
    }

    pub fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Writes a file, and gives its name.
    pub fn write(&self, name: &str, content: &str) -> String {
        let file = self.file(name);
        fs::write(PathBuf::from(&file), content).expect("written");
        file
    }

    pub fn replay(&self, args: &[&str]) -> Replayed {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyservice"));
        command.env("KEYSERVICE_STORE", &self.store);
        let ran = command.arg("replay").args(args).output();
        Replayed(ran.expect("keyservice runs"))
    }

    /// What is on record about what a replay has written: the method, the caller, and what it was about.
    pub fn replayed_records(&self) -> Vec<String> {
        let records = audit_output(&self.store, &[]);
        let records = records
            .lines()
            .map(|line| -> Value { serde_json::from_str(line).unwrap() });
        let text = |record: &Value| {
            let field = |name| record[name].as_str().unwrap_or("-").to_owned();
            format!("{} {}", field("method"), field("caller"))
        };
        let of_replay = records.map(|record| text(&record));
        of_replay.filter(|text| text.contains("replay:")).collect()
    }
}

/// Ends a server, and gives its log. A call's line comes after its answer.
pub async fn whole_log(mut server: Server) -> String {
    server.signal("TERM");
    server.wait_for_exit().await;
    server.log()
}

/// What it prints.
pub fn run(args: &[&str]) -> String {
    let ran = Command::new(env!("CARGO_BIN_EXE_keyservice"))
        .args(args)
        .output()
        .expect("keyservice runs");
    assert!(ran.status.success(), "{args:?}: {ran:?}");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// What a replay has printed.
pub struct Replayed(pub Output);

impl Replayed {
    pub fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// Each finding as `ACTION RESULT`, in alphabetical order.
    pub fn findings(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0.stdout);
        let findings = text.lines().map(|line| {
            let finding: Value = serde_json::from_str(line).expect(line);
            let text = |name: &str| finding[name].as_str().expect("a text").to_owned();
            format!("{} {}", text("action"), text("result"))
        });
        let mut findings: Vec<_> = findings.collect();
        findings.sort();
        findings
    }
}

/// The clients of a server.
pub struct Clients {
    pub keys: Client,
    pub domains: Domains,
    accounts: AccountServiceClient<Channel>,
}

/// The token and the id of a key.
#[derive(Clone)]
pub struct Made {
    pub token: String,
    pub id: String,
}

impl Clients {
    pub async fn of(server: &Server) -> Self {
        Self {
            keys: server.client().await,
            domains: server.domains().await,
            accounts: AccountServiceClient::new(server.channel().await),
        }
    }

    /// Creates a key for all domains of `acme`, or for this one.
    pub async fn create(&mut self, domain: Option<&str>) -> Made {
        self.create_for("acme", domain).await
    }

    pub async fn create_three(&mut self) -> [Made; 3] {
        [
            self.create(None).await,
            self.create(None).await,
            self.create(None).await,
        ]
    }

    pub async fn create_for(&mut self, account: &str, domain: Option<&str>) -> Made {
        let request = CreateRequest {
            account_id: account.into(),
            name: "a key".into(),
            domain: domain.map(str::to_owned),
            ..CreateRequest::default()
        };
        let created = self.keys.create_with(request).await.expect("created");
        Made {
            token: created.token,
            id: created.key.expect("a key").key_id,
        }
    }

    pub async fn is_granted(&mut self, key: &Made, domain: &str) -> bool {
        use keyservice::grpc::proto::authorize_response::Decision;
        let decision = self.keys.authorize(&key.token, domain).await;
        matches!(decision.expect("answered"), Decision::Grant(_))
    }

    pub async fn suspend(&mut self, key: &Made) {
        let request = SuspendRequest {
            target: Some(suspend_request::Target::KeyId(key.id.clone())),
            account_id: None,
            reason: "abuse".into(),
        };
        self.keys.0.suspend(request).await.expect("suspended");
    }

    pub async fn resume(&mut self, key: &Made) {
        let request = ResumeRequest {
            key_id: key.id.clone(),
            account_id: None,
        };
        self.keys.0.resume(request).await.expect("resumed");
    }

    /// Gives a key another scope.
    pub async fn set_scope(&mut self, key: &Made, domain: Option<&str>) {
        let all = Scope {
            kind: Some(Kind::AllDomains(AllDomains {})),
        };
        let to = UpdateRequest {
            scope: Some(domain.map_or(all, only)),
            ..UpdateRequest::default()
        };
        self.update(key, "scope", to).await;
    }

    /// Lets a key expire in so long.
    pub async fn set_expiry(&mut self, key: &Made, ahead: Duration) {
        let to = UpdateRequest {
            expire_time: Some((SystemTime::now() + ahead).into()),
            ..UpdateRequest::default()
        };
        self.update(key, "expire_time", to).await;
    }

    async fn update(&mut self, key: &Made, field: &str, to: UpdateRequest) {
        let request = UpdateRequest {
            key_id: key.id.clone(),
            update_mask: Some(FieldMask {
                paths: vec![field.to_owned()],
            }),
            ..to
        };
        self.keys.0.update(request).await.expect("updated");
    }

    pub async fn rotate(&mut self, key: &Made, overlap: Duration) -> Made {
        let request = RotateRequest {
            target: Some(rotate_request::Target::KeyId(key.id.clone())),
            overlap: Some(prost_types::Duration::try_from(overlap).expect("in range")),
            ..RotateRequest::default()
        };
        let rotated = self.keys.0.rotate(request).await.expect("rotated");
        let rotated = rotated.into_inner();
        Made {
            token: rotated.token,
            id: rotated.key.expect("a key").key_id,
        }
    }

    pub async fn batch_revoke(&mut self, keys: &[&Made]) {
        let request = BatchRevokeRequest {
            selection: Some(Selection::Keys(Keys {
                key_ids: keys.iter().map(|key| key.id.clone()).collect(),
                tokens: Vec::new(),
            })),
            account_id: None,
            reason: "a leak".into(),
            dry_run: false,
        };
        self.keys.0.batch_revoke(request).await.expect("revoked");
    }

    pub async fn suspend_account(&mut self, account: &str) {
        let request = SuspendAccountRequest {
            account_id: account.into(),
            reason: "unpaid".into(),
        };
        let suspended = self.accounts.suspend_account(request).await;
        suspended.expect("suspended");
    }

    /// The status of a key, when it expires, and the reason if it is suspended.
    pub async fn status(&mut self, key: &Made) -> (Status, Option<SystemTime>, Option<String>) {
        let request = GetRequest {
            target: Some(get_request::Target::KeyId(key.id.clone())),
            account_id: None,
        };
        let got = self.keys.0.get(request).await.expect("answered");
        let key = got.into_inner().key.expect("a key");
        let expires = key
            .expire_time
            .map(|time| SystemTime::try_from(time).expect("in range"));
        let reason = key.suspension.as_ref().map(|it| it.reason.clone());
        (key.status(), expires, reason)
    }
}

fn only(domain: &str) -> Scope {
    Scope {
        kind: Some(Kind::Domain(domain.into())),
    }
}
