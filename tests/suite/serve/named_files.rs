//! The files that settings name: what is no regular file is refused, and never waited for.

use crate::support::{
    certificates::Authority,
    directory,
    server::{Server, assert_refused, audit_command::audit_error, command, help, sqlite_in},
};
use rustix::fs::{CWD, Mode, mkfifoat};
use std::{os::unix::fs::symlink, path::Path};
use tempfile::TempDir;

/// Each setting that names a file, and the good one for it.
const SETTINGS: [(&str, &str); 6] = [
    ("--credentials", "callers"),
    ("--tls-cert", "cert.pem"),
    ("--tls-key", "key.pem"),
    ("--tls-client-ca", "ca.pem"),
    ("--tls-client-crl", "crl.pem"),
    ("--digest-secret-file", "secret"),
];

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(directory());
        let authority = Authority::new();
        let own = authority.server("localhost");
        for (name, content) in [
            ("callers", "a admin certificate=a.example.org\n".to_owned()),
            ("cert.pem", own.certificate),
            ("key.pem", own.key),
            ("ca.pem", authority.pem()),
            ("crl.pem", authority.revocation_list(&[], 2100)),
            ("secret", "x".repeat(32)),
        ] {
            std::fs::write(files.path(name), content).expect("written");
        }
        mkfifoat(CWD, files.path("pipe"), Mode::RWXU).expect("a pipe");
        symlink("pipe", files.path("link")).expect("linked");
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// The arguments with all settings, of which one names another file.
    fn arguments(&self, other: Option<(&str, &str)>) -> Vec<String> {
        let of = |(setting, file): (&str, &str)| {
            let file = match other {
                Some((changed, file)) if changed == setting => file.to_owned(),
                _ => self.path(file),
            };
            [setting.to_owned(), file]
        };
        SETTINGS.into_iter().flat_map(of).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_setting_takes_a_pipe_a_device_or_a_folder_for_a_file() {
    let files = Files::new();
    let store = sqlite_in(&files.0);
    let others = [
        &files.path("pipe"),
        &files.path("link"),
        &files.path(""),
        "/dev/zero",
    ];
    for (setting, _) in SETTINGS {
        for other in others {
            let arguments = files.arguments(Some((setting, other)));
            let parts = [setting, "not a regular file; give the path of one"];
            assert_refused(command(&store).args(arguments), &parts).await;
        }
    }
    for other in others {
        let roots = format!("postgres://h/d?sslmode=verify-full&sslrootcert={other}");
        let parts = ["of sslrootcert cannot be read: not a regular file"];
        assert_refused(&mut command(&roots), &parts).await;
        if Path::new(other).is_file() || other.ends_with('/') {
            continue;
        }
        let store = format!("sqlite:{other}");
        assert_refused(&mut command(&store), &["no regular file"]).await;
        let refused = audit_error(&store, &[]);
        assert!(refused.contains("not a regular file"), "{refused}");
    }

    Server::start_listening(
        &store,
        &files
            .arguments(None)
            .iter()
            .map(|it| &**it)
            .collect::<Vec<_>>(),
        &[],
    )
    .await;
}

#[test]
fn every_setting_that_names_a_file_is_tried_here() {
    let help = help();
    let named = help
        .lines()
        .filter_map(|line| line.trim().strip_suffix(" <FILE>"));
    let mut named: Vec<_> = named.collect();
    let mut tried = SETTINGS.map(|(setting, _)| setting);
    named.sort_unstable();
    tried.sort_unstable();
    assert_eq!(named, tried);
}
