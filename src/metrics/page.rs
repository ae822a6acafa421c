//! Owns the writing of the page that Prometheus reads.
//! Promises each who asks a page that was begun after it asked.
//! Must never write two at once: each looks at every key, on a processor that calls need.

use prometheus_client::{encoding::prometheus_text, registry::Registry};
use std::{sync::Arc, time::Instant};
use tokio::{sync::Mutex, task::spawn_blocking};

pub(super) struct Page {
    registry: Arc<Registry>,
    latest: Arc<Mutex<Option<Written>>>,
}

struct Written {
    began: Instant,
    text: String,
}

impl Page {
    pub(super) fn of(registry: Registry) -> Self {
        Self {
            registry: Arc::new(registry),
            latest: Arc::default(),
        }
    }

    /// The page. Whoever asks while one is written shares the next with all others who wait.
    pub(super) async fn read(&self) -> String {
        let asked = Instant::now();
        let mut latest = self.latest.clone().lock_owned().await;
        if let Some(written) = latest.as_ref().filter(|written| written.began >= asked) {
            return written.text.clone();
        }
        let registry = self.registry.clone();
        // Milliseconds where keys are many; calls shall not wait for that. The lock goes along, so
        // that one who asks and hangs up does not make room for another.
        let written = spawn_blocking(move || {
            let began = Instant::now();
            let mut text = String::new();
            prometheus_text::encode(&mut text, &registry).expect("a string takes all");
            *latest = Some(Written {
                began,
                text: text.clone(),
            });
            text
        });
        written.await.expect("writing metrics does not panic")
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

    /// Counts how many are written, and how many at once at most.
    #[derive(Debug, Default)]
    struct Slow {
        now: AtomicUsize,
        most: AtomicUsize,
        all: AtomicUsize,
    }

    #[derive(Debug)]
    struct Counted(Arc<Slow>);

    impl Collector for Counted {
        fn encode(&self, _: DescriptorEncoder<'_>) -> fmt::Result {
            let now = self.0.now.fetch_add(1, SeqCst) + 1;
            self.0.most.fetch_max(now, SeqCst);
            self.0.all.fetch_add(1, SeqCst);
            sleep(Duration::from_millis(100));
            self.0.now.fetch_sub(1, SeqCst);
            Ok(())
        }
    }

    fn slow_page() -> (Page, Arc<Slow>) {
        let slow = Arc::new(Slow::default());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Counted(slow.clone())));
        (Page::of(registry), slow)
    }

    #[tokio::test]
    async fn many_who_ask_at_once_share_what_is_written_once() {
        let (page, slow) = slow_page();
        join_all((0..50).map(|_| page.read())).await;
        assert_eq!(slow.most.load(SeqCst), 1);
        assert!(slow.all.load(SeqCst) <= 2, "{slow:?}");
    }

    #[tokio::test]
    async fn those_who_hang_up_do_not_make_it_write_two_at_once() {
        let (page, slow) = slow_page();
        for _ in 0..5 {
            timeout(Duration::from_millis(10), page.read())
                .await
                .expect_err("it hangs up");
        }
        page.read().await;
        assert_eq!(slow.most.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn who_asks_later_gets_a_later_page() {
        let (page, slow) = slow_page();
        for asked in 1..=3 {
            page.read().await;
            assert_eq!(slow.all.load(SeqCst), asked);
        }
    }
}
