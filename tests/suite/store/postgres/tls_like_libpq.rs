//! With the same address, the service connects where psql does, and refuses what psql refuses.

use crate::support::{
    certificates::{Authority, Issued},
    postgres::Cluster,
    tools::newest_psql,
};
use std::{path::Path, process::Command, thread};

const HOST: &str = "db.example.com";

/// The file with the authority is also the system's.
const ROOTS: [&str; 5] = ["none", "authority", "another", "itself", "system"];

const UNUSED_ROOT: &str =
    "refused: libpq takes the root, and connects without what it seems to promise";
const ALLOW: &str = "refused: the first attempt would send a password unencrypted";
const SYSTEM: &str =
    "libpq looks for the root in the user's home, the service in the system's store";
const COMMON_NAME: &str = "a common name is no host's name to the service, nor to browsers";

/// For each mode and root, whether psql and the service connect (`+`) to a server that has no TLS, and to
/// one whose certificate, signed by the authority unless the column says otherwise, is:
/// right, for another name, for the name only as its common name, signed by itself, expired.
#[rustfmt::skip]
const TABLE: [(&str, &str, &str, &str, &str); 35] = [
    // sslmode, sslrootcert, psql, the service, why they differ
    ("default", "none", "++++++", "++++++", ""),
    ("default", "authority", "++++++", "------", UNUSED_ROOT),
    ("default", "another", "++++++", "------", UNUSED_ROOT),
    ("default", "itself", "++++++", "------", UNUSED_ROOT),
    ("default", "system", "-+-+--", "-+----", COMMON_NAME),
    ("disable", "none", "++++++", "++++++", ""),
    ("disable", "authority", "++++++", "------", UNUSED_ROOT),
    ("disable", "another", "++++++", "------", UNUSED_ROOT),
    ("disable", "itself", "++++++", "------", UNUSED_ROOT),
    ("disable", "system", "------", "------", ""),
    ("allow", "none", "++++++", "------", ALLOW),
    ("allow", "authority", "++++++", "------", ALLOW),
    ("allow", "another", "++++++", "------", ALLOW),
    ("allow", "itself", "++++++", "------", ALLOW),
    ("allow", "system", "------", "------", ""),
    ("prefer", "none", "++++++", "++++++", ""),
    ("prefer", "authority", "++++++", "------", UNUSED_ROOT),
    ("prefer", "another", "++++++", "------", UNUSED_ROOT),
    ("prefer", "itself", "++++++", "------", UNUSED_ROOT),
    ("prefer", "system", "------", "------", ""),
    ("require", "none", "-+++++", "-+++++", ""),
    ("require", "authority", "-+++--", "-+++--", ""),
    ("require", "another", "------", "------", ""),
    ("require", "itself", "----+-", "----+-", ""),
    ("require", "system", "------", "------", ""),
    ("verify-ca", "none", "------", "------", ""),
    ("verify-ca", "authority", "-+++--", "-+++--", ""),
    ("verify-ca", "another", "------", "------", ""),
    ("verify-ca", "itself", "----+-", "----+-", ""),
    ("verify-ca", "system", "------", "------", ""),
    ("verify-full", "none", "------", "-+----", SYSTEM),
    ("verify-full", "authority", "-+-+--", "-+----", COMMON_NAME),
    ("verify-full", "another", "------", "------", ""),
    ("verify-full", "itself", "----+-", "----+-", ""),
    ("verify-full", "system", "-+-+--", "-+----", COMMON_NAME),
];

#[test]
fn every_mode_root_and_certificate_does_what_it_does_with_psql() {
    let cluster = Cluster::start();
    let (authority, another) = (Authority::new(), Authority::new());
    let own = Issued::self_signed_server(HOST, 2100);
    let directory = crate::support::directory();
    let itself = directory.path().join("itself.pem");
    std::fs::write(&itself, &own.certificate).expect("a file");
    let home = crate::support::directory();

    let tried = Tried {
        port: cluster.port(),
        roots: [&authority.path(), &another.path(), &itself].map(|path| path.display().to_string()),
        home: home.path(),
        system: &authority.path(),
    };
    let mut columns = vec![tried.all()];
    for certificate in [
        authority.server(HOST),
        authority.server("db.example.org"),
        authority.server_by_common_name(HOST),
        own,
        authority.expired_server(HOST),
    ] {
        cluster.use_certificate(&certificate);
        columns.push(tried.all());
    }

    for (at, (mode, root, by_psql, by_service, why)) in TABLE.into_iter().enumerate() {
        let row = |program: usize| -> String {
            let results = columns.iter().map(|column| column[at][program]);
            results
                .map(|connects| if connects { '+' } else { '-' })
                .collect()
        };
        assert_eq!(row(0), by_psql, "psql: {mode} {root}");
        assert_eq!(row(1), by_service, "the service: {mode} {root}");
        assert_eq!(why.is_empty(), by_psql == by_service, "{mode} {root}");
    }
}

/// How to connect in every mode with every root.
struct Tried<'a> {
    port: u16,
    roots: [String; 3],
    home: &'a Path,
    system: &'a Path,
}

impl Tried<'_> {
    /// Whether psql and the service connect, for each row of the table.
    fn all(&self) -> Vec<[bool; 2]> {
        let half = TABLE.len() / 2;
        let rows = |rows: &[(&str, &str, &str, &str, &str)]| -> Vec<_> {
            rows.iter().map(|row| self.row(row.0, row.1)).collect()
        };
        thread::scope(|scope| {
            let first = scope.spawn(|| rows(&TABLE[..half]));
            let second = rows(&TABLE[half..]);
            [first.join().expect("it ends"), second].concat()
        })
    }

    fn row(&self, mode: &str, root: &str) -> [bool; 2] {
        let port = self.port;
        let mut address =
            format!("postgres://keyservice@{HOST}:{port}/postgres?hostaddr=127.0.0.1");
        if mode != "default" {
            address += &format!("&sslmode={mode}");
        }
        let files = ROOTS[1..4].iter().zip(&self.roots);
        match files.into_iter().find(|(name, _)| **name == root) {
            Some((_, path)) => address += &format!("&sslrootcert={path}"),
            None if root == "system" => address += "&sslrootcert=system",
            None => {}
        }
        let mut psql = newest_psql(self.home);
        let psql = self.run(psql.args(["-c", "SELECT 1", &address]));
        let mut audit = Command::new(env!("CARGO_BIN_EXE_keyservice"));
        let audit = self.run(audit.args(["audit", "--store", &address]));
        // The database has no tables, which only those see who have connected.
        [psql == "1\n", audit.contains("there is no store at")]
    }

    /// Everything that a command prints.
    fn run(&self, command: &mut Command) -> String {
        let command = command
            .env("SSL_CERT_FILE", self.system)
            .env("SSL_CERT_DIR", self.home);
        let ran = command.output().expect("it runs");
        [ran.stdout, ran.stderr]
            .map(|said| String::from_utf8(said).expect("UTF-8"))
            .concat()
    }
}
