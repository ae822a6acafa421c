//! The role that owns the tables has all rights on them: no printed grants take them, and a start misses them.

use crate::support::{
    postgres::{
        Cluster, Version, database_in,
        roles::{create_role_without_rights, grants, role_in},
        session,
    },
    server::{Server, assert_refused, command},
    stores::use_everything,
};
use std::process::Command;

/// What each role may do, and with what.
const RIGHTS: &str = "
    SELECT string_agg(rights, ' ' ORDER BY rights) FROM (
        SELECT datname || datacl::text AS rights FROM pg_database WHERE datname = current_database()
        UNION ALL SELECT nspname || nspacl::text FROM pg_namespace
        UNION ALL SELECT relname || relacl::text FROM pg_class) all_rights";

/// The address of a database that one role owns and serves.
async fn of_one_role(cluster: &Cluster) -> String {
    let store = cluster.create_database();
    let address = create_role_without_rights("owner", cluster, &store);
    let (database, role) = (database_in(&store), role_in(&address));
    cluster.psql(
        database,
        &format!("ALTER DATABASE {database} OWNER TO {role}"),
    );
    use_everything(&address).await.expect("migrated");
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn printed_grants_for_an_owner_are_refused_and_change_nothing() {
    for version in Version::ALL {
        let cluster = Cluster::shared_of(version);
        let store = of_one_role(&cluster).await;
        let (database, owner) = (database_in(&store), role_in(&store));
        let others: [&str; 2] = ["schemas", "tables"];
        let [of_schema, of_table] = others.map(|name| {
            let address = create_role_without_rights(name, &cluster, &store);
            role_in(&address)
        });
        let give = format!(
            "ALTER SCHEMA keyservice_audit OWNER TO {of_schema}; ALTER TABLE keyservice.keys OWNER TO {of_table}"
        );
        cluster.psql(database, &give);
        let before = cluster.psql(database, RIGHTS);
        for role in [&owner, &of_schema, &of_table] {
            for task in ["service", "audit"] {
                let statements = grants(role, task, &store);
                let operator = session(&cluster.address_of(database)).await;
                let refused = operator.batch_execute(&statements).await;
                let refused = refused.expect_err(role);
                let refused = refused.as_db_error().expect("an answer").message();
                let useful = format!(
                    "run only REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC"
                );
                assert!(
                    refused.contains("needs no grants") && refused.contains(&useful),
                    "{refused}"
                );
            }
        }
        assert_eq!(cluster.psql(database, RIGHTS), before, "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_without_its_rights_is_told_how_to_get_them_back() {
    let cluster = Cluster::shared();
    for task in ["service", "audit"] {
        let store = of_one_role(&cluster).await;
        let owner = role_in(&store);
        let statements = grants(&owner, task, &store);
        let unchecked = statements.lines().filter(|line| !line.starts_with("DO "));
        let unchecked: String = unchecked.map(|line| format!("{line}\n")).collect();
        cluster.psql(database_in(&store), &unchecked);

        let cause = format!("the role {owner} owns the tables, and somebody has revoked rights");
        assert_refused(
            &mut command(&store),
            &[&cause, "run in psql: GRANT ALL ON "],
        )
        .await;
        let refused = accept(&store).expect_err("it lacks rights");
        assert!(refused.contains(&cause), "{refused}");

        let (_, way_out) = refused
            .trim()
            .split_once("run in psql: ")
            .expect("a remedy");
        cluster.psql_at(&store, way_out);
        accept(&store).expect("nothing is restored");
        Server::start(&store).await.terminate().await;
        use_everything(&store).await.expect("used");
    }
}

fn accept(store: &str) -> Result<(), String> {
    let ran = Command::new(env!("CARGO_BIN_EXE_keyservice"))
        .args(["accept-restore", "--yes", "--store", store])
        .output()
        .expect("keyservice runs");
    let said = String::from_utf8(ran.stderr).expect("UTF-8");
    ran.status.success().then_some(()).ok_or(said)
}
