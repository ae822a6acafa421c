//! What an operator is told whose command found nothing, or something else than was meant.

use super::{Done, Person};
use crate::support::{
    directory,
    server::{Server, command, sqlite_in},
};
use serde_json::Value;

const TABLE: [&str; 2] = ["-o", "table"];
const BATCH: [&str; 5] = ["keys", "batch-revoke", "--reason", "a leak", "--yes"];

impl Person {
    fn sees(&self, line: &[&str]) -> Done {
        self.runs(&[line, &TABLE].concat())
    }

    fn revokes_many(&self, which: &[&str]) -> Done {
        self.runs(&[&BATCH, which].concat())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_matches_no_key_at_all_fails_and_says_what_is_known() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    person.create_key("acme");
    let file = person.home.path().join("ids");
    std::fs::write(&file, "key_00000000000000000000000000").expect("written");
    let file = file.to_str().expect("a path");
    for (which, said) in [
        (
            &["--account", "acmee"][..],
            "the account acmee has no key and no domain",
        ),
        (
            &["--account", "acme", "--label", "env=tset"],
            "nothing matches --label env=tset: the account acme has 1 key, and none is such a key",
        ),
        (&["--key-ids-file", file], "none of the given keys exists"),
    ] {
        for dry in [&["--dry-run"][..], &[]] {
            let done = person.revokes_many(&[which, dry].concat());
            assert_eq!(done.exit, 1, "{done:?}");
            assert!(done.err.contains(said), "{done:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_made_before_succeeds_again_and_says_so() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    person.create_key("acme");
    let batch = || person.revokes_many(&["--account", "acme"]);
    assert_eq!(batch().json()["revokedCount"], 1);
    let again = batch();
    assert_eq!(again.exit, 0, "{again:?}");
    assert_eq!(again.err, "All keys that match are revoked already.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_sees_which_keys_a_batch_would_revoke() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let id = person.create_key("acme");
    let dry = person
        .revokes_many(&["--account", "acme", "--dry-run"])
        .json();
    assert_eq!(dry["wouldRevokeCount"], 1);
    let shown = person.runs(&["keys", "get", &id]).json();
    assert_eq!(dry["keys"], Value::from(vec![shown]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_revocation_says_when_the_first_was() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let id = person.create_key("acme");
    let revoke = || person.runs(&["keys", "revoke", "--yes", &id]);
    let first = revoke();
    assert_eq!(first.err, "");
    let time = first.json()["revokeTime"].as_str().expect("a time")[..19].to_owned();
    let second = revoke();
    let said = format!("It was revoked already, at {time}Z. Nothing was changed.\n");
    assert_eq!(second.err, said);
    assert_eq!(second.exit, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_nobody_knows_is_doubted_and_a_new_one_is_pointed_out() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    for line in [["accounts", "resume", "Acme"], ["accounts", "get", "Acme"]] {
        let done = person.runs(&line);
        assert!(done.err.contains("Is it spelt right?"), "{done:?}");
        assert_eq!(done.exit, 0);
    }
    let create = || person.sees(&["keys", "create", "--account", "Acme", "--name", "a"]);
    let said = "This is the first key of the account Acme, and no domain is verified for it.";
    assert!(create().err.contains(said));
    assert!(!create().err.contains("first key"));
    let known = person.runs(&["accounts", "get", "Acme"]);
    assert_eq!(known.err, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_account_is_named_where_the_status_of_its_keys_hides_it() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let create = ["keys", "create", "--account", "acme", "--name", "a"];
    let token = person.runs(&create).printed();
    let suspend = ["accounts", "suspend", "acme", "--reason", "fraud"];
    person.runs(&suspend).printed();
    let list = ["keys", "list", "--account", "acme", "--status", "suspended"];
    let listed = person.runs(&list);
    assert_eq!((listed.exit, &*listed.out), (0, ""));
    let said = "The account acme itself is suspended since ";
    assert!(listed.err.starts_with(said), "{listed:?}");
    let ask = [&["authorize", "example.com"][..], &TABLE].concat();
    let denied = person.runs_with_input(&ask, &token);
    assert!(
        denied
            .out
            .contains("SUSPENDED (the key or its account: `keyservice keys get key_")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_understood_as_it_is_shown_anywhere() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let id = person.create_key("acme");
    let shown = person.sees(&["keys", "get", &id]).printed();
    assert!(shown.contains("Status:      ACTIVE\n"), "{shown}");
    for status in ["active", "ACTIVE", "STATUS_ACTIVE"] {
        let listed = person.runs(&["keys", "list", "--all-accounts", "--status", status]);
        assert_eq!(listed.json()["status"], "STATUS_ACTIVE");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headings_never_stand_alone() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    person.create_key("acme");
    let none = [
        "--account",
        "acme",
        "--created-before",
        "2020-01-31",
        "--dry-run",
    ];
    for (line, said) in [
        (
            &["domains", "list", "--account", "acme"][..],
            "No domain is verified for acme; ",
        ),
        (
            &["keys", "list", "--account", "acmee"],
            "No keys match --account acmee; ",
        ),
        (
            &[&BATCH[..], &none].concat(),
            "nothing matches --created-before",
        ),
    ] {
        let done = person.sees(line);
        assert!(
            !done.out.contains("ACCOUNT") && !done.out.contains("DOMAIN"),
            "{done:?}"
        );
        assert!(done.err.contains(said), "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_stays_with_a_key_that_is_revoked_for_it() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let revoke = ["keys", "revoke", "--yes", "--reason", "a leak"];
    let by_id = person.create_key("acme");
    let revoked = person.runs(&[&revoke[..], &[&by_id]].concat()).json();
    assert_eq!(
        (&revoked["keyId"], &revoked["revokeReason"]),
        (&by_id.into(), &"a leak".into())
    );
    let create = ["keys", "create", "--account", "acme", "--name", "a"];
    let token = person.runs(&create).printed();
    let by_token = [&revoke[..], &["--token-file", "-"]].concat();
    let revoked = person.runs_with_input(&by_token, &token).json();
    assert_eq!(revoked["status"], "STATUS_REVOKED");
    let unknown = person.runs(&[&revoke[..], &["key_00000000000000000000000000"]].concat());
    assert_eq!(unknown.exit, 1);
    assert!(unknown.err.contains("there is no such key"), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_why_a_key_is_denied_sees_each_cause() {
    let directory = directory();
    let mut command = command(&sqlite_in(&directory));
    let command = command.env_remove("KEYSERVICE_VERIFIED_DOMAINS");
    let server = Server::start_command(command).await;
    let person = Person::of(&server);
    let domain = |what| ["domains", what, "example.com", "--account", "acme"];
    let id = person.create_key("acme");
    let get = || person.sees(&["keys", "get", &id]).printed();
    assert!(get().contains("every verified domain of the account, which has none"));
    let add = [&domain("add")[..], &["--include-subdomains"]].concat();
    person.runs(&add).printed();
    assert!(get().contains("every verified domain of the account\n"));
    let restrict = ["keys", "update", &id, "--domain", "a.example.com"];
    person.runs(&restrict).printed();
    assert!(get().contains("Domain:      a.example.com\n"));
    person.runs(&domain("remove")).printed();
    assert!(get().contains("a.example.com, which is not verified for its account\n"));

    for line in [["keys", "suspend", &id], ["accounts", "suspend", "acme"]] {
        person
            .runs(&[&line[..], &["--reason", "spam"]].concat())
            .printed();
    }
    let both = get();
    let said = "Status:      SUSPENDED, and its account is suspended since ";
    assert!(both.contains(said), "{both}");
    let script = person.runs(&["keys", "get", &id]).err;
    for said in [
        "acme itself is suspended",
        "a.example.com, which is not verified",
    ] {
        assert!(script.contains(said), "{script}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_stay_as_they_are_change_nothing() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let id = person.create_key("acme");
    let update = |flags: &[&str]| person.runs(&[&["keys", "update", &id], flags].concat());
    let before = update(&["--label", "env=test"]).json();
    let none = update(&["--remove-label", "nope", "--label", "env=test"]);
    assert_eq!(
        none.err,
        "The key has no label nope.\nNothing was changed.\n"
    );
    assert_eq!(none.json(), before);
    let some = update(&["--remove-label", "nope", "--remove-label", "env"]);
    assert_eq!(some.err, "The key has no label nope.\n");
    assert_ne!(some.json()["etag"], before["etag"]);
    let stale = update(&["--remove-label", "nope", "--etag", "stale"]);
    assert_eq!(stale.exit, 1, "{stale:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_rotates_a_key_learns_until_when_each_token_works() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let rotate = |flags: &[&str]| {
        let id = person.create_key("acme");
        person.sees(&[&["keys", "rotate", &id], flags].concat()).err
    };
    let usual = rotate(&[]);
    let works = "The old token works until ";
    assert!(
        usual.contains(works) && !usual.contains("Careful"),
        "{usual}"
    );
    let short = rotate(&["--overlap", "1h", "--expires", "30min"]);
    assert!(
        short.contains("Careful: the new token ends before the old one"),
        "{short}"
    );
    person
        .runs(&["accounts", "suspend", "acme", "--reason", "spam"])
        .printed();
    let suspended = rotate(&[]);
    assert!(suspended.contains("Neither token works while the account is suspended."));
    assert!(!suspended.contains(works), "{suspended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_speaks_of_a_given_account_only_if_one_was_given() {
    let server = Server::on_sqlite().await;
    let none = Person::of(&server).runs(&["keys", "get", "key_00000000000000000000000000"]);
    let said = "there is no such key, as far as you may know";
    assert!(none.err.contains(said) && none.exit == 1, "{none:?}");
}
