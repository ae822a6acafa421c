//! Objects that a hostile role plants where SQL may find them: none of them ever runs.

use crate::support::{
    postgres::{
        Cluster, Version, database_in,
        planted::{TRACE, plant_in_public},
        roles::{create_role_for, create_role_without_rights, grants, role_in},
        session,
    },
    server::{
        Server, assert_refused,
        audit_command::{audit_error, records},
        command,
    },
    stores::use_everything,
};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_planted_in_public_runs_on_the_oldest_version_with_its_own_rights() {
    assert_nothing_planted_runs(&Cluster::start_version(Version::Oldest)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_planted_in_public_runs_where_everybody_may_write_to_it() {
    let cluster = Cluster::start();
    let writable = "GRANT CREATE ON SCHEMA public TO PUBLIC";
    cluster.psql("template1", writable);
    assert_nothing_planted_runs(&cluster).await;
}

/// Plants before the tables exist and again for a role that may read records, and uses everything each
/// time: with PostgreSQL's default path, and with one that a pooler's other users could have left.
async fn assert_nothing_planted_runs(cluster: &Cluster) {
    for path in ["\"$user\", public", "public, pg_catalog"] {
        let store = cluster.create_database();
        let database = database_in(&store);
        let owner = create_role_without_rights("owner", cluster, &store);
        let set_path = format!("ALTER DATABASE {database} SET search_path = {path}");
        let give = format!("ALTER DATABASE {database} OWNER TO {}", role_in(&owner));
        cluster.psql("postgres", &give);
        let hostile = create_role_without_rights("hostile", cluster, &store);
        plant_in_public(cluster, &hostile);
        cluster.psql("postgres", &set_path);
        use_everything(&owner).await.expect(path);

        cluster.psql(database, &grants(&role_in(&hostile), "audit", &store));
        let reset = format!("ALTER DATABASE {database} RESET search_path");
        cluster.psql("postgres", &reset);
        plant_in_public(cluster, &hostile);
        cluster.psql("postgres", &set_path);
        let service = create_role_for("service", cluster, &store);
        for address in [&owner, &service] {
            use_everything(address).await.expect(path);
        }
        let server = Server::start(&service).await;
        let mut client = server.client().await;
        let (token, key_id) = client.create_key().await;
        client.revoke(&key_id).await.expect("revoked");
        assert!(client.is_revoked(&token).await);
        assert!(!records(&hostile, &["--account", "acme", "--limit", "5"]).is_empty());
        assert!(server.terminate().await.success());
        assert!(!cluster.log().contains(TRACE), "{path}: {}", cluster.log());
    }

    // Shows that the log would tell.
    let store = cluster.create_database();
    let hostile = create_role_without_rights("hostile", cluster, &store);
    plant_in_public(cluster, &hostile);
    let session = session(&store).await;
    let path = "CREATE TABLE public.assigned (value pg_catalog.int4); \
                SET search_path = public, pg_catalog";
    session.batch_execute(path).await.expect("set");
    for victim in [
        "SELECT max(1)",
        "SELECT 1::int4 = 1::int4",
        "SELECT ''::text",
        "SELECT 'a'::pg_catalog.text::public.planted",
        "SELECT public.planted_cast_1('a'::pg_catalog.text)",
        "INSERT INTO public.assigned VALUES ('a'::public.planted)",
    ] {
        let ran = session.batch_execute(victim).await;
        let error = ran.expect_err(victim);
        let error = error.as_db_error().expect("an answer").message();
        assert_eq!(error, TRACE, "{victim}");
    }
    assert!(cluster.log().contains(TRACE));
}

/// A pooler may hand a session on with the temporary objects that it has.
#[tokio::test(flavor = "multi_thread")]
async fn the_functions_use_no_temporary_object_of_the_session() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    let session = session(&store).await;
    let plant = "DO $$ DECLARE v_name text; BEGIN
        FOR v_name IN SELECT relname FROM pg_class
            WHERE relkind IN ('r', 'v') AND relnamespace IN ('pg_catalog'::regnamespace, 'keyservice'::regnamespace)
        LOOP
            EXECUTE format('CREATE TEMP TABLE %I ()', v_name);
        END LOOP;
        FOR v_name IN SELECT typname FROM pg_catalog.pg_type
            WHERE typtype = 'b' AND typelem = 0 AND typnamespace = 'pg_catalog'::pg_catalog.regnamespace
        LOOP
            BEGIN
                EXECUTE pg_catalog.format('CREATE DOMAIN pg_temp.%I AS pg_catalog.%I CHECK (false)', v_name, v_name);
            EXCEPTION WHEN OTHERS THEN NULL;
            END;
        END LOOP;
    END $$";
    session.batch_execute(plant).await.expect("planted");
    let shadowed = session.batch_execute("SELECT ''::text").await;
    shadowed.expect_err("the session's own SQL finds them");
    let id = "pg_catalog.gen_random_uuid()";
    let key = "'00000000-0000-0000-0000-000000000001'";
    let digest = "pg_catalog.decode(pg_catalog.repeat('ab', 32), 'hex')";
    let other_digest = "pg_catalog.decode(pg_catalog.repeat('cd', 32), 'hex')";
    let [new_digest, successors_digest, group_digest] = ["12", "34", "56"]
        .map(|byte| format!("pg_catalog.decode(pg_catalog.repeat('{byte}', 32), 'hex')"));
    let times = "pg_catalog.now()";
    let succeed = async |calls: &[String]| {
        for call in calls {
            let call = format!("SELECT keyservice.{call}");
            let ran = session.batch_execute(&call).await;
            assert!(ran.is_ok(), "{call}: {ran:?}");
        }
    };
    succeed(&[
        format!(
            "create_key({id}, {new_digest}, 'a', 'b', 'c', NULL, NULL, 'r', {times}, {times}, '{{l=v}}', 100)"
        ),
        format!(
            "create_keys(ARRAY[{id}], ARRAY[{group_digest}], ARRAY['a'], ARRAY['b'], ARRAY['c'], ARRAY['d'], \
             ARRAY['{{e}}'], ARRAY['g'], ARRAY[{times}], ARRAY[{times}], ARRAY['{{l=v}}'], ARRAY[100]::pg_catalog.int8[], \
             ARRAY['caller'], 'Create', 'OK', 'ALREADY_EXISTS')"
        ),
        format!(
            "create_keys(ARRAY[{id}], ARRAY[{group_digest}], ARRAY['a'], ARRAY['b'], ARRAY['c'], ARRAY[NULL], \
             ARRAY[NULL], ARRAY['r'], ARRAY[{times}], ARRAY[NULL]::pg_catalog.timestamptz[], ARRAY['{{}}'], \
             ARRAY[NULL]::pg_catalog.int8[], ARRAY['caller'], 'Create', 'OK', 'ALREADY_EXISTS')"
        ),
        format!(
            "revoke_keys(ARRAY[NULL]::pg_catalog.uuid[], ARRAY[{new_digest}], ARRAY['{{b}}'], ARRAY[{times}], \
             ARRAY['caller'], 'Revoke', 'OK')"
        ),
        format!("set_suspension('a', 'why', {times})"),
        format!("set_suspension('a', NULL, {times})"),
        format!("renew_by_feed({id}, 'x', 1, 2000, 0, 0, 0, {id}, 10)"),
        format!("read_feed(0, 0, {id}, 10)"),
        format!(
            "replace_key(k.key_id, 2, 'b', 'd', NULL, '{{m=v}}', {times}, NULL, NULL, NULL, {times}, {id}, \
             {successors_digest}, 'c', 's', NULL, 100) FROM keyservice.keys k WHERE k.digest OPERATOR(pg_catalog.=) {new_digest}"
        ),
        "walk_keys('LABEL', 'a', 'm=v', 100, 10)".to_owned(),
        "walk_keys('ALL', NULL, NULL, 100, 10)".to_owned(),
        format!(
            "batch_revoke(ARRAY(SELECT k.key_id FROM keyservice.keys k), 'why', {times}, 'c', 'BatchRevoke', 'OK')"
        ),
        format!("raise_history_start({times}, 10)"),
        format!("forget_keys(pg_catalog.to_timestamp(0), {id}, 10)"),
        "forget_writes(0, 10)".to_owned(),
    ]).await;
    // The functions of the release before would refuse to go on.
    cluster.psql(database_in(&store), "DELETE FROM keyservice.first_change");
    succeed(&[
        format!("create_key({key}, {digest}, 'a', 'b', 'c', 'd', 'e', {times}, {times})"),
        format!("create_key({key}, {digest}, 'a', 'b', 'c', 'd', 'e', {times}, {times})"),
        format!("revoke_key({key}, NULL, NULL, {times})"),
        format!("revoke_key(NULL, {digest}, ARRAY['a'], {times})"),
        format!("renew_lease({key}, 'x', 1, 2000, 0, 0, {id}, 10)"),
        format!("read_changes(0, {id}, 10)"),
        format!("add_domain('a', 'd', true, {times})"),
        format!("add_domain('a', 'd', true, {times})"),
        format!(
            "create_key({id}, {other_digest}, 'a', 'b', 'c', 'x.d', ARRAY['d'], 'f', {times}, {times})"
        ),
        format!("remove_subdomains('a', 'd', {times})"),
        format!("remove_domain('a', 'd', {times})"),
        format!("remove_domain('a', 'd', {times})"),
        format!("renew({key}, 'x', 2, 2000, 0, 0, 0, {id}, 10)"),
        format!("read_states(0, 0, {id}, 10)"),
        format!("look_at_replicas(ARRAY[1], ARRAY[{id}])"),
    ])
    .await;
    let delete = session.batch_execute("DELETE FROM keyservice.audit");
    let refused = delete.await.expect_err("append-only");
    let refused = refused.as_db_error().expect("an answer").message();
    assert_eq!(refused, "keyservice.audit is append-only");
}

/// An operator or an aggregate of their own makes an old record look as if it might go.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_delete_records_deletes_none_by_a_search_path() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    let database = database_in(&store);
    let hostile = create_role_without_rights("hostile", &cluster, &store);
    let role = role_in(&hostile);
    let rights = "GRANT SELECT, DELETE ON keyservice.audit TO {}; \
                  GRANT SELECT ON keyservice.audit_prunings TO {}; \
                  GRANT USAGE ON SCHEMA keyservice TO {}; CREATE SCHEMA {} AUTHORIZATION {}";
    cluster.psql(database, &rights.replace("{}", &role));
    let session = session(&hostile).await;
    let plant = "CREATE FUNCTION {}.always(timestamptz, timestamptz) RETURNS bool
                     LANGUAGE sql AS 'SELECT true';
                 CREATE OPERATOR {}.< (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = {}.always);
                 SET search_path = {}, pg_catalog";
    let plant = plant.replace("{}", &role);
    session.batch_execute(&plant).await.expect("planted");
    let deleted = session.batch_execute("DELETE FROM keyservice.audit").await;
    let refused = deleted.expect_err("append-only");
    let refused = refused.as_db_error().expect("an answer").message();
    assert_eq!(refused, "keyservice.audit is append-only");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_has_a_search_path_of_its_own() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    let without = "SELECT count(*) FILTER (WHERE 'search_path=pg_catalog, pg_temp' = ANY (proconfig)), \
                   count(*) FROM pg_proc WHERE pronamespace = 'keyservice'::regnamespace";
    let counts = cluster.psql(database_in(&store), without);
    let (pinned, all) = counts.split_once('|').expect("two");
    assert_eq!(pinned, all);
    assert_ne!(all, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_or_an_object_of_another_role_is_refused() {
    let cluster = Cluster::shared();
    for (theirs, named) in [
        (
            "CREATE SCHEMA keyservice AUTHORIZATION {}",
            "the schema keyservice",
        ),
        (
            "CREATE SCHEMA keyservice; CREATE TABLE keyservice.migrations (number integer); \
             ALTER TABLE keyservice.migrations OWNER TO {}",
            "the relation keyservice.migrations",
        ),
        (
            "CREATE SCHEMA keyservice; CREATE FUNCTION keyservice.holds() RETURNS int LANGUAGE sql AS 'SELECT 1'; \
             ALTER FUNCTION keyservice.holds() OWNER TO {}",
            "the function keyservice.holds",
        ),
        (
            "CREATE SCHEMA keyservice; CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'; \
             CREATE TABLE keyservice.migrations (number integer); \
             CREATE TRIGGER t BEFORE INSERT ON keyservice.migrations EXECUTE FUNCTION public.f(); \
             ALTER FUNCTION public.f() OWNER TO {}",
            "the function public.f()",
        ),
    ] {
        let store = cluster.create_database();
        let stranger = role_in(&create_role_without_rights("stranger", &cluster, &store));
        cluster.psql(database_in(&store), &theirs.replace("{}", &stranger));
        let owner = create_role_without_rights("owner", &cluster, &store);
        let give = format!(
            "GRANT CREATE ON DATABASE {} TO {}",
            database_in(&store),
            role_in(&owner)
        );
        cluster.psql("postgres", &give);
        let parts = [named, &stranger, "make it the owner of the database"];
        assert_refused(&mut command(&store), &parts).await;
        assert_refused(&mut command(&owner), &parts).await;
        // The command runs with the rights of whoever reads the records.
        let refused = audit_error(&store, &[]);
        assert!(parts.iter().all(|part| refused.contains(part)), "{refused}");

        // Whoever administers the stranger's role can give this one a membership in it.
        let join = format!("GRANT {stranger} TO {}", role_in(&owner));
        cluster.psql("postgres", &join);
        assert_refused(&mut command(&owner), &parts).await;
        let trust = format!("ALTER DATABASE {} OWNER TO {stranger}", database_in(&store));
        cluster.psql("postgres", &trust);
        if named.contains("schema") {
            Server::start(&owner).await;
        }
    }
}

/// PostgreSQL 13 and 14 let a role give others a membership in itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_an_object_cannot_make_itself_trusted() {
    for version in Version::ALL {
        let cluster = Cluster::shared_of(version);
        let store = cluster.create_database();
        let database = database_in(&store);
        let owner = role_in(&create_role_without_rights("owner", &cluster, &store));
        let give = format!("GRANT CREATE ON DATABASE {database} TO {owner}");
        cluster.psql("postgres", &give);
        let stranger = create_role_without_rights("stranger", &cluster, &store);
        let role = role_in(&stranger);
        let plant = format!("CREATE SCHEMA keyservice AUTHORIZATION {role}");
        cluster.psql(database, &plant);
        let join = format!("GRANT {role} TO {owner}");
        let joined = session(&stranger).await.batch_execute(&join).await;
        assert_eq!(joined.is_ok(), version == Version::Oldest);
        let owner = cluster.address_for(&owner, database);
        let parts = ["the schema keyservice", &role];
        assert_refused(&mut command(&owner), &parts).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_in_which_everybody_may_create_objects_is_warned_of() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let warning = "every role may create objects in the schema public";
    let server = Server::start(&store).await;
    assert!(!server.log().contains(warning));
    cluster.psql(
        database_in(&store),
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
    );
    let server = Server::start(&store).await;
    assert!(server.log().contains(warning));

    let role = role_in(&create_role_without_rights("creator", &cluster, &store));
    let grant = format!("GRANT CREATE ON SCHEMA keyservice TO {role}");
    cluster.psql(database_in(&store), &grant);
    let log = Server::start(&store).await.log();
    let warning = format!("the role {role} may create objects in the schema keyservice");
    assert!(log.contains(&warning), "{log}");
}

/// Of functions with one name, PostgreSQL runs the one that fits the types best. Whoever may create one in the schema
/// must not get in before ours.
#[test]
fn each_argument_of_a_function_has_its_type_in_the_statement() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/postgres");
    let mut calls = 0;
    for file in std::fs::read_dir(folder).expect("a folder") {
        let path = file.expect("a file").path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("read");
        for call in text.split("keyservice.").skip(1) {
            let name =
                call.find(|letter: char| !letter.is_alphanumeric() && !"_{}".contains(letter));
            let Some(arguments) = call[name.unwrap_or_default()..].strip_prefix('(') else {
                continue;
            };
            let arguments = arguments.split_once(')').expect("it ends").0;
            for argument in arguments
                .split(',')
                .filter(|argument| argument.contains('$'))
            {
                assert!(
                    argument.contains("::pg_catalog."),
                    "{}: {call}",
                    path.display()
                );
                calls += 1;
            }
        }
    }
    assert!(calls > 50, "{calls}");
}
