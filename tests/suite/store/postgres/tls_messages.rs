//! A connection that fails for TLS, or for lack of it, says why and what to do, in plain words.

use crate::support::{
    certificates::{Authority, Issued},
    postgres::{
        Cluster,
        tls_peer::{agree_to_tls, demand_client_certificate},
    },
    server::audit_command::audit_error,
};
use std::{
    io::{Read, Write},
    path::Path,
};

const HOST: &str = "db.example.com";

/// What `keyservice audit` says once it has connected to a database without tables.
const CONNECTED: &str = "there is no store at";

fn address(port: u16, user: &str, parameters: &str) -> String {
    format!("postgres://{user}@{HOST}:{port}/postgres?hostaddr=127.0.0.1&{parameters}")
}

fn verified(port: u16, mode: &str, root: &Path) -> String {
    let parameters = format!("sslmode={mode}&sslrootcert={}", root.display());
    address(port, "keyservice", &parameters)
}

/// Asserts what the service says of an address, without the names of types in it.
fn assert_said(address: &str, part: &str) {
    let said = audit_error(address, &[]);
    assert!(said.contains(part), "{part} is missing in: {said}");
    assert!(!said.contains("hunter2"), "{said}");
    let is_name_of_type = |word: &&str| {
        let letters: Vec<_> = word.chars().collect();
        let mut pairs = letters.windows(2);
        !["serverAuth", "digitalSignature"].contains(word)
            && pairs.any(|it| it[0].is_lowercase() && it[1].is_uppercase())
    };
    let words = said.split(|letter: char| !letter.is_alphanumeric());
    let of_address = |word: &&str| address.contains(word);
    let names: Vec<_> = words
        .filter(|word| is_name_of_type(word) && !of_address(word))
        .collect();
    assert!(names.is_empty(), "{names:?}: {said}");
}

#[test]
fn a_certificate_that_is_refused_is_told_from_the_others() {
    let cluster = Cluster::start();
    let authority = Authority::new();
    let directory = crate::support::directory();
    let own_root = |name: &str, host, last_year| {
        let issued = Issued::self_signed_server(host, last_year);
        let path = directory.path().join(name);
        std::fs::write(&path, &issued.certificate).expect("a file");
        (issued, path)
    };
    let (of_another_host, its_path) = own_root("another", "db.example.org", 2100);
    let (expired, expired_path) = own_root("expired", HOST, 2000);
    let (for_clients, ca) = (authority.client_by_host(HOST), authority.path());
    let chain = |others| {
        authority
            .server(HOST)
            .followed_by(&authority.pem().repeat(others))
    };
    let other_name = "does not name the address's host";
    for (certificate, mode, root, said) in [
        (
            authority.server("db.example.org"),
            "verify-full",
            &ca,
            other_name,
        ),
        (
            authority.server_by_common_name(HOST),
            "verify-full",
            &ca,
            "a common name does not count",
        ),
        (for_clients, "verify-ca", &ca, "is for another purpose"),
        (
            authority.expired_server(HOST),
            "verify-ca",
            &ca,
            "has expired",
        ),
        (
            authority.future_server(HOST),
            "verify-ca",
            &ca,
            "is not valid yet",
        ),
        (
            Authority::new().server(HOST),
            "verify-ca",
            &ca,
            "none of the roots",
        ),
        (
            of_another_host.clone(),
            "verify-ca",
            &ca,
            "is that of an authority",
        ),
        (of_another_host.clone(), "verify-ca", &its_path, CONNECTED),
        (of_another_host, "verify-full", &its_path, other_name),
        (expired, "verify-ca", &expired_path, "has expired"),
        (chain(4), "verify-full", &ca, CONNECTED),
        (
            chain(5),
            "verify-full",
            &ca,
            "comes with more than four others",
        ),
    ] {
        cluster.use_certificate(&certificate);
        assert_said(&verified(cluster.port(), mode, root), said);
    }
}

#[test]
fn a_handshake_that_fails_is_reported_and_prefer_goes_on_without_tls() {
    let cluster = Cluster::start();
    cluster.psql("postgres", "CREATE ROLE kate LOGIN");
    cluster.psql(
        "postgres",
        "ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1'",
    );
    cluster.psql(
        "postgres",
        "ALTER SYSTEM SET ssl_max_protocol_version = 'TLSv1.1'",
    );
    cluster.use_certificate(&Authority::new().server(HOST));
    cluster.use_rules("hostssl all kate all trust\nhost all keyservice all trust\n");
    let port = cluster.port();
    let incompatible = "no TLS version, cipher or kind of certificate in common";
    assert_said(
        &address(port, "keyservice", "sslmode=require"),
        incompatible,
    );
    assert_said(&address(port, "keyservice", "sslmode=prefer"), CONNECTED);
    // Nobody may do without TLS as this role, so that the handshake is what must be mended.
    assert_said(&address(port, "kate", "sslmode=prefer"), incompatible);

    let port = agree_to_tls(|mut stream| {
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .expect("written");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert_said(
        &address(port, "kate", "sslmode=require"),
        "is not valid TLS",
    );
    let port = agree_to_tls(|mut stream| {
        stream.read_exact(&mut [0; 5]).expect("a record");
        stream.shutdown(std::net::Shutdown::Write).expect("open");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert_said(
        &address(port, "kate", "sslmode=require"),
        "closed the connection",
    );
}

#[test]
fn a_server_that_demands_a_client_certificate_is_told_from_others() {
    let cluster = Cluster::start();
    let authority = Authority::new();
    cluster.psql("postgres", "CREATE ROLE kate LOGIN");
    cluster.write_file("root.crt", &authority.pem());
    cluster.psql("postgres", "ALTER SYSTEM SET ssl_ca_file = 'root.crt'");
    cluster.use_certificate(&authority.server(HOST));
    cluster.use_rules(
        "hostssl all kate all trust clientcert=verify-ca\nhost all keyservice all trust\n",
    );
    for mode in ["prefer", "require"] {
        let address = address(cluster.port(), "kate", &format!("sslmode={mode}"));
        assert_said(
            &address,
            "valid client certificate, and this service sends none",
        );
    }

    // Such as a pooler that demands one in the handshake.
    let port = agree_to_tls(move |stream| {
        demand_client_certificate(stream, &authority.server(HOST), &authority);
    });
    let demanded = "demands a client certificate, and this service sends none";
    assert_said(&address(port, "kate", "sslmode=require"), demanded);
}

#[test]
fn what_the_rules_of_the_server_demand_of_tls_is_reported() {
    let cluster = Cluster::start();
    cluster.use_certificate(&Authority::new().server(HOST));
    for role in ["encrypted", "plain"] {
        cluster.psql(
            "postgres",
            &format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter2'"),
        );
    }
    cluster.use_rules(
        "hostssl all encrypted all scram-sha-256\nhostnossl all plain all scram-sha-256\n\
         host all keyservice all trust\n",
    );
    let (no_entry, wrong) = ("no pg_hba.conf entry", "password authentication failed");
    let unbound = "server did not use channel binding";
    for (user, parameters, said) in [
        ("encrypted:hunter2", "sslmode=prefer", CONNECTED),
        ("encrypted:hunter2", "sslmode=disable", no_entry),
        ("encrypted:hunter2", "channel_binding=require", CONNECTED),
        ("encrypted:hunter2-not", "sslmode=prefer", wrong),
        ("plain:hunter2", "sslmode=prefer", CONNECTED),
        ("plain:hunter2", "sslmode=require", no_entry),
        ("plain:hunter2-not", "sslmode=prefer", wrong),
        // Binding needs TLS, so that nothing is tried without.
        ("plain:hunter2", "channel_binding=require", no_entry),
        (
            "plain:hunter2",
            "sslmode=disable&channel_binding=require",
            unbound,
        ),
        // Nothing is bound where there is no password.
        ("keyservice", "channel_binding=require", unbound),
    ] {
        assert_said(&address(cluster.port(), user, parameters), said);
    }
}

#[test]
fn a_unix_socket_is_never_encrypted_and_a_network_address_may_stand_for_the_host() {
    let cluster = Cluster::start();
    let authority = Authority::new();
    cluster.use_certificate(&authority.server("127.0.0.1"));
    cluster.use_rules("local all all trust\nhostssl all all all trust\n");
    let (port, root) = (cluster.port(), authority.path().display().to_string());
    let data = cluster.data_directory();
    let socket = data.parent().expect("a directory").display().to_string();
    let socket = socket.replace('/', "%2F");
    let verified = format!("sslmode=verify-full&sslrootcert={root}");
    assert_said(
        &format!("postgres://keyservice@{socket}:{port}/postgres?{verified}"),
        CONNECTED,
    );
    for parameters in ["sslmode=prefer", "sslmode=require"] {
        let host = format!("hostaddr=127.0.0.1&port={port}&user=keyservice");
        assert_said(
            &format!("postgres:///postgres?{host}&{parameters}"),
            CONNECTED,
        );
    }
}
