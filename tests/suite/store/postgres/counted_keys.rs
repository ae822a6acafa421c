//! A count of the keys of a domain reads a limited number of them, whatever PostgreSQL believes of the table.

use crate::support::{postgres::session, stores::Stores};
use tokio_postgres::Client;

const LIMIT: i64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_count_of_keys_reads_no_more_of_them_than_it_looks_at() {
    let stores = Stores::postgres().await;
    let session = session(&stores.address).await;
    let no_statistics_by_itself = "ALTER TABLE keyservice.keys SET (autovacuum_enabled = false)";
    session
        .batch_execute(no_statistics_by_itself)
        .await
        .expect("set");
    // Statistics of a time when there were no keys like these.
    stores.insert_active_keys_for("'x.example'", 1000).await;
    let of_another = "SET session_replication_role = replica; UPDATE keyservice.keys SET account_id = 'globex'; ANALYZE keyservice.keys";
    session.batch_execute(of_another).await.expect("analysed");
    // The keys that are counted are many, and there are newer ones.
    stores.insert_active_keys_for("'a.example'", 20_000).await;
    for (domain, count) in [("'b.example'", 10_000), ("NULL", 10_000)] {
        stores.insert_active_keys_for(domain, count).await;
    }
    assert_reads_few(&session, "with old statistics").await;
    session
        .batch_execute("ANALYZE keyservice.keys")
        .await
        .expect("analysed");
    assert_reads_few(&session, "with new statistics").await;
}

/// Counts more often than PostgreSQL plans for the values at hand.
async fn assert_reads_few(session: &Client, when: &str) {
    let read = async || {
        let read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables \
                    WHERE relid = 'keyservice.keys'::regclass";
        let row = session.query_one(read, &[]).await;
        row.expect("answered").get::<_, i64>(0)
    };
    let count = format!("SELECT keyservice.count_active_keys('acme', 'a.example', now(), {LIMIT})");
    for _ in 0..8 {
        // The statistics of a session change only between transactions, except by what it reads.
        session.batch_execute("BEGIN").await.expect("begun");
        let before = read().await;
        session.batch_execute(&count).await.expect("counted");
        assert_eq!(read().await - before, LIMIT, "{when}");
        session.batch_execute("COMMIT").await.expect("ended");
    }
}
