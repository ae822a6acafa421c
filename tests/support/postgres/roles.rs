//! Roles with exactly the rights that `keyservice grants` prints.

use crate::support::postgres::{Cluster, database_in};
use std::process::Command;

/// What `keyservice grants` prints for a role of a store: one statement a line.
pub fn grants(role: &str, task: &str, store: &str) -> String {
    let printed = Command::new(env!("CARGO_BIN_EXE_keyservice"))
        .args(["grants", "--role", role, "--for", task])
        .args(["--database", database_in(store)])
        .output()
        .expect("keyservice runs");
    let error = String::from_utf8_lossy(&printed.stderr);
    assert!(printed.status.success() && error.is_empty(), "{error}");
    String::from_utf8(printed.stdout).expect("UTF-8")
}

/// Creates a role for a task (`service` or `audit`) on a migrated database, and returns its address.
pub fn create_role_for(task: &str, cluster: &Cluster, store: &str) -> String {
    let address = create_role_without_rights(task, cluster, store);
    let role = role_in(&address);
    cluster.psql(database_in(store), &grants(&role, task, store));
    address
}

/// Creates a role that may connect and no more, and returns its address.
pub fn create_role_without_rights(name: &str, cluster: &Cluster, store: &str) -> String {
    let database = database_in(store);
    let role = format!("{name}_{database}");
    let create =
        format!("CREATE ROLE {role} LOGIN; GRANT CONNECT ON DATABASE {database} TO {role}");
    cluster.psql(database, &create);
    cluster.address_for(&role, database)
}

/// The role in an address.
pub fn role_in(address: &str) -> String {
    let rest = address.strip_prefix("postgres://").expect("an address");
    rest.split_once('@').expect("a role").0.to_owned()
}
