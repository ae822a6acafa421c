//! Where the histories of a store begin, and to which of them a write belongs, in every store.

use super::on_every_store;
use crate::support::{new_key, stores::Stores};
use keyservice::{
    model::{history::HistoryId, time::Timestamp},
    store::Store,
};

on_every_store![a_write_belongs_to_the_history_that_was_begun_last,];

async fn a_write_belongs_to_the_history_that_was_begun_last(stores: &Stores) {
    let store = &stores.first;
    let first = store.histories.histories().await.expect("read")[0];
    let own = HistoryId::from_first_half(store.identity.store_id);
    assert_eq!((first.id, first.parent, first.after), (own, None, 0));
    let (revision, history) = write(store).await;
    assert_eq!((revision, history), (1, first.id));

    let until = Timestamp::parse_rfc3339("2030-01-31T15:00:00.000001Z");
    for replayed_until in [until, None] {
        let begun = store.histories.begin_history(replayed_until).await;
        begun.expect("begun");
    }
    let histories = stores.second.histories.histories().await.expect("read");
    let [_, second, third] = histories[..] else {
        panic!("{histories:?}");
    };
    assert_eq!((second.parent, second.after), (Some(first.id), 1));
    // Nothing was written in the second.
    assert_eq!((third.parent, third.after), (Some(first.id), 1));
    assert_eq!([second, third].map(|it| it.replayed_until), [until, None]);
    if store.replicas.is_some() {
        assert_eq!(write(store).await, (2, third.id));
    }
}

async fn write(store: &Store) -> (i64, HistoryId) {
    let created = store.keys.create(&new_key("acme", "name").1).await;
    let position = created.expect("stored").expect("created").position();
    (
        position.revision.number(),
        store.identity.history_of(position),
    )
}
