//! Leases in PostgreSQL. Each test holds one rule on which the revocation protocol relies.

use crate::support::{
    eventually, new_key,
    postgres::{batch_gate::BatchGate, database_in, session},
    stores::Stores,
};
use keyservice::{
    model::{
        account::Accounts,
        key::{Reason, filter::KeyFilter},
        time::{LeaseTerm, Timestamp},
    },
    store::{
        BatchRevocation, KeyTarget, Position, Progress, Renewal, Renewed, Replica, ReplicaId,
        ReplicaRegistry, ReplicationError, Revision, Revocation, StillAllowed, Store, StoreError,
        WriteId,
    },
};
use std::time::Duration;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_returns_the_changes_since_its_position_and_every_replica() {
    let stores = Stores::postgres().await;
    let position = create(&stores.first).await;
    let renewed = renew(&stores.first, &renewal(1, 1, Position::START)).await;
    assert_eq!(renewed.page.changes[0].position, position);
    assert_eq!(renewed.page.changes.len(), 1);

    let renewed = renew(&stores.second, &renewal(2, 1, position)).await;
    assert_eq!(renewed.page.changes, []);
    let seen = in_order(renewed.replicas);
    assert_eq!(
        seen,
        [replica(1, 1, Position::START), replica(2, 1, position)]
    );
    assert_eq!(in_order(replicas(&stores).await), seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_returns_at_most_the_requested_number_of_changes() {
    let stores = Stores::postgres().await;
    let first = create(&stores.first).await;
    create(&stores.first).await;
    let mut renewal = renewal(1, 1, Position::START);
    renewal.limit = 1;
    let renewed = renew(&stores.first, &renewal).await;
    assert_eq!(renewed.page.changes.len(), 1);
    assert_eq!(renewed.page.changes[0].position, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_renewal_neither_undoes_a_later_one_nor_grants_a_lease() {
    let stores = Stores::postgres().await;
    let position = create(&stores.first).await;
    renew(&stores.first, &renewal(1, 2, position)).await;
    for late in [1, 2] {
        let refused = registry(&stores.first)
            .renew(&renewal(1, late, Position::START))
            .await;
        assert!(matches!(
            refused,
            Err(ReplicationError::Store(StoreError::Unavailable(_)))
        ));
    }
    assert_eq!(replicas(&stores).await, [replica(1, 2, position)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_from_another_history_is_refused_and_renews_nothing() {
    let stores = Stores::postgres().await;
    let position = create(&stores.first).await;
    let another_write = WriteId::from_uuid(Uuid::from_u128(7));
    let other_write = Position {
        write_id: another_write,
        ..position
    };
    let future = Position {
        revision: Revision::from_number(position.revision.number() + 1),
        ..position
    };
    for other in [other_write, future] {
        let renewed = registry(&stores.first).renew(&renewal(1, 1, other)).await;
        assert!(matches!(renewed, Err(ReplicationError::OtherHistory)));
        let since = Progress::at(other);
        let changes = stores.first.changes.changes(since, 10).await;
        assert!(matches!(changes, Err(ReplicationError::OtherHistory)));
    }
    assert_eq!(replicas(&stores).await, []);
    let look = registry(&stores.second)
        .replicas(&[other_write, position])
        .await;
    assert_eq!(look.expect("read").lost, [position.revision]);
    let look = registry(&stores.second).replicas(&[position]).await;
    assert_eq!(look.expect("read").lost, []);
}

/// The page leaves out the first key, which a later write has changed again. If that write is lost, the
/// first write is back, behind a reader that has read past it.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_counts_only_with_the_last_write_that_there_was_when_it_was_read() {
    let stores = Stores::postgres().await;
    let (cluster, address) = stores.cluster.as_ref().expect("it is PostgreSQL");
    let (_, new) = new_key("acme", "to be revoked");
    let created = stores.first.keys.create(&new).await.expect("answered");
    let second = create(&stores.first).await;
    let revocation = Revocation {
        target: KeyTarget::Id(new.key.id),
        accounts: Accounts::All,
        now: Timestamp::now(),
        caller: new.caller.clone(),
        still_allowed: StillAllowed::always(),
    };
    let revoked = stores.first.keys.revoke(&revocation).await;
    let revoked = revoked.expect("answered").expect("revoked");
    let start = Progress::at(Position::START);
    let page = stores.first.changes.changes(start, 2).await.expect("read");
    assert_eq!(page.changes[0].position, second);
    assert_eq!(page.head, revoked.position());

    let lose_the_revocation = format!(
        "SET session_replication_role = replica; \
         DELETE FROM keyservice.writes WHERE revision = {revoked}; \
         UPDATE keyservice.keys SET revoke_time = NULL, revision = {created} \
         WHERE revision = {revoked}",
        revoked = revoked.position().revision.number(),
        created = created.expect("created").position().revision.number(),
    );
    cluster.psql(database_in(address), &lose_the_revocation);
    let since = page.progress();
    assert_eq!(since.read_to, second.revision);
    let next = stores.first.changes.changes(since, 1).await;
    assert!(matches!(next, Err(ReplicationError::OtherHistory)));
    let renewal = Renewal {
        since,
        ..renewal(1, 1, Position::START)
    };
    let renewed = registry(&stores.first).renew(&renewal).await;
    assert!(matches!(renewed, Err(ReplicationError::OtherHistory)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_removed_if_it_did_not_renew_again_and_when_it_leaves() {
    let stores = Stores::postgres().await;
    renew(&stores.first, &renewal(1, 1, Position::START)).await;
    let seen = replicas(&stores).await.remove(0);
    renew(&stores.first, &renewal(1, 2, Position::START)).await;
    assert!(
        !registry(&stores.second)
            .remove_lapsed(&seen)
            .await
            .expect("answered")
    );

    let seen = replicas(&stores).await.remove(0);
    assert!(
        registry(&stores.second)
            .remove_lapsed(&seen)
            .await
            .expect("forgotten")
    );
    assert!(
        !registry(&stores.second)
            .remove_lapsed(&seen)
            .await
            .expect("answered")
    );
    assert_eq!(replicas(&stores).await, []);

    renew(&stores.first, &renewal(1, 3, Position::START)).await;
    registry(&stores.first).leave(seen.id).await.expect("left");
    assert_eq!(replicas(&stores).await, []);
}

/// Otherwise the renewal could read before a write and commit after the writer had looked for leases.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_waits_for_the_write_in_progress_and_returns_it() {
    let create = "SELECT keyservice.create_key('00000000-0000-0000-0000-000000000001', \
                  sha256('x'), 'acme', 'a key', '', NULL, NULL, now(), NULL)";
    assert_waits_for("", create).await;
}

/// Its last step is what a renewal must not pass.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_waits_for_the_end_of_a_batch_and_returns_it() {
    let create = "SELECT keyservice.create_key('00000000-0000-0000-0000-000000000001', \
                  sha256('x'), 'acme', 'a key', '', NULL, NULL, now(), NULL)";
    let revoke = "SELECT keyservice.batch_revoke(ARRAY(SELECT key_id FROM keyservice.keys), \
                  'compromised', now(), 'x', 'BatchRevoke', 'OK')";
    assert_waits_for(create, revoke).await;
}

async fn assert_waits_for(before: &str, write: &str) {
    let stores = Stores::postgres().await;
    let (cluster, address) = stores.cluster.as_ref().expect("it is PostgreSQL");
    let writer = session(address).await;
    writer.batch_execute(before).await.expect("written");
    let write = format!("BEGIN; {write}");
    writer.batch_execute(&write).await.expect("written");

    let store = stores.first.clone();
    let renewing = tokio::spawn(async move {
        registry(&store)
            .renew(&renewal(1, 1, Position::START))
            .await
    });
    eventually("the renewal waits for the writer", async || {
        let waiting = "SELECT count(*) FROM pg_locks \
                       WHERE relation = 'keyservice.writers_lock'::regclass AND NOT granted";
        cluster.psql(database_in(address), waiting) == "1"
    })
    .await;
    assert_eq!(
        replicas(&stores).await,
        [],
        "the renewal is not visible yet"
    );
    writer.batch_execute("COMMIT").await.expect("committed");
    let renewed = renewing.await.expect("no panic").expect("renewed");
    let head = stores.load().await.0;
    let last = renewed.page.changes.last().expect("a change");
    assert_eq!(last.position, head);
}

/// Otherwise all leases could lapse meanwhile. That another write waits for the batch changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn leases_are_renewed_while_a_batch_is_under_way() {
    let stores = Stores::postgres().await;
    let (cluster, address) = stores.cluster.as_ref().expect("it is PostgreSQL");
    let (_, new) = new_key("acme", "to be revoked");
    let created = stores.first.keys.create(&new).await;
    let created = created.expect("answered").expect("created").position();
    let gate = BatchGate::shut(address).await;
    let batch = BatchRevocation {
        key_ids: vec![new.key.id],
        filter: KeyFilter::default(),
        reason: Reason::parse("compromised").expect("valid"),
        now: Timestamp::now(),
        caller: new.caller.clone(),
        still_allowed: StillAllowed::always(),
    };
    let store = stores.first.clone();
    let revoking = tokio::spawn(async move { store.keys.batch_revoke(&batch).await });
    eventually("the batch is in its middle", async || {
        gate.holds_a_batch().await
    })
    .await;
    let store = stores.second.clone();
    let creating = tokio::spawn(async move { create(&store).await });
    eventually("another write waits", async || {
        let waiting = "SELECT count(*) FROM pg_locks \
                       WHERE relation = 'keyservice.writers_lock'::regclass AND NOT granted";
        cluster.psql(database_in(address), waiting) == "1"
    })
    .await;

    for renewals in 1..4 {
        let renewed = renew(&stores.second, &renewal(1, renewals, created)).await;
        assert_eq!(renewed.page.changes, []);
        assert_eq!(renewed.page.head, created);
    }
    gate.open().await;
    let revoked = revoking
        .await
        .expect("no panic")
        .expect("revoked")
        .position();
    let last = creating.await.expect("no panic");
    let renewed = renew(&stores.second, &renewal(1, 4, created)).await;
    let positions = renewed.page.changes.iter().map(|change| change.position);
    assert_eq!(positions.collect::<Vec<_>>(), [revoked, last]);
}

/// Creates a key and returns the position of that write.
async fn create(store: &Store) -> Position {
    let created = store.keys.create(&new_key("acme", "a key").1).await;
    created.expect("answered").expect("created").position()
}

fn registry(store: &Store) -> &dyn ReplicaRegistry {
    &**store.replicas.as_ref().expect("replicas share it")
}

async fn renew(store: &Store, renewal: &Renewal) -> Renewed {
    registry(store).renew(renewal).await.expect("renewed")
}

async fn replicas(stores: &Stores) -> Vec<Replica> {
    registry(&stores.second)
        .replicas(&[])
        .await
        .expect("read")
        .replicas
}

fn renewal(id: u128, renewals: i64, applied: Position) -> Renewal {
    let Replica { id, name, term, .. } = replica(id, renewals, applied);
    Renewal {
        id,
        name,
        renewals,
        term,
        applied: applied.revision,
        since: Progress::at(applied),
        limit: 100,
    }
}

fn replica(id: u128, renewals: i64, applied: Position) -> Replica {
    Replica {
        id: ReplicaId::from_uuid(Uuid::from_u128(id)),
        name: format!("replica {id}"),
        applied: applied.revision,
        renewals,
        term: LeaseTerm::new(Duration::from_millis(1234)),
    }
}

fn in_order(mut replicas: Vec<Replica>) -> Vec<Replica> {
    replicas.sort_by_key(|replica| replica.id.as_uuid());
    replicas
}
