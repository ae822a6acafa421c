//! The rules for reading changes, and for loading everything, from every store.

use super::{
    changes_page, changes_since, create, create_many, on_every_store, revocation, revoke,
    revoke_with,
};
use crate::support::{
    new_key,
    stores::{States, Stores, Subject, is_revoked},
};
use futures::future::join_all;
use keyservice::store::{KeyTarget, Position, Progress};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinHandle;

on_every_store![
    changes_are_in_the_order_of_revisions,
    a_page_of_changes_is_of_as_many_writes_as_requested,
    a_load_and_the_changes_after_it_miss_no_concurrent_write,
    the_changes_since_a_revision_skip_no_row_of_concurrent_writers,
];

async fn changes_are_in_the_order_of_revisions(stores: &Stores) {
    let created = create_many(stores, "acme", 4).await;
    let (_, revoked_at) = revoke(stores, KeyTarget::Id(created[0].key.id)).await;

    let all = changes_since(stores, Position::START, 100).await;
    let subjects: Vec<_> = all
        .iter()
        .map(|change| Subject::of(&change.state))
        .collect();
    let expected = [1, 2, 3, 0].map(|index: usize| Subject::Key(created[index].digest));
    assert_eq!(
        subjects, expected,
        "the last change of a key gives its position"
    );
    assert!(all.is_sorted_by_key(|change| change.position.revision));
    assert_eq!(all[3].position, revoked_at);
    assert!(is_revoked(&all[3].state));

    assert_eq!(changes_since(stores, all[0].position, 2).await, all[1..3]);
    assert_eq!(changes_since(stores, all[3].position, 2).await, []);
}

/// To find the next state could take long, where the same thing was changed again and again.
async fn a_page_of_changes_is_of_as_many_writes_as_requested(stores: &Stores) {
    let created = create_many(stores, "acme", 3).await;
    for key in &created {
        revoke(stores, KeyTarget::Id(key.key.id)).await;
    }
    let mut progress = Progress::at(Position::START);
    for (end, found) in [(2, 0), (4, 1), (6, 2)] {
        let page = changes_page(stores, progress, 2).await;
        assert_eq!((page.read_to.number(), page.changes.len()), (end, found));
        assert_eq!(page.is_last(), end == 6);
        progress = page.progress();
    }
    let beyond = changes_page(stores, progress, 2).await;
    assert!(beyond.is_last() && beyond.changes.is_empty());
}

async fn a_load_and_the_changes_after_it_miss_no_concurrent_write(stores: &Stores) {
    create_many(stores, "acme", 200).await;
    let writing = create_many(stores, "acme", 50);
    let loading = async {
        let (position, states) = stores.load().await;
        (position, states)
    };
    let (_, (position, mut states)) = tokio::join!(writing, loading);
    let changes = changes_since(stores, position, 1000).await.into_iter();
    states.extend(changes.map(|change| (Subject::of(&change.state), change.state)));
    assert_eq!(states, stores.load().await.1);
}

async fn the_changes_since_a_revision_skip_no_row_of_concurrent_writers(stores: &Stores) {
    let read = read_beside_concurrent_writers(stores).await;
    let (_, loaded) = stores.load().await;
    assert_eq!(read.len(), loaded.len());
    assert_eq!(read, loaded);
}

/// Shows that the test above finds the error: here revisions come from a sequence, and a lower number
/// may be committed later than a higher one.
#[tokio::test(flavor = "multi_thread")]
async fn revisions_from_a_sequence_would_skip_rows_of_concurrent_writers() {
    let stores = Stores::postgres().await;
    let (cluster, address) = stores.cluster.as_ref().expect("it is PostgreSQL");
    let database = address.rsplit('/').next().expect("a database");
    cluster.psql(
        database,
        "CREATE OR REPLACE FUNCTION keyservice.lock_writers() RETURNS trigger \
         LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE OR REPLACE FUNCTION keyservice.refuse_old_revisions() RETURNS trigger \
         LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE OR REPLACE FUNCTION keyservice.refuse_empty_writes() RETURNS trigger \
         LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE SEQUENCE keyservice.revisions INCREMENT 10; \
         CREATE OR REPLACE FUNCTION keyservice.begin_long_write() RETURNS bigint LANGUAGE plpgsql AS $$ \
         DECLARE revision bigint := nextval('keyservice.revisions'); \
         BEGIN PERFORM pg_sleep(random() * 0.05); RETURN revision; END $$",
    );
    let read = read_beside_concurrent_writers(&stores).await;
    let (_, loaded) = stores.load().await;
    assert_ne!(read.len(), loaded.len());
}

/// The final state of a reader that reads the changes while eight writers write.
async fn read_beside_concurrent_writers(stores: &Stores) -> States {
    const WRITERS: usize = 8;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let writers = (0..WRITERS).map(|number| {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
        let store = [&stores.first, &stores.second][number % 2].clone();
        tokio::spawn(async move {
            for _ in 0..40 {
                let (_, new) = new_key("acme", "one of many");
                create(&store, &new).await;
                if rng.random_bool(0.3) {
                    let target = KeyTarget::Digest(new.digest);
                    revoke_with(&store, &revocation(target, None)).await;
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();

    let (mut progress, mut states, mut done) =
        (Progress::at(Position::START), States::new(), false);
    loop {
        let page = changes_page(stores, progress, 5).await;
        if page.read_to == progress.read_to && done {
            break;
        }
        // Reads once more after the last write, which may be later than this answer.
        done = writers.iter().all(JoinHandle::is_finished);
        for change in &page.changes {
            assert!(change.position.revision > progress.read_to);
            states.insert(Subject::of(&change.state), change.state.clone());
        }
        progress = page.progress();
    }
    join_all(writers)
        .await
        .into_iter()
        .for_each(|ended| ended.expect("no panic"));
    states
}
