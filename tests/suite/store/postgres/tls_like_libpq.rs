//! With the same address, the service connects where psql does, and refuses what psql refuses.

use crate::support::{
    certificates::{Authority, Issued},
    postgres::{Cluster, Version},
    tools::newest_psql,
};
use std::{path::Path, process::Command, thread};

const HOST: &str = "db.example.com";
const NAMED: &str = "subjectAltName=DNS:db.example.com";

/// The file with the authority is also the system's. The intermediate authority is signed by the authority.
const ROOTS: [&str; 7] = [
    "none",
    "authority",
    "another",
    "itself",
    "intermediate",
    "missing",
    "system",
];

const UNUSED_ROOT: &str =
    "refused: libpq takes the root, and connects without what it seems to promise";
const MISSING: &str = "refused: libpq verifies nothing if the file is not there";
const ALLOW: &str = "refused: the first attempt would send a password unencrypted";
const SYSTEM: &str =
    "libpq looks for the root in the user's home, the service in the system's store";
const COMMON_NAME_AND_KINDS: &str = "a common name is no host's name to the service, nor to browsers; and \
                                     as below";
const KINDS: &str = "the service has no RSA of fewer than 2048 bits, no P-521 and no X.509 version 1: each \
                     is said in the error";
const PARTIAL: &str = "the service trusts an authority that is named, and so less than its root, which \
                       libpq demands too";

/// For each mode and root, whether psql and the service connect (`+`) to a server that has no TLS, and to
/// one whose certificate, signed by the authority unless the column says otherwise, is: right, for another
/// name, for the name only as its common name, signed by itself, expired; signed by the intermediate
/// authority and followed by that one's certificate; of RSA-1024, of P-521, of X.509 version 1.
#[rustfmt::skip]
const TABLE: [(&str, &str, &str, &str, &str); 49] = [
    // sslmode, sslrootcert, psql, the service, why they differ
    ("default", "none", "++++++++++", "++++++++++", ""),
    ("default", "authority", "++++++++++", "----------", UNUSED_ROOT),
    ("default", "another", "++++++++++", "----------", UNUSED_ROOT),
    ("default", "itself", "++++++++++", "----------", UNUSED_ROOT),
    ("default", "intermediate", "++++++++++", "----------", UNUSED_ROOT),
    ("default", "missing", "++++++++++", "----------", UNUSED_ROOT),
    ("default", "system", "-+-+--++++", "-+----+---", COMMON_NAME_AND_KINDS),
    ("disable", "none", "++++++++++", "++++++++++", ""),
    ("disable", "authority", "++++++++++", "----------", UNUSED_ROOT),
    ("disable", "another", "++++++++++", "----------", UNUSED_ROOT),
    ("disable", "itself", "++++++++++", "----------", UNUSED_ROOT),
    ("disable", "intermediate", "++++++++++", "----------", UNUSED_ROOT),
    ("disable", "missing", "++++++++++", "----------", UNUSED_ROOT),
    ("disable", "system", "----------", "----------", ""),
    ("allow", "none", "++++++++++", "----------", ALLOW),
    ("allow", "authority", "++++++++++", "----------", ALLOW),
    ("allow", "another", "++++++++++", "----------", ALLOW),
    ("allow", "itself", "++++++++++", "----------", ALLOW),
    ("allow", "intermediate", "++++++++++", "----------", ALLOW),
    ("allow", "missing", "++++++++++", "----------", ALLOW),
    ("allow", "system", "----------", "----------", ""),
    ("prefer", "none", "++++++++++", "++++++++++", ""),
    ("prefer", "authority", "++++++++++", "----------", UNUSED_ROOT),
    ("prefer", "another", "++++++++++", "----------", UNUSED_ROOT),
    ("prefer", "itself", "++++++++++", "----------", UNUSED_ROOT),
    ("prefer", "intermediate", "++++++++++", "----------", UNUSED_ROOT),
    ("prefer", "missing", "++++++++++", "----------", UNUSED_ROOT),
    ("prefer", "system", "----------", "----------", ""),
    ("require", "none", "-+++++++++", "-++++++---", KINDS),
    ("require", "authority", "-+++--++++", "-+++--+---", KINDS),
    ("require", "another", "----------", "----------", ""),
    ("require", "itself", "----+-----", "----+-----", ""),
    ("require", "intermediate", "----------", "------+---", PARTIAL),
    ("require", "missing", "-+++++++++", "----------", MISSING),
    ("require", "system", "----------", "----------", ""),
    ("verify-ca", "none", "----------", "----------", ""),
    ("verify-ca", "authority", "-+++--++++", "-+++--+---", KINDS),
    ("verify-ca", "another", "----------", "----------", ""),
    ("verify-ca", "itself", "----+-----", "----+-----", ""),
    ("verify-ca", "intermediate", "----------", "------+---", PARTIAL),
    ("verify-ca", "missing", "----------", "----------", ""),
    ("verify-ca", "system", "----------", "----------", ""),
    ("verify-full", "none", "----------", "-+----+---", SYSTEM),
    ("verify-full", "authority", "-+-+--++++", "-+----+---", COMMON_NAME_AND_KINDS),
    ("verify-full", "another", "----------", "----------", ""),
    ("verify-full", "itself", "----+-----", "----+-----", ""),
    ("verify-full", "intermediate", "----------", "------+---", PARTIAL),
    ("verify-full", "missing", "----------", "----------", ""),
    ("verify-full", "system", "-+-+--++++", "-+----+---", COMMON_NAME_AND_KINDS),
];

#[test]
fn every_mode_root_and_certificate_does_what_it_does_with_psql() {
    // Debian's would not serve with RSA-1024.
    let cluster = Cluster::start_version(Version::Newest);
    let (authority, another) = (Authority::new(), Authority::new());
    let own = Issued::self_signed_server(HOST, 2100);
    let directory = crate::support::directory();
    let itself = directory.path().join("itself.pem");
    std::fs::write(&itself, &own.certificate).expect("a file");
    let intermediate = authority.intermediate();
    let missing = directory.path().join("missing.pem");
    let home = crate::support::directory();

    let tried = Tried {
        port: cluster.port(),
        roots: [
            &authority.path(),
            &another.path(),
            &itself,
            &intermediate.path(),
            &missing,
        ]
        .map(|path| path.display().to_string()),
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
        intermediate.server(HOST).followed_by(&intermediate.pem()),
        authority.server_by_openssl(HOST, "rsa:1024", NAMED),
        authority.server_by_openssl(HOST, "ec -pkeyopt ec_paramgen_curve:P-521", NAMED),
        authority.server_by_openssl(HOST, "ec -pkeyopt ec_paramgen_curve:P-256", ""),
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

const NO_NAME: &str = "libpq verifies no name that it is not given, the service the address itself";

/// Whether they connect where the address has a hostaddr and no host, to a server whose certificate is for a
/// name, and to one whose certificate is for the network address.
const HOSTADDR_ONLY: [(&str, &str, &str, &str); 4] = [
    // sslmode, psql, the service, why they differ
    ("prefer", "++", "++", ""),
    ("require", "++", "++", ""),
    ("verify-ca", "++", "++", ""),
    ("verify-full", "--", "-+", NO_NAME),
];

#[test]
fn an_address_without_a_name_does_what_it_does_with_psql() {
    let cluster = Cluster::start();
    let (authority, home) = (Authority::new(), crate::support::directory());
    let tried = Tried {
        port: cluster.port(),
        roots: [const { String::new() }; 5],
        home: home.path(),
        system: &authority.path(),
    };
    let (port, root) = (cluster.port(), authority.path());
    let columns = [HOST, "127.0.0.1"].map(|name| {
        cluster.use_certificate(&authority.server_by_name_or_address(name));
        HOSTADDR_ONLY.map(|(mode, ..)| {
            let mut address = format!(
                "postgres://keyservice@/postgres?hostaddr=127.0.0.1&port={port}&sslmode={mode}"
            );
            if mode.starts_with("verify") {
                address += &format!("&sslrootcert={}", root.display());
            }
            tried.try_address(&address)
        })
    });
    for (at, (mode, by_psql, by_service, why)) in HOSTADDR_ONLY.into_iter().enumerate() {
        let row = |program: usize| {
            columns
                .map(|column| if column[at][program] { '+' } else { '-' })
                .iter()
                .collect::<String>()
        };
        assert_eq!(row(0), by_psql, "psql: {mode}");
        assert_eq!(row(1), by_service, "the service: {mode}");
        assert_eq!(why.is_empty(), by_psql == by_service, "{mode}");
    }
}

/// How to connect in every mode with every root.
struct Tried<'a> {
    port: u16,
    roots: [String; 5],
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
        let files = ROOTS[1..6].iter().zip(&self.roots);
        match files.into_iter().find(|(name, _)| **name == root) {
            Some((_, path)) => address += &format!("&sslrootcert={path}"),
            None if root == "system" => address += "&sslrootcert=system",
            None => {}
        }
        self.try_address(&address)
    }

    /// Whether psql and the service connect with an address.
    fn try_address(&self, address: &str) -> [bool; 2] {
        let mut psql = newest_psql(self.home);
        let psql = self.run(psql.args(["-c", "SELECT 1", address]));
        let mut audit = Command::new(env!("CARGO_BIN_EXE_keyservice"));
        let audit = self.run(audit.args(["audit", "--store", address]));
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
