//! The credentials file: how it is read at the start and reloaded when it changes.

use super::{Guarded, KEY_SERVICE};
use crate::support::{
    clients::callers::{Bearer, Credential, outcome},
    directory, eventually,
    mount::Mount,
    server::{command, sqlite_in},
};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};
use tonic::Code;

#[test]
fn a_new_secret_goes_into_a_file_of_its_own_and_its_line_to_standard_output() {
    let directory = directory();
    let path = directory.path().join("secret");
    let run = || {
        let mut keyservice = Command::new(env!("CARGO_BIN_EXE_keyservice"));
        keyservice.args([
            "credential",
            "new",
            "sender",
            "--role",
            "authorizer",
            "--secret-out",
        ]);
        keyservice.arg(&path).output().expect("it runs")
    };
    let made = run();
    let line = String::from_utf8(made.stdout).expect("UTF-8");
    assert!(made.status.success() && made.stderr.is_empty());
    assert!(
        line.starts_with("sender authorizer bearer=blake3:"),
        "{line}"
    );
    let secret = fs::read_to_string(&path).expect("written");
    assert!(secret.starts_with("tsop_"));
    let mode = path.metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let refused = run();
    assert!(!refused.status.success() && refused.stdout.is_empty());
    assert_eq!(fs::read_to_string(&path).expect("as it was"), secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_credentials_file_is_reloaded_and_applies_to_open_connections() {
    let first = Credential::new("dashboard", &["--role", "admin"]);
    let second = Credential::new("dashboard", &["--role", "admin"]);
    let mut guarded = Guarded::start(&[&first.line]).await;
    let channel = guarded.server.channel().await;
    let list = format!("{KEY_SERVICE}/List");
    let may_call = async |credential: &Credential| {
        let bearer = Bearer::secret(&credential.secret);
        outcome(channel.clone(), &bearer, &list).await == Code::InvalidArgument
    };
    assert!(may_call(&first).await && !may_call(&second).await);

    guarded.file.swap(&[("callers", &second.line)]);
    eventually("the second secret is accepted", async || {
        may_call(&second).await
    })
    .await;
    assert!(!may_call(&first).await);

    let broken = format!("{}dashboard2 owner\n", first.line);
    guarded.file.swap(&[("callers", &broken)]);
    let error = "line 2 needs a role as its second word";
    eventually("the error is logged", async || {
        guarded.server.log().contains(error)
    })
    .await;
    assert!(may_call(&second).await && !may_call(&first).await);

    guarded.file.swap(&[("callers", &first.line)]);
    eventually("the first secret is accepted", async || {
        may_call(&first).await
    })
    .await;
    let log = guarded.server.log();
    assert_eq!(log.matches(error).count(), 1, "once for each change");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credentials_file_that_is_removed_goes_on_to_apply_and_the_log_says_so() {
    let admin = Credential::new("dashboard", &["--role", "admin"]);
    let mut guarded = Guarded::start(&[&admin.line]).await;
    guarded.file.swap(&[]);
    eventually("it is logged", async || {
        guarded
            .server
            .log()
            .contains("--credentials: the file is gone from ")
    })
    .await;
    let log = guarded.server.log();
    let advice = "what was read of --credentials before stays in use, but no restart would succeed: \
                  put the file back";
    assert!(log.contains(advice), "{log}");
    let channel = guarded.server.channel().await;
    let bearer = Bearer::secret(&admin.secret);
    let outcome = outcome(channel, &bearer, &format!("{KEY_SERVICE}/List")).await;
    assert_eq!(outcome, Code::InvalidArgument, "it may call");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_for_an_invalid_credentials_file_does_not_repeat_its_text() {
    let admin = Credential::new("operator", &["--role", "admin"]);
    let pasted = format!("operator admin bearer={}\n", admin.secret);
    let file = Mount::new(&[("callers", &pasted)]);
    let directory = tempfile::tempdir().expect("a directory");
    let refused = command(&sqlite_in(&directory))
        .args(["--credentials", &file.arg("callers")])
        .output()
        .expect("it runs");
    let error = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    let expected = format!(
        "--credentials {}: line 1 needs bearer=",
        file.arg("callers")
    );
    assert!(error.contains(&expected), "{error}");
    assert!(!error.contains(&admin.secret), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_with_a_certificate_alone_are_named_where_no_client_is_asked_for_one() {
    let by_secret = Credential::new("mailer", &["--role", "authorizer"]);
    let both = format!(
        "{} certificate=mailer.example.org\n",
        by_secret.line.trim_end()
    );
    let alone = "gateway authorizer certificate=gateway.example.org\n";
    let guarded = Guarded::start(&[&both, alone]).await;
    let log = guarded.server.log();
    let said = r#""message":"these callers have certificate= alone in --credentials"#;
    assert!(
        log.contains(said) && log.contains(r#""callers":"gateway""#),
        "{log}"
    );
}
