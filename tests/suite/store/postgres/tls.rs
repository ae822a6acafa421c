//! What each `sslmode` verifies about the database's server, and whether it encrypts.

use crate::support::{
    certificates::Authority,
    eventually,
    postgres::{Cluster, database_in},
    server::{
        Server, assert_refused,
        audit_command::{audit_error, audit_output},
        command,
    },
};

use std::{fs::Permissions, os::unix::fs::PermissionsExt};

const HOST: &str = "db.example.com";

#[tokio::test(flavor = "multi_thread")]
async fn verify_full_accepts_only_the_right_host_signed_by_the_right_root() {
    let database = Database::with_tls();
    database
        .assert_serves_encrypted(HOST, "verify-full", Some(&database.authority))
        .await;

    database
        .assert_refuses(
            HOST,
            "verify-full",
            &Authority::new(),
            "is signed by none of the roots",
        )
        .await;
    database
        .assert_refuses(
            "db.example.org",
            "verify-full",
            &database.authority,
            "does not name the address's host",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_who_may_change_the_roots_are_warned_of() {
    let database = Database::with_tls();
    let address = database.address(HOST, "verify-full", Some(&database.authority));
    let root = database.authority.path();
    let folder = root.parent().expect("a folder");
    for (path, mode) in [(folder, 0o755), (&root, 0o666)] {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
    }
    let server = Server::start(&address).await;
    let warning = "sslrootcert: every user of this machine may change";
    assert!(server.log().contains(warning), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_ca_accepts_any_host_signed_by_the_right_root() {
    let database = Database::with_tls();
    for host in [HOST, "db.example.org"] {
        database
            .assert_serves_encrypted(host, "verify-ca", Some(&database.authority))
            .await;
    }

    database
        .assert_refuses(
            HOST,
            "verify-ca",
            &Authority::new(),
            "is signed by none of the roots",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn require_accepts_any_certificate_unless_a_root_is_given() {
    let database = Database::with_tls();
    database
        .assert_serves_encrypted("db.example.org", "require", None)
        .await;
    database
        .assert_serves_encrypted("db.example.org", "require", Some(&database.authority))
        .await;

    database
        .assert_refuses(
            HOST,
            "require",
            &Authority::new(),
            "is signed by none of the roots",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prefer_encrypts_if_the_server_can_and_disable_never_encrypts() {
    let database = Database::with_tls();
    database
        .assert_serves_encrypted("db.example.org", "prefer", None)
        .await;

    let plain = Server::start(&database.address(HOST, "disable", None)).await;
    database.assert_sessions_are_encrypted(false).await;
    drop(plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn prefer_does_without_tls_where_the_server_lets_nobody_in_with_it() {
    let database = Database::with_tls();
    let rules = "hostnossl all all all trust\n";
    database.cluster.use_rules(rules);
    let plain = Server::start(&database.address(HOST, "prefer", None)).await;
    database.assert_sessions_are_encrypted(false).await;
    drop(plain);
    let mut encrypted = command(&database.address(HOST, "require", None));
    assert_refused(&mut encrypted, &["no pg_hba.conf entry"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_modes_except_prefer_refuse_a_server_without_tls() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let authority = Authority::new();
    let root = format!("sslrootcert={}", authority.path().display());
    for parameters in [
        "sslmode=require".to_owned(),
        format!("sslmode=require&{root}"),
        format!("sslmode=verify-ca&{root}"),
        format!("sslmode=verify-full&{root}"),
    ] {
        let mut command = command(&format!("{store}?{parameters}"));
        assert_refused(&mut command, &["server does not support TLS"]).await;
    }
    Server::start(&format!("{store}?sslmode=prefer")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_checked_over_the_encrypted_channel_and_never_shown() {
    let database = Database::with_tls();
    database.cluster.psql(
        "postgres",
        "CREATE ROLE kate LOGIN SUPERUSER PASSWORD 'hunter2'",
    );
    let rules = "hostssl all kate all scram-sha-256\nhost all keyservice all trust\n";
    database.cluster.use_rules(rules);

    let address = database.address(HOST, "verify-full", Some(&database.authority));
    let address = format!("{address}&channel_binding=require");
    let right = address.replacen("keyservice@", "kate:hunter2@", 1);
    Server::start(&right).await;
    let wrong = address.replacen("keyservice@", "kate:hunter2-not@", 1);
    assert_refused(&mut command(&wrong), &["password authentication failed"]).await;
}

/// A database on its own cluster, whose certificate is for [`HOST`].
struct Database {
    cluster: Cluster,
    name: String,
    authority: Authority,
}

impl Database {
    fn with_tls() -> Self {
        let cluster = Cluster::start();
        let name = database_in(&cluster.create_database()).to_owned();
        let authority = Authority::new();
        authority.certify(&cluster, HOST);
        Self {
            cluster,
            name,
            authority,
        }
    }

    /// The address of the database with this host name, which need not resolve.
    fn address(&self, host: &str, mode: &str, root: Option<&Authority>) -> String {
        let port = self.cluster.port();
        let root = root.map(|root| format!("&sslrootcert={}", root.path().display()));
        format!(
            "postgres://keyservice@{host}:{port}/{}?hostaddr=127.0.0.1&sslmode={mode}{}",
            self.name,
            root.unwrap_or_default()
        )
    }

    async fn assert_serves_encrypted(&self, host: &str, mode: &str, root: Option<&Authority>) {
        let address = self.address(host, mode, root);
        let server = Server::start(&address).await;
        self.assert_sessions_are_encrypted(true).await;
        server.kill().await;
        assert_eq!(
            audit_output(&address, &[]),
            "",
            "the audit command reads it too"
        );
    }

    /// Asserts that the service and the audit command refuse the database for this reason.
    async fn assert_refuses(&self, host: &str, mode: &str, root: &Authority, reason: &str) {
        let address = self.address(host, mode, Some(root));
        assert_refused(&mut command(&address), &[reason]).await;
        assert!(audit_error(&address, &[]).contains(reason));
    }

    /// Asserts that all initial sessions of a replica (for calls, for leases, and for notifications) are
    /// encrypted, or that none is, as PostgreSQL reports.
    async fn assert_sessions_are_encrypted(&self, expected: bool) {
        let sessions = "SELECT count(*) >= 3, bool_or(ssl), bool_and(ssl) FROM pg_stat_ssl \
                        JOIN pg_stat_activity USING (pid) WHERE application_name = 'keyservice'";
        let expected = if expected { "t|t|t" } else { "t|f|f" };
        eventually("the sessions are as expected", async || {
            self.cluster.psql("postgres", sessions) == expected
        })
        .await;
    }
}
