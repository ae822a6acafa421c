//! Keys that leave the store while replicas follow it, and replicas that were away meanwhile.

use crate::support::{
    eventually,
    postgres::{Cluster, database_in, session},
    server::Server,
    stores::{Stores, accept_restore},
    uses::{Replica, Used},
};
use keyservice::{
    grpc::proto::{ResumeRequest, SuspendRequest, suspend_request},
    model::{account::Accounts, key::KeyId, time::Timestamp},
    store::{
        Agreed, KeyTarget, Old, OldWrites, Position, Progress, ReplicationError, Revision,
        Revocation, StillAllowed,
    },
};
use std::{error::Error, time::Duration};
use tonic::Code;
use uuid::Uuid;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const DAYS: i64 = 3 * 24 * 3600 * 1_000_000;

/// Otherwise it would go on granting a key of whose revocation no row tells any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_has_not_got_to_where_the_history_starts_must_load_anew() {
    let stores = Stores::postgres().await;
    let key = Used::create(&stores).await;
    let (asleep, _) = stores.load().await;
    revoke(&stores, &key).await;
    let (awake, _) = stores.load().await;
    Used::create(&stores).await;
    let (newest, _) = stores.load().await;
    make_older(&stores).await;
    forget(&stores, newest.revision).await;
    let start = stores
        .first
        .retention
        .history_start()
        .await
        .expect("a start");
    assert_eq!(start, newest.revision);
    for position in [asleep, awake, Position::START] {
        let changes = stores
            .second
            .changes
            .changes(Progress::at(position), 10)
            .await;
        let other = matches!(changes, Err(ReplicationError::OtherHistory));
        assert!(other, "{changes:?}");
    }
    let changes = stores
        .second
        .changes
        .changes(Progress::at(newest), 10)
        .await;
    assert_eq!(changes.expect("it follows").changes, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_replica_that_holds_a_lease_is_left_behind() {
    let stores = Stores::postgres().await;
    let key = Used::create(&stores).await;
    let (position, _) = stores.load().await;
    let row = format!(
        "INSERT INTO keyservice.replicas (replica_id, name, applied_revision, renewals, lease_millis, \
         renew_time, reads_feed) VALUES (gen_random_uuid(), 'it', {}, 1, 60000, now(), true)",
        position.revision.number()
    );
    stores.sql(&row).await.expect("inserted");
    revoke(&stores, &key).await;
    Used::create(&stores).await;
    make_older(&stores).await;
    forget(&stores, Revision::from_number(1000)).await;
    let start = stores
        .first
        .retention
        .history_start()
        .await
        .expect("a start");
    assert_eq!(start, position.revision);
    assert_eq!(stores.count("keys").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_password_of_the_service_deletes_no_key_that_may_be_granted() {
    let stores = Stores::postgres().await;
    let key = Used::create(&stores).await;
    let delete = format!(
        "DELETE FROM keyservice.keys WHERE key_id = '{}'",
        key.id.as_uuid()
    );
    let refused = stores.sql(&delete).await.expect_err("it is active");
    assert!(refused.contains("was not denied for long"), "{refused}");
    revoke(&stores, &key).await;
    stores
        .sql(&delete)
        .await
        .expect_err("it was revoked just now");
    let refused = stores.sql("DELETE FROM keyservice.writes").await;
    let refused = refused.expect_err("a replica may need it");
    assert!(refused.contains("may have to learn"), "{refused}");
    for start in [-1, 1000] {
        let change = format!("UPDATE keyservice.history_start SET revision = {start}");
        stores
            .sql(&change)
            .await
            .expect_err("there is no such write");
    }
}

/// A replica that was away for long is no sign that the store has lost writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_away_too_long_starts_anew_vouches_for_no_restore_and_suspends_nothing()
-> Result<(), Box<dyn Error>> {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let away = Server::start_with(&store, &["--lease=2s"], &[]).await;
    let (resumed, key_id) = away.client().await.create_key().await;
    let server = Server::start(&store).await;
    let mut client = server.client().await;
    client
        .0
        .suspend(SuspendRequest {
            target: Some(suspend_request::Target::KeyId(key_id.clone())),
            reason: "ticket".into(),
            ..Default::default()
        })
        .await?;
    let (gone, gone_id) = client.create_key().await;
    away.signal("STOP");
    client.revoke(&gone_id).await?;
    client
        .0
        .resume(ResumeRequest {
            key_id,
            ..Default::default()
        })
        .await?;
    client.create_key().await;
    let database = session(&store).await;
    database.batch_execute(
        "SET session_replication_role = replica; \
         UPDATE keyservice.keys SET revoke_time = revoke_time - interval '3 days'; \
         UPDATE keyservice.writes SET write_time = write_time - interval '3 days'; \
         SET session_replication_role = origin; \
         SELECT keyservice.raise_history_start(now() - interval '2 days', 1000); \
         SELECT keyservice.forget_keys(now() - interval '2 days', '00000000-0000-0000-0000-000000000000', 1000); \
         SELECT keyservice.forget_writes(0, 1000)",
    ).await?;
    assert_eq!(
        cluster.psql(database_in(&store), "SELECT count(*) FROM keyservice.keys"),
        "2"
    );
    // Restored too: nobody may vouch for it by such a memory.
    server.terminate().await;
    let mark = "UPDATE keyservice.origin SET written_by = '1'";
    database.batch_execute(mark).await?;
    away.signal("CONT");
    eventually("it vouches for nothing", async || {
        away.log().contains("does not remember enough to vouch")
    })
    .await;
    let is_own = || cluster.psql(database_in(&store), "SELECT keyservice.is_own()");
    assert_eq!(is_own(), "f");
    let unserved = away.client().await.authorize(&gone, "example.com").await;
    assert_eq!(unserved.expect_err("no lease").code(), Code::Unavailable);
    accept_restore(&store);
    let mut back = away.client().await;
    eventually("it serves again", async || {
        back.authorize(&gone, "example.com").await.is_ok() && away.log().contains("away for longer")
    })
    .await;
    assert!(!back.is_granted(&gone).await);
    assert!(back.is_granted(&resumed).await);
    assert!(!away.log().contains("LOST_WRITE"));
    Ok(())
}

/// Somebody who reads of it in the log has a day to put the clock right, whatever is restarted meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_nothing_goes_by_a_clock_that_has_jumped_until_it_has_gone_on_for_a_day() {
    let stores = Stores::sqlite();
    let key = Used::create(&stores).await;
    revoke(&stores, &key).await;
    let replica = Replica::start(&stores, &stores.first).await;
    let now = Timestamp::now();
    let agreed = async |ahead: Duration, passed| {
        let time = after(now, ahead);
        let agreed = stores.first.retention.agreed_time(time, passed).await;
        agreed.expect("answered") == Agreed::Time(time)
    };
    assert!(!agreed(Duration::ZERO, Duration::ZERO).await);
    assert!(agreed(DAY, DAY).await);

    let years = 1000 * DAY;
    for hour in 0..24 {
        // The process is started anew, and looks at once and an hour later.
        let at = years + HOUR * hour;
        for (ahead, passed) in [(at, Duration::ZERO), (at + HOUR, HOUR)] {
            if hour < 23 || passed.is_zero() {
                assert!(!agreed(ahead, passed).await, "{hour}");
                let let_go = replica.let_go_by(after(now, ahead), Duration::ZERO, 90 * DAY);
                let_go.await;
                assert_eq!(stores.count("keys").await, 1);
            }
        }
    }
    // It is put right, and that is a jump too.
    assert!(!agreed(HOUR, Duration::ZERO).await);
    assert!(agreed(HOUR + DAY, DAY).await);
    // Nobody has put it right.
    assert!(!agreed(years, HOUR).await);
    replica
        .let_go_by(after(now, years + DAY), DAY, 90 * DAY)
        .await;
    assert_eq!(stores.count("keys").await, 0);
}

/// Between two steps of one, another may look at the clock, or let go what is old to it.
#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_each_step_depends_on_its_arguments_alone() {
    let stores = Stores::sqlite();
    let key = Used::create(&stores).await;
    revoke(&stores, &key).await;
    let retention = &stores.first.retention;
    let now = after(Timestamp::now(), DAY);
    let applied = Revision::from_number(1000);
    let all_is = Old {
        before: now,
        now,
        applied,
    };
    let none_is = Old {
        before: Timestamp::from_micros(0).expect("in range"),
        ..all_is
    };
    let found = retention.raise_history_start(&all_is, Revision::ZERO).await;
    let until = found.expect("looked at").until;
    let agreed = retention.agreed_time(now, Duration::ZERO).await;
    agreed.expect("answered");
    let found = retention
        .raise_history_start(&none_is, Revision::ZERO)
        .await;
    assert_eq!(found.expect("looked at").until, Revision::ZERO);
    let none = KeyId::from_uuid(Uuid::nil());
    let forgotten = retention.forget_keys(&all_is, until, none).await;
    assert_eq!(forgotten.expect("forgotten").count, 1);
}

/// Otherwise that one write would keep all that came after it.
#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_write_of_a_time_to_come_keeps_no_other() {
    let stores = Stores::sqlite();
    let keys = [Used::create(&stores).await, Used::create(&stores).await];
    revoke(&stores, &keys[1]).await;
    let ahead = "UPDATE writes SET write_time = iif(revision = 1, 253402300799999999, 0); \
                 UPDATE keys SET revoke_time = 0 WHERE revoke_time IS NOT NULL";
    stores.sql(ahead).await.expect("run");
    let replica = Replica::start(&stores, &stores.first).await;
    replica.let_go(Some(2 * DAY)).await;
    assert_eq!(stores.count("keys").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_a_replica_whose_clock_is_ahead_lets_nothing_go_that_is_young_to_the_database()
 {
    let stores = Stores::postgres().await;
    let key = Used::create(&stores).await;
    revoke(&stores, &key).await;
    make_older(&stores).await;
    Used::create(&stores).await;
    let replica = Replica::start(&stores, &stores.first).await;
    let ahead = after(Timestamp::now(), 1000 * DAY);
    replica.let_go_by(ahead, Duration::ZERO, 90 * DAY).await;
    assert_eq!(stores.count("keys").await, 2);
    replica.let_go_by(ahead, Duration::ZERO, 2 * DAY).await;
    assert_eq!(stores.count("keys").await, 1);
}

fn after(time: Timestamp, passed: Duration) -> Timestamp {
    let passed = i64::try_from(passed.as_micros()).expect("short");
    Timestamp::from_micros(time.as_micros() + passed).expect("in range")
}

async fn revoke(stores: &Stores, key: &Used) {
    let revocation = Revocation {
        target: KeyTarget::Id(key.id),
        accounts: Accounts::All,
        now: Timestamp::now(),
        caller: crate::support::caller("tester"),
        still_allowed: StillAllowed::always(),
    };
    let revoked = stores
        .first
        .keys
        .revoke(&revocation)
        .await
        .expect("answered");
    assert!(revoked.is_some());
}

async fn make_older(stores: &Stores) {
    for change in [
        "UPDATE keyservice.keys SET revoke_time = revoke_time - interval '3 days'",
        "UPDATE keyservice.writes SET write_time = write_time - interval '3 days'",
    ] {
        stores.sql_behind_its_back(change).await;
    }
}

async fn forget(stores: &Stores, applied: Revision) {
    let before = Timestamp::now().as_micros() - DAYS + 3_600_000_000;
    let old = Old {
        before: Timestamp::from_micros(before).expect("in range"),
        now: Timestamp::now(),
        applied,
    };
    let retention = &stores.first.retention;
    let mut found = retention.raise_history_start(&old, Revision::ZERO).await;
    while let Ok(OldWrites { until, more: true }) = found {
        found = retention.raise_history_start(&old, until).await;
    }
    let until = found.expect("raised").until;
    let none = KeyId::from_uuid(Uuid::nil());
    let forgotten = retention.forget_keys(&old, until, none).await;
    forgotten.expect("forgotten");
    let forgotten = retention.forget_writes(&old, until, Revision::ZERO).await;
    forgotten.expect("forgotten");
}
