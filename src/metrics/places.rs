//! Owns the places of connections to the port for Prometheus, and who gives one up for a newcomer.
//! Promises that neither silent clients nor those that read no answer keep anybody out.
//! Must never send one away whose request is being answered.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::sleep,
};

/// Before some are sent away, an eighth of all at once: each has then had eight of these to ask,
/// however fast newcomers come.
const PAUSE: Duration = Duration::from_millis(2);

pub(super) struct Places {
    free: Arc<Semaphore>,
    sent_away_at_once: usize,
    seats: Mutex<Seats>,
}

/// Those that can be sent away, by their numbers: the first has been there longest.
#[derive(Default)]
struct Seats {
    next_number: u64,
    /// Has asked for nothing yet.
    silent: BTreeMap<u64, AbortHandle>,
    /// Has its answer to read.
    reading: BTreeMap<u64, AbortHandle>,
}

/// The place of one connection, which is free again when this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    #[expect(dead_code, reason = "it is held, and given back when it is dropped")]
    permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(count)),
            sent_away_at_once: count.div_ceil(8),
            seats: Mutex::default(),
        })
    }

    /// Runs the task of a new connection, in a free place or in that of one that is sent away.
    pub(super) async fn take<F>(self: &Arc<Self>, task: impl FnOnce(Place) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if self.free.available_permits() == 0 {
            sleep(PAUSE).await;
            for _ in 0..self.sent_away_at_once {
                self.seats().send_one_away();
            }
        }
        let permit = self.free.clone().acquire_owned().await;
        let permit = permit.expect("nobody closes it");
        // Held until the task is among the seats: it must not be gone before.
        let mut seats = self.seats();
        let number = seats.next_number;
        seats.next_number += 1;
        let places = self.clone();
        let place = Place {
            places,
            number,
            permit,
        };
        let running = tokio::spawn(task(place));
        seats.silent.insert(number, running.abort_handle());
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats
            .lock()
            .expect("nothing panics while it holds the seats")
    }
}

impl Seats {
    /// Of the more numerous kind, so that neither can take the other's half of the places.
    fn send_one_away(&mut self) {
        let more = if self.silent.len() >= self.reading.len() {
            &mut self.silent
        } else {
            &mut self.reading
        };
        if let Some((_, longest)) = more.pop_first() {
            longest.abort();
        }
    }
}

impl Place {
    /// While its request is answered, which waits for no client, it cannot be sent away.
    pub(super) async fn answering<T>(&self, answer: impl Future<Output = T>) -> T {
        let running = self.places.seats().silent.remove(&self.number);
        let answer = answer.await;
        if let Some(running) = running {
            self.places.seats().reading.insert(self.number, running);
        }
        answer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut seats = self.places.seats();
        seats.silent.remove(&self.number);
        seats.reading.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::sync::oneshot;

    /// Takes a place; what it gives ends when the place is lost.
    async fn newcomer(places: &Arc<Places>, is_reading: bool) -> oneshot::Receiver<()> {
        let (held, lost) = oneshot::channel();
        let (settled, is_settled) = oneshot::channel();
        places
            .take(async move |place| {
                if is_reading {
                    place.answering(async {}).await;
                }
                settled.send(()).expect("it is waited for");
                pending::<()>().await;
                drop(held);
            })
            .await;
        is_settled.await.expect("it runs");
        lost
    }

    #[tokio::test]
    async fn the_longest_silent_goes_first_and_never_one_that_is_being_answered() {
        let places = Places::new(3);
        let (began, has_begun) = oneshot::channel();
        let (held, mut answered) = oneshot::channel::<()>();
        let busy = async move |place: Place| {
            let endless = async {
                began.send(()).expect("it is waited for");
                pending::<()>().await;
            };
            place.answering(endless).await;
            drop(held);
        };
        places.take(busy).await;
        has_begun.await.expect("it runs");
        let (first, mut second) = (
            newcomer(&places, false).await,
            newcomer(&places, false).await,
        );
        let _third = newcomer(&places, false).await;
        first.await.expect_err("it was sent away");
        second.try_recv().expect_err("it stays");
        let _fourth = newcomer(&places, false).await;
        second.await.expect_err("it was sent away");
        let stays = oneshot::error::TryRecvError::Empty;
        assert_eq!(answered.try_recv(), Err(stays));
    }

    #[tokio::test]
    async fn those_that_read_no_answer_leave_half_of_the_places_to_newcomers() {
        let places = Places::new(4);
        let mut readers = Vec::new();
        for _ in 0..4 {
            readers.push(newcomer(&places, true).await);
        }
        let mut silent = [
            newcomer(&places, false).await,
            newcomer(&places, false).await,
        ];
        for gone in readers.drain(..2) {
            gone.await.expect_err("it was sent away");
        }
        for stays in readers.iter_mut().chain(&mut silent) {
            let empty = oneshot::error::TryRecvError::Empty;
            assert_eq!(stays.try_recv(), Err(empty));
        }
    }
}
