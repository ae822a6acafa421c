//! The credentials file: how it is read at the start and reloaded when it changes.

use super::{Guarded, KEY_SERVICE};
use crate::support::{
    clients::callers::{Bearer, Credential, outcome},
    eventually,
    mount::Mount,
    server::{command, sqlite_in},
};
use tonic::Code;

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
