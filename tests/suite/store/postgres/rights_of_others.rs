//! Rights on the tables that come from PUBLIC, from default privileges or from another role's grants.

use crate::support::{
    postgres::{
        Cluster, Version, database_in,
        roles::{create_role_for, create_role_without_rights, grants, role_in},
    },
    server::Server,
};

/// What PUBLIC may do with what is in the schemas.
const OF_PUBLIC: &str = "
    SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a
    WHERE c.relnamespace IN ('keyservice'::regnamespace, 'keyservice_audit'::regnamespace) AND a.grantee = 0";

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_takes_what_default_privileges_give_to_everybody() {
    for version in Version::ALL {
        let cluster = Cluster::shared_of(version);
        let store = cluster.create_database();
        let database = database_in(&store);
        let careless = "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC; \
                        ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC; \
                        ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC";
        cluster.psql(database, careless);
        Server::start(&store).await;
        assert_eq!(cluster.psql(database, OF_PUBLIC), "0", "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_of_everybody_are_warned_of_until_the_printed_grants_take_them() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let database = database_in(&store);
    Server::start(&store).await;
    let warning = "every role has rights in the schemas of this service";
    let service = create_role_for("service", &cluster, &store);
    for careless in [
        "GRANT DELETE ON keyservice.audit TO PUBLIC",
        "GRANT SELECT (digest) ON keyservice.keys TO PUBLIC",
        "GRANT USAGE ON SCHEMA keyservice_audit TO PUBLIC",
        "GRANT UPDATE ON keyservice.audit_number_seq TO PUBLIC",
    ] {
        cluster.psql(database, careless);
        let log = Server::start(&service).await.log();
        assert!(log.contains(warning), "{careless}: {log}");
        let role = role_in(&service);
        cluster.psql(database, &grants(&role, "service", &store));
        let log = Server::start(&service).await.log();
        assert!(!log.contains(warning), "{careless}: {log}");
    }
    let delete = format!(
        "SELECT has_table_privilege('{}', 'keyservice.audit', 'DELETE')",
        role_in(&service)
    );
    assert_eq!(cluster.psql(database, &delete), "f");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_change_audit_records_is_warned_of() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    Server::start(&store).await;
    let service = create_role_for("service", &cluster, &store);
    create_role_for("audit", &cluster, &store);
    let log = Server::start(&service).await.log();
    assert!(!log.contains("has rights in the schemas"), "{log}");

    let role = role_in(&create_role_without_rights("reports", &cluster, &store));
    let grant = format!("GRANT TRUNCATE ON keyservice.audit TO {role}");
    cluster.psql(database_in(&store), &grant);
    let log = Server::start(&service).await.log();
    let warning = format!("the role {role} has rights in the schemas of this service, TRUNCATE");
    assert!(log.contains(&warning), "{log}");
}
