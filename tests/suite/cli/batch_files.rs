//! The files of a batch, and labels that are given twice.

use super::Person;
use crate::support::server::Server;

#[test]
fn a_wrong_line_of_a_batch_is_named_and_not_shown() {
    let person = Person::new();
    let example = "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s";
    let file = person.home.path().join("leaked");
    let path = file.to_str().expect("a path");
    for (flag, content, said) in [
        (
            "--tokens-file",
            format!("{example}\n\nTOKEN={example}\n"),
            ", line 3: not a token; nothing was sent, and nothing was revoked",
        ),
        (
            "--key-ids-file",
            format!("key_00000000000000000000000000\n{}", "x\n".repeat(22)),
            ", lines 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, and 2 more: not a key id",
        ),
        (
            "--tokens-file",
            format!("a\n{}\n", example.replace("tsend", "tsop")),
            ", lines 1, 2: not a token; it holds the bearer secret of a caller (tsop_…) in line 2;",
        ),
        (
            "--key-ids-file",
            format!("{example}\n"),
            ", line 1: not a key id",
        ),
        ("--tokens-file", "\n".to_owned(), " is empty"),
        ("--key-ids-file", String::new(), " is empty"),
    ] {
        std::fs::write(&file, content).expect("written");
        let batch = ["keys", "batch-revoke", "--dry-run", flag, path];
        let refused = person.runs(&batch);
        assert_eq!(refused.exit, 2, "{refused:?}");
        assert!(
            refused.err.contains(&format!("{path}{said}")),
            "{refused:?}"
        );
        assert!(!refused.err.contains("KeyServiceExample"), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_is_given_twice_is_refused() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let id = person.create_key("acme");
    let twice = ["--label", "env=a", "--label", "env=b"];
    let contradiction = ["--label", "env=a", "--remove-label", "env"];
    for (line, flags) in [
        (&["list", "--account", "acme"][..], twice),
        (&["create", "--account", "acme", "--name", "a"], twice),
        (&["batch-revoke", "--account", "acme", "--dry-run"], twice),
        (&["update", &id], twice),
        (&["update", &id], contradiction),
    ] {
        let refused = person.runs(&[&["keys"], line, &flags].concat());
        assert_eq!(refused.exit, 2, "{refused:?}");
        assert!(refused.err.contains("--label env"), "{refused:?}");
    }
    let keys = person.runs(&["keys", "list", "--account", "acme"]).json();
    assert_eq!(keys["labels"], serde_json::json!({}));
}
