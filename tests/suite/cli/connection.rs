//! Which service a command calls, and as whom.

use super::{Done, Person};
use crate::support::{
    certificates::Authority,
    clients::callers::Credential,
    directory,
    mount::Mount,
    server::{Server, sqlite_in},
};
use serde_json::json;
use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A server with TLS, an admin with a secret and one with a certificate, and the files that they have.
struct Guarded {
    server: Server,
    secret: String,
    files: Mount,
    _store: TempDir,
}

impl Guarded {
    async fn start() -> Self {
        let authority = Authority::new();
        let (server, client) = (
            authority.server("localhost"),
            authority.client_by_uri("spiffe://example.org/admin"),
        );
        let admin = Credential::new("operator", &["--role", "admin"]);
        let limited = Credential::new("limited", &["--role", "admin", "--accounts", "acme"]);
        let sender = Credential::new("sender", &["--role", "authorizer"]);
        let by_certificate = "other admin certificate=spiffe://example.org/admin";
        let lines = [
            &*admin.line,
            &limited.line,
            &sender.line,
            by_certificate,
            "",
        ];
        let callers = lines.join("\n");
        let files = Mount::new(&[
            ("ca.crt", &authority.pem()),
            ("server.crt", &server.certificate),
            ("server.key", &server.key),
            ("client.crt", &client.certificate),
            ("client.key", &client.key),
            ("secret", &admin.secret),
            ("limited", &limited.secret),
            ("sender", &sender.secret),
            ("callers", &callers),
        ]);
        let path = |name| files.arg(name);
        let args = [
            "--tls-cert",
            &path("server.crt"),
            "--tls-key",
            &path("server.key"),
            "--tls-client-ca",
            &path("ca.crt"),
            "--credentials",
            &path("callers"),
        ];
        let directory = directory();
        let store = sqlite_in(&directory);
        let server = Server::start_listening(&store, &args, &[]).await;
        Self {
            server,
            secret: admin.secret,
            files,
            _store: directory,
        }
    }

    fn address(&self) -> String {
        format!("localhost:{}", self.server.port())
    }

    /// The flags that name this server, and its admin by a secret.
    fn flags(&self) -> [String; 6] {
        let (ca, secret) = (self.files.arg("ca.crt"), self.files.arg("secret"));
        [
            "--server".to_owned(),
            self.address(),
            "--ca".to_owned(),
            ca,
            "--secret-file".to_owned(),
            secret,
        ]
    }
}

const LIST: [&str; 4] = ["keys", "list", "--account", "acme"];

#[tokio::test(flavor = "multi_thread")]
async fn flags_variables_and_a_context_say_who_calls() {
    let guarded = Guarded::start().await;
    let (address, path) = (guarded.address(), |name| guarded.files.arg(name));
    let mut person = Person::new();
    let to_it = ["--server", &address, "--ca", &path("ca.crt")];
    let list = |person: &Person, flags: &[&str]| person.runs(&[&LIST, flags].concat());

    let by_secret = ["--secret-file", &path("secret")];
    assert_eq!(
        list(&person, &[&to_it[..], &by_secret].concat()).printed(),
        ""
    );
    let by_certificate = [
        "--client-cert",
        &path("client.crt"),
        "--client-key",
        &path("client.key"),
    ];
    assert_eq!(
        list(&person, &[&to_it[..], &by_certificate].concat()).printed(),
        ""
    );
    let unknown = list(&person, &to_it);
    assert_eq!(unknown.exit, 2);
    assert!(unknown.err.contains("UNAUTHENTICATED"), "{}", unknown.err);
    person.variables = vec![("KEYSERVICE_SECRET", guarded.secret.clone())];
    assert_eq!(list(&person, &to_it).printed(), "");

    person.variables.clear();
    let set = ["contexts", "set", "production"];
    person
        .runs(&[&set, &to_it[..], &by_secret].concat())
        .printed();
    assert_eq!(list(&person, &[]).printed(), "");
    let before_it = ["--context", "production", "-o", "table"];
    assert_eq!(person.runs(&[&before_it[..], &LIST].concat()).printed(), "");
    let listed = person.runs(&["contexts", "list", "-o", "table"]).printed();
    assert_eq!(
        listed,
        format!(
            "CURRENT  NAME        SERVER{:1$}  TLS  CREDENTIAL\n*        production  {address}  yes  secret in {2}\n",
            "",
            address.len() - 6,
            path("secret")
        )
    );
    let missing = list(&person, &["--context", "staging"]);
    assert_eq!(missing.exit, 2);
    assert!(missing.err.contains("production"), "{}", missing.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_never_gets_a_contexts_secret() {
    let guarded = Guarded::start().await;
    let mut person = Person::new();
    let flags = guarded.flags();
    let flags = flags.each_ref().map(String::as_str);
    let [_, address, _, ca, ..] = flags;
    person
        .runs(&[&["contexts", "set", "a"], &flags[..]].concat())
        .printed();
    let elsewhere = person.runs(&[&LIST[..], &["--server", address, "--ca", ca]].concat());
    assert!(elsewhere.err.contains("UNAUTHENTICATED"), "{elsewhere:?}");
    // Whichever of the two is a variable that was left behind.
    let both = ["--context", "a", "--server", address];
    let refused = person.runs(&[&LIST[..], &both].concat());
    assert_eq!(refused.exit, 2);
    assert!(
        refused.err.contains("only one can be meant"),
        "{}",
        refused.err
    );
    person.variables = vec![("KEYSERVICE_CONTEXT", "a".to_owned())];
    let server = ["--server", address, "--ca", ca];
    assert_eq!(person.runs(&[&LIST[..], &server].concat()).exit, 2);
    // A secret goes to no server that was not named.
    person = Person::new();
    person.variables = vec![("KEYSERVICE_SECRET", guarded.secret.clone())];
    assert_eq!(person.runs(&LIST).exit, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_variable_goes_before_that_of_the_context() {
    let guarded = Guarded::start().await;
    let mut person = Person::new();
    let flags = guarded.flags();
    let flags = flags.each_ref().map(String::as_str);
    person
        .runs(&[&["contexts", "set", "a"], &flags[..]].concat())
        .printed();
    assert_eq!(person.runs(&LIST).printed(), "");
    person.variables = vec![("KEYSERVICE_SECRET", "tsop_nobody".to_owned())];
    let refused = person.runs(&LIST);
    assert!(refused.err.contains("UNAUTHENTICATED"), "{refused:?}");
    for variable in [
        "KEYSERVICE_SECRET",
        "KEYSERVICE_SECRET_FILE",
        "KEYSERVICE_CA",
    ] {
        person.variables = vec![(variable, String::new())];
        let refused = person.runs(&LIST);
        assert_eq!(refused.exit, 2, "{variable}: {refused:?}");
    }
    // All others count as unset when they are empty.
    let empty = [
        "CONTEXT",
        "SERVER",
        "CONFIG",
        "SERVER_NAME",
        "PLAINTEXT",
        "TIMEOUT",
    ];
    let names = empty.map(|name| format!("KEYSERVICE_{name}").leak() as &str);
    person.variables = names.map(|name| (name, String::new())).into();
    assert_eq!(person.runs(&LIST).printed(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_is_checked_and_its_caller_is_told_what_it_may_do() {
    let guarded = Guarded::start().await;
    let person = Person::new();
    let flags = guarded.flags();
    let flags = flags.each_ref().map(String::as_str);
    person
        .runs(&[&["contexts", "set", "production"], &flags[..]].concat())
        .printed();
    let checked = person.runs(&["contexts", "check", "production"]).json();
    let address = guarded.address();
    assert_eq!(
        checked,
        json!({
            "server": address,
            "from": "the context production",
            "ready": true,
            "tls": true,
            "credential": {"kind": "secret", "place": guarded.files.arg("secret")},
            "role": "admin",
            "accounts": "all",
        })
    );
    for (name, rights) in [
        ("limited", ["admin", "only some"]),
        ("sender", ["authorizer", "not known"]),
    ] {
        let secret = ["--secret-file", &guarded.files.arg(name), "-o", "table"];
        let table = person.runs(&[&["contexts", "check"], &secret[..]].concat());
        let table = table.printed();
        assert!(rights.iter().all(|right| table.contains(right)), "{table}");
    }
    let secret = guarded.files.arg("limited");
    for whose in [&["--all-accounts"][..], &["--preview", "tsend_ab...wxyz"]] {
        let list = [&["keys", "list", "--secret-file", &secret], whose].concat();
        let refused = person.runs(&list);
        assert!(
            refused.err.contains("must give one of them by --account"),
            "{refused:?}"
        );
    }
    let two = ["contexts", "check", "production", "--context", "staging"];
    let two = person.runs(&two);
    assert_eq!(two.exit, 2);
    assert!(two.err.contains("two contexts are named"), "{two:?}");
    let table = person.runs(&["contexts", "check", "-o", "table"]).printed();
    assert!(table.contains("Role:        admin"), "{table}");
    let nobody = ["contexts", "set", "nobody"];
    person.runs(&[&nobody, &flags[..4]].concat()).printed();
    let unknown = person.runs(&["contexts", "check", "nobody"]);
    assert_eq!(unknown.exit, 2);
    assert!(
        unknown.err.contains("does not know this caller"),
        "{unknown:?}"
    );
    assert!(
        unknown
            .err
            .contains("the call was made without a credential"),
        "{unknown:?}"
    );
    guarded.server.kill().await;
    let begun = Instant::now();
    let away = person.runs(&["contexts", "check", "--timeout", "60s"]);
    assert_eq!(away.exit, 4);
    assert!(away.err.contains("nothing listens there"), "{away:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn only_a_change_that_may_have_reached_a_service_may_have_been_made() {
    let person = Person::new();
    // The system accepts connections to it, and nobody answers.
    let hangs = TcpListener::bind("127.0.0.1:0").expect("a port");
    let hanging = hangs.local_addr().expect("an address").to_string();
    let revoke = ["keys", "revoke", "--yes", "key_00000000000000000000000000"];
    for (server, line, is_doubted) in [
        (&*hanging, &revoke, true),
        (&*hanging, &LIST, false),
        ("127.0.0.1:1", &revoke, false),
    ] {
        let flags = ["--plaintext", "--timeout", "1s", "--server", server];
        let failed = person.runs(&[&line[..], &flags].concat());
        assert_eq!(failed.exit, 4, "{failed:?}");
        let doubts = failed.err.contains("the change may have been made");
        assert_eq!(doubts, is_doubted, "{failed:?}");
        let hangs = failed
            .err
            .contains("connections are accepted there, but calls are not");
        assert_eq!(hangs, server == hanging, "{failed:?}");
        assert!(!failed.err.contains("TLS"), "{failed:?}");
    }
}

#[test]
fn an_error_names_the_variable_or_the_context_that_a_wrong_value_came_from() {
    let mut person = Person::new();
    for (variable, wrong) in [
        ("KEYSERVICE_TIMEOUT", "soon"),
        ("KEYSERVICE_PLAINTEXT", "perhaps"),
        ("KEYSERVICE_SERVER", "keys.example.org"),
        ("KEYSERVICE_SERVER", "127.0.0.1:1"),
        ("KEYSERVICE_CONTEXT", "staging"),
    ] {
        person.variables = vec![(variable, wrong.to_owned())];
        let failed = person.runs(&LIST);
        assert!([2, 4].contains(&failed.exit), "{failed:?}");
        assert!(failed.err.contains(variable), "{failed:?}");
    }
    person.variables.clear();
    let by_flag = person.runs(&[&LIST[..], &["--timeout", "soon"]].concat());
    assert!(!by_flag.err.contains("KEYSERVICE_"), "{by_flag:?}");

    let set = |name| {
        let server = ["--server", "127.0.0.1:1", "--plaintext"];
        person.runs(&[&["contexts", "set", name], &server[..]].concat())
    };
    assert!(set("production").err.contains("so it is the current one"));
    assert_eq!(set("staging").err, "Set the context staging.\n");
    let again = set("staging");
    let said = "Replaced the context staging. It had: server 127.0.0.1:1, plaintext.\n";
    assert_eq!(again.err, said);
    for (flags, said) in [
        (&[][..], "that of the current context, production"),
        (&["--context", "staging"], "that of the context staging"),
    ] {
        let failed = person.runs(&[&LIST[..], flags].concat());
        assert!(failed.err.contains(said), "{failed:?}");
    }
    for (plaintext, is_said) in [("true", true), ("false", false)] {
        person.variables = vec![("KEYSERVICE_PLAINTEXT", plaintext.to_owned())];
        let failed = person.runs(&LIST);
        let said = "the current context, production, changed by KEYSERVICE_PLAINTEXT";
        assert_eq!(failed.err.contains(said), is_said, "{failed:?}");
    }
}

#[test]
fn a_token_is_never_sent_as_a_secret_nor_a_secret_as_a_token() {
    const TOKEN: &str = "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s";
    const SECRET: &str = "tsop_KeyServiceExampleSecretDoNotUse0123456789ab";
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    nobody.set_nonblocking(true).expect("set");
    let server = nobody.local_addr().expect("an address").to_string();
    let mut person = Person::new();
    let file = |name: &str, text: &str| {
        let path = person.home.path().join(name);
        fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (token, secret) = (file("token", TOKEN), file("secret", SECRET));
    let to = ["--plaintext", "--server", &server, "--timeout", "1s"];
    let as_secret = [&LIST[..], &to, &["--secret-file", &token]].concat();
    let as_token = ["authorize", "example.com", "--token-file", &secret];
    let as_token = [&as_token[..], &to].concat();
    let assert_refused = |refused: Done, is: &str| {
        assert_eq!(refused.exit, 2, "{refused:?}");
        assert!(refused.err.contains(is), "{refused:?}");
        assert!(!refused.err.contains("Example"), "{refused:?}");
    };
    assert_refused(person.runs(&as_secret), "holds the token of a key");
    assert_refused(person.runs(&as_token), "holds the bearer secret");
    let batch = [
        "keys",
        "batch-revoke",
        "--tokens-file",
        &secret,
        "--dry-run",
    ];
    assert_refused(person.runs(&batch), "holds the bearer secret");
    person.variables = vec![("KEYSERVICE_SECRET", TOKEN.to_owned())];
    let refused = person.runs(&[&LIST[..], &to].concat());
    assert_refused(refused, "the variable KEYSERVICE_SECRET holds the token");
    assert!(nobody.accept().is_err(), "nobody may call it");
}

#[test]
fn a_token_in_the_place_of_a_files_name_is_neither_shown_nor_kept() {
    const TOKEN: &str = "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s";
    const SECRET: &str = "tsop_KeyServiceExampleSecretDoNotUse0123456789ab";
    let person = Person::new();
    for line in [
        &["keys", "revoke", "--yes", "--token-file", TOKEN][..],
        &[
            "keys",
            "batch-revoke",
            "--reason",
            "x",
            "--tokens-file",
            TOKEN,
        ],
        &["authorize", "example.com", "--token-file", TOKEN],
        &[
            "contexts",
            "set",
            "a",
            "--server",
            "a:1",
            "--secret-file",
            SECRET,
        ],
        &[
            "keys",
            "list",
            "--account",
            "acme",
            "--server",
            "a:1",
            "--ca",
            SECRET,
        ],
    ] {
        let refused = person.runs(line);
        assert_eq!(refused.exit, 2, "{refused:?}");
        let said = refused.out + &refused.err;
        assert!(said.contains("not the name of a file"), "{said}");
        assert!(!said.contains("KeyServiceExample"), "{said}");
    }
    assert!(!person.home.path().join(".config").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_contexts_is_explained_when_it_is_wrong_and_changed_as_a_whole() {
    let person = Person::new();
    let file = person.home.path().join(".config/keyservice/config.toml");
    let use_it = |name| person.runs(&["contexts", "use", name]);
    for name in ["a", "b"] {
        let set = [
            "contexts",
            "set",
            name,
            "--server",
            "127.0.0.1:1",
            "--plaintext",
        ];
        person.runs(&set).printed();
    }
    use_it("b").printed();
    let text = fs::read_to_string(&file).expect("written");
    assert!(text.starts_with("current = \"b\""), "{text}");
    assert_eq!(use_it("c").exit, 2);
    assert_eq!(
        only_file_in(file.parent().expect("a folder")),
        "config.toml"
    );
    fs::write(&file, "current = \"b\"\ncontext = 3\n").expect("written");
    let wrong = person.runs(&LIST);
    assert_eq!(wrong.exit, 2);
    assert!(wrong.err.contains("config.toml, line 2"), "{}", wrong.err);
}

#[test]
fn who_has_no_home_is_told_that_the_contexts_need_a_place_and_may_name_one() {
    let person = Person::new();
    let file = person.home.path().join("made/here.toml");
    let file = file.to_str().expect("UTF-8");
    let set = ["contexts", "set", "a", "--server", "127.0.0.1:1"];
    let homeless = |line: &[&str]| {
        let mut command = person.command(line);
        let ran = command.env_remove("HOME").output().expect("it runs");
        let said = String::from_utf8(ran.stderr).expect("UTF-8");
        (ran.status.code(), said)
    };
    for line in [
        &set[..],
        &["contexts", "use", "a"],
        &["domains", "list", "--account", "acme", "--context", "a"],
    ] {
        let (code, said) = homeless(line);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("neither HOME nor XDG_CONFIG_HOME"), "{said}");
    }
    let config = ["--config", file];
    let (code, said) = homeless(&[&["contexts", "use", "a"], &config[..]].concat());
    assert_eq!(code, Some(2), "{said}");
    let (code, said) = homeless(&[&set, &config[..]].concat());
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = homeless(&[&["contexts", "use", "a"], &config[..]].concat());
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn files_that_others_may_change_or_read_are_named() {
    let person = Person::new();
    let home = person.home.path();
    let allow = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
    let file = home.join("config.toml");
    let secret = home.join("secret");
    let context = "current = \"a\"\n[context.a]\nserver = \"127.0.0.1:1\"\nplaintext = true\n";
    fs::write(&file, format!("{context}secret-file = \"secret\"\n")).expect("written");
    fs::write(&secret, "tsop_a").expect("written");
    let config = file.to_str().expect("UTF-8");
    let list = || person.runs(&[&LIST[..], &["--config", config, "--timeout", "1s"]].concat());
    let said = || list().err.matches("every user of this machine may").count();
    for path in [home, &file, &secret] {
        allow(path, if path == home { 0o755 } else { 0o600 }).expect("allowed");
    }
    assert_eq!(said(), 0, "{:?}", list());
    allow(&file, 0o646).expect("allowed");
    allow(&secret, 0o604).expect("allowed");
    let warned = list().err;
    let warnings = [
        "the file of contexts: every user of this machine may change",
        "secret-file: every",
    ];
    assert!(
        warnings.iter().all(|warning| warned.contains(warning)),
        "{warned}"
    );
    assert_eq!(said(), 2, "{warned}");

    allow(home, 0o1777).expect("allowed");
    // Only root can give a file away.
    if chown(&file, Some(12345), None).is_ok() {
        let refused = list();
        assert_eq!(refused.exit, 2, "{refused:?}");
        assert!(refused.err.contains("belongs to user 12345"), "{refused:?}");
    }
}

fn only_file_in(folder: &Path) -> String {
    let mut entries = fs::read_dir(folder).expect("a folder");
    let entry = entries.next().expect("a file").expect("an entry");
    assert!(entries.next().is_none());
    entry.file_name().into_string().expect("UTF-8")
}
