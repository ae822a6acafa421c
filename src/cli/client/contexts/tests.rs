use super::*;
use std::thread;

const FILE: &str = "\
current = \"here\" # mine

[context.here]
server = \"localhost:50051\"
plaintext = true

[context.production]
server = \"keys.example.org:50051\"
ca = \"ca.crt\"
secret-file = \"/run/secret\"
";

fn parse(text: &str) -> Result<Contexts, Failure> {
    Contexts::parse("/etc/keyservice/config.toml".into(), text)
}

#[test]
fn a_context_is_found_by_its_name_and_its_files_beside_the_file() {
    let contexts = parse(FILE).expect("right");
    let current = contexts.current().expect("there").expect("one");
    assert_eq!(current.server.as_deref(), Some("localhost:50051"));
    let production = contexts.get("production").expect("there");
    assert_eq!(production.ca, Some("/etc/keyservice/ca.crt".into()));
    assert_eq!(production.secret_file, Some("/run/secret".into()));
    let unknown = contexts.get("staging").expect_err("none").to_string();
    assert!(unknown.contains("here, production"), "{unknown}");
}

#[test]
fn a_wrong_file_is_explained_and_no_value_of_it_is_shown() {
    const SECRET: &str = "tsop_KeyServiceExampleSecretDoNotUse0123456789ab";
    for (wrong, line) in [
        ("current = 1\n", "line 1"),
        (
            "[context.a]\nserver = \"a:1\"\nsecret = \"hunter2\"\n",
            "line 3",
        ),
        ("[context.a]\nplaintext = \"hunter2\"\n", "line 2"),
        ("[context.a]\nhunter2 = 1\n", "line 2"),
        ("[context.a]\nca = \"hunter2\n", "line 2"),
        ("[context.a]\nca = 'a'\nca = 'hunter2'\n", "line 3"),
        ("\nhunter2\n", "line 2"),
        ("\ncontext = 'hunter2'\n", "line 2"),
        (
            &format!("[context.a]\nca = \"{SECRET}\"\n"),
            "in the place of a file's name",
        ),
    ] {
        let error = parse(wrong).map(drop).expect_err("wrong").to_string();
        assert!(error.contains(line), "{wrong}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!(!error.contains("ExampleSecret"), "{error}");
    }
}

fn here() -> Context {
    Context {
        server: Some("localhost:50051".to_owned()),
        plaintext: true,
        ..Context::default()
    }
}

fn set(path: &Path, name: &str) -> Result<(), Failure> {
    Contexts::change(Some(path), true, |contexts| {
        contexts.set(name, here()).map(drop)
    })
}

fn names(path: &Path) -> Vec<String> {
    let contexts = Contexts::read(Some(path)).expect("right");
    contexts.all().map(|(name, ..)| name.to_owned()).collect()
}

#[test]
fn a_change_leaves_the_rest_of_the_file_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new/config.toml");
    set(&path, "here").expect("a new file");
    let read = || fs::read_to_string(&path).expect("written");
    assert_eq!(
        read(),
        "current = \"here\"\n\n[context.here]\nserver = \"localhost:50051\"\nplaintext = true\n"
    );
    fs::write(&path, FILE).expect("written");
    let change = |change: fn(&mut Contexts) -> _| Contexts::change(Some(&path), false, change);
    change(|contexts| contexts.make_current("production")).expect("written");
    assert_eq!(read(), FILE.replace("\"here\" #", "\"production\" #"));
    set(&path, "here").expect("written");
    assert_eq!(read(), FILE.replace("\"here\" #", "\"production\" #"));
    let remove = |contexts: &mut Contexts| contexts.remove("production");
    assert!(Contexts::change(Some(&path), false, remove).expect("written"));
    let left = Contexts::read(Some(&path)).expect("right");
    assert!(left.current().is_err());
    assert_eq!(left.all().collect::<Vec<_>>(), [("here", &here(), false)]);
}

#[test]
fn a_change_is_made_in_the_way_in_which_the_file_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.toml");
    for before in [
        "context = { a = { server = \"a:1\" } }\n",
        "context = { a.server = \"a:1\" }\n",
        "context.a = { server = \"a:1\" }\n",
        "context.a.server = \"a:1\"\n",
        "[context]\na = { server = \"a:1\" }\n",
        "[context]\n[context.a]\nserver = \"a:1\"\n",
    ] {
        fs::write(&path, before).expect("written");
        set(&path, "b").expect("added");
        assert_eq!(names(&path), ["a", "b"], "{before}");
        set(&path, "a").expect("replaced");
        let contexts = Contexts::read(Some(&path)).expect("right");
        assert_eq!(contexts.get("a").expect("there"), here(), "{before}");
    }
}

#[test]
fn a_change_goes_through_a_link_and_keeps_who_may_read_the_file() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().expect("a folder");
    let (link, file) = (folder.path().join("link"), folder.path().join("kept/file"));
    symlink("kept/file", &link).expect("linked");
    set(&link, "a").expect("a new file behind a link");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
    set(&link, "b").expect("changed");
    assert!(link.is_symlink());
    assert_eq!(names(&file), ["a", "b"]);
    let mode = file.metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    symlink("circle", folder.path().join("circle")).expect("linked");
    assert!(set(&folder.path().join("circle"), "a").is_err());
}

#[test]
fn no_change_is_lost_when_several_are_made_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.toml");
    thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || set(path, &format!("at-{number}")).expect("written"));
        }
    });
    assert_eq!(names(&path).len(), 8);
    let wrong = Contexts::change(Some(&path), false, |contexts| contexts.remove("b"));
    assert!(wrong.is_err());
    let files = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(files, 1, "nothing is left behind");
}
