//! The clock of a replica is far ahead of the database's.

use crate::support::{
    caller, new_key,
    postgres::{Cluster, database_in},
    stores,
};
use keyservice::{
    model::{account::Accounts, time::Timestamp},
    store::{KeyStore, KeyTarget, Revocation, StillAllowed},
};

/// In microseconds.
const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// A Revoke must not fail because of a clock. What is stored still lets the history start later.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_clock_is_days_ahead_creates_and_revokes_keys() {
    let cluster = Cluster::shared();
    let address = cluster.create_database();
    let store = stores::open(&address).await;
    for days in [2, 400] {
        let ahead = Timestamp::from_micros(Timestamp::now().as_micros() + days * DAY);
        let ahead = ahead.expect("before the year 10000");
        let (_, mut new) = new_key("acme", "early");
        new.key.create_time = ahead;
        let created = store.create(&new).await.expect("created");
        assert!(created.is_ok());
        let revocation = Revocation {
            target: KeyTarget::Id(new.key.id),
            accounts: Accounts::All,
            now: ahead,
            caller: caller("tester"),
            still_allowed: StillAllowed::always(),
        };
        let revoked = store.revoke(&revocation).await.expect("revoked");
        let revoked = revoked.expect("a key");
        assert_eq!(revoked.value().revoke_time, Some(ahead));
    }
    let bounded =
        "SELECT count(*), bool_and(write_time < now() + interval '1 day') FROM keyservice.writes";
    assert_eq!(cluster.psql(database_in(&address), bounded), "4|t");
}
