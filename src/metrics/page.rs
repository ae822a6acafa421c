//! Writes the page that Prometheus reads.
//! Owns the latest page, which all share that waited for it.
//! Promises every reader a page that was begun after it asked.
//! Must never write two pages at once: each reads every key, on a processor that calls need.

use bytes::Bytes;
use prometheus_client::{encoding::prometheus_text, registry::Registry};
use std::{sync::Arc, time::Instant};
use tokio::{sync::Mutex, task::spawn_blocking};

pub(super) struct MetricsPage {
    registry: Arc<Registry>,
    latest: Arc<Mutex<Option<WrittenPage>>>,
}

struct WrittenPage {
    began: Instant,
    text: Bytes,
}

impl MetricsPage {
    pub(super) fn new(registry: Registry) -> Self {
        Self {
            registry: Arc::new(registry),
            latest: Arc::default(),
        }
    }

    /// Writes the page. All who ask while one is written share the next one, and its memory.
    pub(super) async fn read(&self) -> Bytes {
        let asked = Instant::now();
        let mut latest = self.latest.clone().lock_owned().await;
        if let Some(page) = latest.as_ref().filter(|page| page.began >= asked) {
            return page.text.clone();
        }
        let registry = self.registry.clone();
        // Many keys take milliseconds, and calls must not wait for that. So a blocking thread writes the
        // page. It holds the lock to the end, even if the client has left, so that no other page is
        // written at the same time.
        let writing = spawn_blocking(move || {
            let began = Instant::now();
            let mut text = String::new();
            prometheus_text::encode(&mut text, &registry).expect("a string has room");
            let text = Bytes::from(text.into_boxed_str().into_boxed_bytes());
            *latest = Some(WrittenPage {
                began,
                text: text.clone(),
            });
            text
        });
        writing.await.expect("writing metrics does not panic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};
    use std::{
        fmt,
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread::sleep,
        time::Duration,
    };
    use tokio::time::timeout;

    /// How many pages are written at once, and in all.
    #[derive(Debug, Default)]
    struct Writes {
        now: AtomicUsize,
        most: AtomicUsize,
        all: AtomicUsize,
    }

    #[derive(Debug)]
    struct SlowCollector(Arc<Writes>);

    impl Collector for SlowCollector {
        fn encode(&self, _: DescriptorEncoder<'_>) -> fmt::Result {
            let now = self.0.now.fetch_add(1, SeqCst) + 1;
            self.0.most.fetch_max(now, SeqCst);
            self.0.all.fetch_add(1, SeqCst);
            sleep(Duration::from_millis(100));
            self.0.now.fetch_sub(1, SeqCst);
            Ok(())
        }
    }

    fn slow_page() -> (MetricsPage, Arc<Writes>) {
        let writes = Arc::new(Writes::default());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(SlowCollector(writes.clone())));
        (MetricsPage::new(registry), writes)
    }

    #[tokio::test]
    async fn many_who_ask_at_once_share_a_page() {
        let (page, writes) = slow_page();
        join_all((0..50).map(|_| page.read())).await;
        assert_eq!(writes.most.load(SeqCst), 1);
        assert!(writes.all.load(SeqCst) <= 2, "{writes:?}");
    }

    #[tokio::test]
    async fn readers_that_leave_do_not_make_it_write_two_pages_at_once() {
        let (page, writes) = slow_page();
        for _ in 0..5 {
            timeout(Duration::from_millis(10), page.read())
                .await
                .expect_err("it leaves");
        }
        page.read().await;
        assert_eq!(writes.most.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn a_reader_that_asks_later_gets_a_later_page() {
        let (page, writes) = slow_page();
        for asked in 1..=3 {
            page.read().await;
            assert_eq!(writes.all.load(SeqCst), asked);
        }
    }
}
