//! An operator's day with the command line: keys, domains, accounts, and the question of a sender.

use super::{Done, Person};
use crate::support::server::{Server, command, sqlite_in};
use crate::support::{directory, tools::shell};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A token of no key.
const UNKNOWN: &str = "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s";

/// A server that keeps to verified domains, and a person who has created this key of `acme`.
struct Day {
    server: Server,
    person: Person,
    token: String,
    key: Value,
    _store: TempDir,
}

impl Day {
    async fn begin() -> Self {
        let directory = directory();
        let mut command = command(&sqlite_in(&directory));
        let command = command.env_remove("KEYSERVICE_VERIFIED_DOMAINS");
        let server = Server::start_command(command).await;
        let person = Person::of(&server);
        let add = ["domains", "add", "example.com", "--account", "acme"];
        person.runs(&add).printed();
        let create = [
            "keys",
            "create",
            "--account",
            "acme",
            "--name",
            "Newsletter",
        ];
        let Done { exit, out, err } = person.runs(&create);
        assert_eq!(exit, 0, "{err}");
        Self {
            server,
            person,
            token: out,
            key: serde_json::from_str(&err).expect("JSON"),
            _store: directory,
        }
    }
}

fn id(key: &Value) -> &str {
    key["keyId"].as_str().expect("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_is_alone_on_standard_output_and_never_shown_again() {
    let day = Day::begin().await;
    let printed = day.token.strip_suffix('\n').expect("a line");
    assert!(printed.starts_with("tsend_") && printed.len() == 55);
    assert_eq!(day.key["name"], "Newsletter");

    let rotated = day
        .person
        .runs(&["keys", "rotate", id(&day.key), "-o", "table"]);
    assert!(rotated.out.starts_with("tsend_") && rotated.out.lines().count() == 1);
    assert!(
        rotated
            .err
            .contains(&format!("Replaces:    {}", id(&day.key))),
        "{}",
        rotated.err
    );
    for command in [
        &["keys", "get", id(&day.key)][..],
        &["keys", "list", "--account", "acme", "-o", "table"],
        &["keys", "update", id(&day.key), "--name", "Other"],
    ] {
        let done = day.person.runs(command);
        let shown = format!("{}{}{}", done.out, done.err, day.server.log());
        for token in [printed, rotated.out.trim()] {
            assert!(!shown.contains(&token[8..51]), "{command:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_tells_a_grant_from_a_denial_an_outage_and_a_mistake_by_the_exit_code() {
    let day = Day::begin().await;
    let ask = |domain| {
        day.person
            .runs_with_input(&["authorize", domain], &day.token)
    };
    let granted = ask("example.com").json();
    assert_eq!(granted["granted"], true);
    assert_eq!(granted["grant"]["keyId"], day.key["keyId"]);

    let denied = ask("example.org");
    assert_eq!((denied.exit, denied.err.as_str()), (3, ""));
    let denied: Value = serde_json::from_str(&denied.out).expect("JSON");
    assert_eq!(denied["granted"], false);
    assert_eq!(denied["denial"]["reason"], "REASON_DOMAIN_NOT_VERIFIED");

    let nobody = day
        .person
        .runs_with_input(&["authorize", "example.com"], "tsend_nobody");
    assert_eq!(nobody.exit, 3);
    for mistake in ["", "two tokens", "tsend_a\ntsend_b\n"] {
        let done = day
            .person
            .runs_with_input(&["authorize", "example.com"], mistake);
        assert_eq!(done.exit, 2, "{mistake}");
        assert!(done.err.contains("does not hold one token"), "{}", done.err);
    }
    assert_eq!(ask("no domain").exit, 2);
    let unknown = day
        .person
        .runs(&["keys", "get", "key_00000000000000000000000000"]);
    assert_eq!(unknown.exit, 1, "{unknown:?}");
    day.server.kill().await;
    let away = ask("example.com");
    assert_eq!((away.exit, away.out.as_str()), (4, ""));
    assert!(away.err.contains("no replica could answer"), "{}", away.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_changed_suspended_resumed_and_revoked() {
    let day = Day::begin().await;
    let id = id(&day.key);
    let run = |line: &[&str]| day.person.runs(&[&["keys"], line].concat()).json();
    let changed = run(&["update", id, "--name", "Receipts", "--expires", "90days"]);
    assert_eq!(changed["name"], "Receipts");
    assert!(changed["expireTime"].is_string());
    assert_eq!(
        run(&["update", id, "--never-expires"])["expireTime"],
        Value::Null
    );
    let narrowed = run(&["update", id, "--domain", "example.com"]);
    assert_eq!(narrowed["scope"], json!({"domain": "example.com"}));
    let widened = run(&["update", id, "--all-domains"]);
    assert_eq!(widened["scope"], json!({"allDomains": {}}));

    run(&["update", id, "--label", "team=mail", "--label", "env=test"]);
    let relabelled = run(&[
        "update",
        id,
        "--label",
        "env=live",
        "--remove-label",
        "team",
    ]);
    assert_eq!(relabelled["labels"], json!({"env": "live"}));
    let old = relabelled["etag"].as_str().expect("an etag");
    run(&["update", id, "--name", "Invoices"]);
    let late = day
        .person
        .runs(&["keys", "update", id, "--label", "a=b", "--etag", old]);
    assert_eq!(late.exit, 1);
    assert!(late.err.contains("ABORTED"), "{}", late.err);

    let suspended = run(&["suspend", id, "--reason", "a complaint"]);
    assert_eq!(suspended["suspension"]["reason"], "a complaint");
    let by_token = |line: &[&str]| {
        let line = [&["keys"], line, &["--token-file", "-"]].concat();
        day.person.runs_with_input(&line, &day.token).json()
    };
    assert_eq!(by_token(&["resume"])["status"], "STATUS_ACTIVE");
    let relabelled = by_token(&["update", "--label", "team=web"]);
    assert_eq!(relabelled["labels"]["team"], "web");
    let by_token = ["keys", "revoke", "--token-file", "-", "--yes"];
    let revoked = day.person.runs_with_input(&by_token, &day.token).json();
    assert_eq!(revoked["status"], "STATUS_REVOKED");
    assert_eq!(revoked["keyId"], id);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_found_by_what_is_known_of_them() {
    let day = Day::begin().await;
    let create = ["keys", "create", "--account", "globex", "--name"];
    day.person
        .runs(&[&create[..], &["語 test", "--label", "env=test"]].concat())
        .printed();
    let list = |flags: &[&str]| {
        let listed = day
            .person
            .runs(&[&["keys", "list"], flags].concat())
            .printed();
        let names = listed.lines().map(|line| {
            let key: Value = serde_json::from_str(line).expect("JSON");
            key["name"].as_str().expect("a name").to_owned()
        });
        names.collect::<Vec<_>>()
    };
    let preview = format!("{}...{}", &day.token[..8], &day.token[51..55]);
    assert_eq!(
        list(&["--all-accounts", "--preview", &preview]),
        ["Newsletter"]
    );
    assert_eq!(list(&["--all-accounts"]), ["語 test", "Newsletter"]);
    assert_eq!(list(&["--all-accounts", "--limit", "1"]), ["語 test"]);
    assert_eq!(
        list(&["--all-accounts", "--label", "env=test"]),
        ["語 test"]
    );
    assert_eq!(
        list(&["--account", "acme", "--name-prefix", "News"]),
        ["Newsletter"]
    );
    for none in [
        &["--status", "revoked"][..],
        &["--domain", "example.com"],
        &["--unused-since", "1h"],
    ] {
        assert_eq!(list(&[&["--account", "acme"], none].concat()), [""; 0]);
    }
    let table = day
        .person
        .runs(&["keys", "list", "--all-accounts", "-o", "table"])
        .printed();
    let columns: Vec<_> = table.lines().map(|line| line.split("  ").next()).collect();
    assert_eq!(columns[..2], [Some("KEY"), columns[1]]);
    assert_eq!(columns[2], day.key["keyId"].as_str());
    let ends: Vec<_> = table.lines().map(|line| line.rsplit("  ").next()).collect();
    assert_eq!(ends[..2], [Some("LABELS"), Some("env=test")]);
    let of_acme = ["keys", "list", "--account", "acme", "-o", "table"];
    let of_acme = day.person.runs(&of_acme).printed();
    assert!(!of_acme.contains("LABELS"), "no key has one: {of_acme}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_is_what_grpcurl_prints_and_a_dry_run_says_what_would_be() {
    let day = Day::begin().await;
    let port = day.server.port();
    let by_grpcurl = |method: &str, question: &str| -> Value {
        let grpcurl = format!(
            "grpcurl -plaintext -emit-defaults -d '{question}' 127.0.0.1:{port} tosend.keys.v1.{method}"
        );
        serde_json::from_str(&shell(&grpcurl).expect("it answers")).expect("JSON")
    };
    // grpcurl writes null for what is absent, which is left out here.
    let present = |mut message: Value| {
        let fields = message.as_object_mut().expect("a message");
        fields.retain(|_, value| !value.is_null());
        message
    };
    let key = by_grpcurl(
        "KeyService/Get",
        &format!(r#"{{"key_id": "{}"}}"#, id(&day.key)),
    );
    let account = by_grpcurl("AccountService/GetAccount", r#"{"account_id": "acme"}"#);
    let dry = by_grpcurl(
        "KeyService/BatchRevoke",
        r#"{"account_id": "acme", "filter": {}, "reason": "a leak", "dry_run": true}"#,
    );
    let ours = |line: &str| day.person.runs(&line.split(' ').collect::<Vec<_>>()).json();
    assert_eq!(
        ours(&format!("keys get {}", id(&day.key))),
        present(key["key"].clone())
    );
    let shown = ours("accounts get acme");
    assert_eq!(shown, present(account["account"].clone()));
    assert_eq!(shown["keyCounts"]["revoked"], "0");
    let mut shown = ours("keys batch-revoke --account acme --dry-run");
    assert_eq!(shown["keys"].as_array().map(Vec::len), Some(1));
    let fields = shown.as_object_mut().expect("an object");
    fields.remove("keys");
    let would_revoke = fields.remove("wouldRevokeCount").expect("it is there");
    assert_eq!(fields.insert("revokedCount".to_owned(), would_revoke), None);
    assert_eq!(shown, dry);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_suspended_and_domains_removed() {
    let day = Day::begin().await;
    let reason = || {
        let done = day
            .person
            .runs_with_input(&["authorize", "example.com"], &day.token);
        let answer: Value = serde_json::from_str(&done.out).expect("JSON");
        answer["denial"]["reason"].as_str().map(str::to_owned)
    };
    let suspended = day
        .person
        .runs(&["accounts", "suspend", "acme", "--reason", "fraud"])
        .json();
    assert_eq!(suspended["suspension"]["reason"], "fraud");
    assert_eq!(suspended["keyCounts"]["active"], "1");
    assert_eq!(reason().as_deref(), Some("REASON_SUSPENDED"));
    day.person.runs(&["accounts", "resume", "acme"]).printed();
    assert_eq!(reason(), None);
    let listed = day
        .person
        .runs(&["domains", "list", "--account", "acme"])
        .json();
    assert_eq!(listed["domain"], "example.com");
    let removed = day.person.runs(&[
        "domains",
        "remove",
        "example.com",
        "--account",
        "acme",
        "-o",
        "table",
    ]);
    assert!(
        removed
            .printed()
            .starts_with("example.com is not verified for acme any more.")
    );
    assert_eq!(reason().as_deref(), Some("REASON_DOMAIN_NOT_VERIFIED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_are_revoked_at_once_after_a_dry_run() {
    let day = Day::begin().await;
    let batch = |flags: &[&str]| {
        let line = ["keys", "batch-revoke", "--reason", "a leak", "--yes"];
        day.person.runs(&[&line, flags].concat())
    };
    let wrong = batch(&["--domain", "example.com"]);
    assert_eq!(wrong.exit, 2, "without an account, no filter is right");
    let status = || day.person.runs(&["keys", "get", id(&day.key)]).json()["status"].clone();
    let dry = batch(&["--account", "acme", "--dry-run"]).json();
    assert_eq!(
        (dry["wouldRevokeCount"].as_i64(), status()),
        (Some(1), json!("STATUS_ACTIVE"))
    );

    let leaked = day.person.home.path().join("leaked");
    let tokens = [day.token.trim(), "", UNKNOWN].join("\n");
    std::fs::write(&leaked, tokens).expect("written");
    let leaked = leaked.to_str().expect("a path");
    let done = batch(&["--tokens-file", leaked, "-o", "table"]);
    assert_eq!(
        done.printed(),
        format!("Revoked 1 key. Revoked before: 0. Not found: 1 ({leaked}, line 3).\n")
    );
    assert_eq!(status(), "STATUS_REVOKED");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_revoked_without_consent_and_a_lost_token_is_reported() {
    let day = Day::begin().await;
    for line in [
        &["keys", "revoke", id(&day.key)][..],
        &["keys", "rotate", id(&day.key), "--overlap", "0s"],
        &["keys", "batch-revoke", "--account", "acme", "--reason", "x"],
    ] {
        let done = day.person.runs(line);
        assert_eq!(done.exit, 2, "{line:?}");
        assert!(done.err.contains("--yes"), "{}", done.err);
    }
    assert_eq!(
        day.person.runs(&["keys", "get", id(&day.key)]).json()["status"],
        "STATUS_ACTIVE"
    );

    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    let line = ["keys", "create", "--account", "acme", "--name", "Lost"];
    let ran = day
        .person
        .command(&line)
        .stdout(full)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1));
    assert!(
        said.contains("could not be printed") && said.contains("revoke the key"),
        "{said}"
    );
}
