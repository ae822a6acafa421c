//! A transport that gathers small writes.
//!
//! Owns the decision whether a write waits for the next turn of the task that writes. Many calls of a
//! connection are answered in one turn of the runtime, each by a task of its own. The connection's task is
//! woken by the first answer, and would write it alone. A turn later it has them all.
//! Promises that no write waits longer than until the task's next turn, which it brings about itself: there
//! is no timer. A connection that gathers nothing soon stops waiting.
//! Must never hold bytes: what waits stays with who writes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// A write of so many bytes does not wait: its share of a system call is small already. HTTP/2 gathers no
/// more than 16 KiB before it writes.
const LARGE: usize = 8 * 1024;

/// Of so many flushes one waits, on a connection that gathers nothing by it.
const MOST_FLUSHES_BETWEEN: u32 = 64;

/// A transport, and how far its next write is.
pub(crate) struct Gathered<T> {
    inner: T,
    state: State,
    pace: Pace,
}

enum State {
    /// Nothing was to be written since the last flush.
    Flushed,
    /// So many bytes were to be written, and the task was woken to write them.
    Waiting { bytes: usize },
    /// All is written at once, until the next flush.
    Writing,
}

impl<T> Gathered<T> {
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            state: State::Flushed,
            pace: Pace::default(),
        }
    }

    /// Ready when so many bytes may be written.
    fn poll_turn(&mut self, context: &Context<'_>, bytes: usize) -> Poll<()> {
        match self.state {
            State::Flushed if bytes < LARGE && self.pace.waits_now() => {
                self.state = State::Waiting { bytes };
                // A task that wakes itself comes behind all that are ready now.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            State::Waiting { bytes: before } => self.pace.waited(bytes > before),
            State::Flushed | State::Writing => {}
        }
        self.state = State::Writing;
        Poll::Ready(())
    }
}

/// How often a connection waits. Twice as seldom each time that it gathers nothing, and always again as
/// soon as it gathers something.
#[derive(Default)]
struct Pace {
    /// How many flushes lie between two that wait.
    between: u32,
    /// How many of them are left.
    left: u32,
}

impl Pace {
    fn waits_now(&mut self) -> bool {
        let waits = self.left == 0;
        self.left = self.left.saturating_sub(1);
        waits
    }

    fn waited(&mut self, has_gathered: bool) {
        self.between = if has_gathered {
            0
        } else {
            (self.between * 2).clamp(1, MOST_FLUSHES_BETWEEN)
        };
        self.left = self.between;
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gathered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gathered<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(context, bytes.len()));
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        ready!(self.poll_turn(context, bytes));
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        // Who waits has yet to write, and does not wait again for that.
        if flushed.is_ready() && matches!(self.state, State::Writing) {
            self.state = State::Flushed;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<T: Connected> Connected for Gathered<T> {
    type ConnectInfo = T::ConnectInfo;

    fn connect_info(&self) -> T::ConnectInfo {
        self.inner.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::IoSlice,
        mem::take,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::{Wake, Waker},
    };

    /// Takes what is written, unless it is full.
    #[derive(Default)]
    struct Fake {
        is_full: bool,
        written: Vec<String>,
        flushes: usize,
        is_shut_down: bool,
    }

    impl AsyncWrite for Fake {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.is_full {
                return Poll::Pending;
            }
            let text = String::from_utf8(bytes.to_vec()).expect("text");
            self.written.push(text);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.is_shut_down = true;
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// The task of a connection, as h2 writes: what is to be written waits in a buffer.
    struct Task {
        transport: Gathered<Fake>,
        buffer: String,
        wakes: Arc<Wakes>,
    }

    impl Task {
        fn new() -> Self {
            Self {
                transport: Gathered::new(Fake::default()),
                buffer: String::new(),
                wakes: Arc::default(),
            }
        }

        /// One turn: writes the buffer, and flushes.
        fn turn(&mut self) -> Poll<()> {
            let waker = Waker::from(self.wakes.clone());
            let mut context = Context::from_waker(&waker);
            let mut transport = Pin::new(&mut self.transport);
            while !self.buffer.is_empty() {
                let slices = [IoSlice::new(self.buffer.as_bytes())];
                let written = transport
                    .as_mut()
                    .poll_write_vectored(&mut context, &slices);
                let written = ready!(written).expect("a fake does not fail");
                self.buffer.drain(..written);
            }
            transport
                .poll_flush(&mut context)
                .map(|it| it.expect("nor here"))
        }

        /// Turns until nothing is left to do. Returns how many turns that took.
        fn turns(&mut self, answers: &str) -> usize {
            self.buffer.push_str(answers);
            let turns = (1..100).find(|_| self.turn().is_ready());
            turns.expect("it writes all")
        }

        /// Writes so that the second turn has more to write than the first.
        fn gather(&mut self) {
            self.buffer.push('a');
            assert!(self.turn().is_pending());
            assert_eq!(self.turns("b"), 1);
        }

        fn wakes(&self) -> usize {
            self.wakes.0.load(Relaxed)
        }

        fn written(&mut self) -> Vec<String> {
            take(&mut self.transport.inner.written)
        }
    }

    #[test]
    fn what_comes_until_the_tasks_next_turn_goes_out_in_one_write() {
        let mut task = Task::new();
        for round in 1..=1000 {
            task.gather();
            assert_eq!(task.written(), ["ab"]);
            assert_eq!(task.wakes(), round);
        }
    }

    #[test]
    fn a_write_that_waits_has_woken_its_task_and_goes_out_a_turn_later() {
        let mut task = Task::new();
        task.buffer.push_str("alone");
        assert!(task.turn().is_pending());
        assert_eq!((task.wakes(), task.written()), (1, vec![]));
        assert!(task.turn().is_ready());
        assert_eq!(
            (task.wakes(), task.written()),
            (1, vec!["alone".to_owned()])
        );
    }

    #[test]
    fn a_connection_that_gathers_nothing_waits_once_in_many_flushes() {
        let mut task = Task::new();
        let waits = |task: &mut Task, flushes| {
            let turns: usize = (0..flushes).map(|_| task.turns("alone")).sum();
            turns - flushes
        };
        // Ever more seldom: before the flushes 0, 2, 5, 10, 19, 36 and 69.
        assert_eq!(waits(&mut task, 70), 7);
        assert_eq!(waits(&mut task, 65_000), 1000);
    }

    #[test]
    fn a_connection_that_gathers_something_waits_with_every_flush_again() {
        let mut task = Task::new();
        for _ in 0..1000 {
            task.turns("alone");
        }
        task.written();
        // It waits again at some time, and gathers.
        while task.written() != ["ab"] {
            task.buffer.push('a');
            let _ = task.turn();
            task.turns("b");
        }
        for _ in 0..10 {
            task.gather();
        }
    }

    #[test]
    fn a_large_write_does_not_wait() {
        let mut task = Task::new();
        assert_eq!(task.turns(&"large".repeat(LARGE)), 1);
        assert_eq!(task.wakes(), 0);
    }

    #[test]
    fn a_write_waits_once_even_if_the_transport_is_full() {
        let mut task = Task::new();
        task.transport.inner.is_full = true;
        task.buffer.push('a');
        for _ in 0..10 {
            assert!(task.turn().is_pending());
        }
        // Later the transport wakes it.
        assert_eq!(task.wakes(), 1);
        task.transport.inner.is_full = false;
        assert_eq!(task.turns(""), 1);
        assert_eq!(task.written(), ["a"]);
    }

    #[test]
    fn a_flush_and_a_shutdown_pass_while_a_write_waits_and_it_does_not_wait_again() {
        let mut task = Task::new();
        task.buffer.push('a');
        assert!(task.turn().is_pending());
        let mut context = Context::from_waker(Waker::noop());
        let mut transport = Pin::new(&mut task.transport);
        assert!(transport.as_mut().poll_flush(&mut context).is_ready());
        assert!(transport.as_mut().poll_shutdown(&mut context).is_ready());
        assert_eq!(task.transport.inner.flushes, 1);
        assert!(task.transport.inner.is_shut_down);
        assert_eq!(task.turns(""), 1);
        assert_eq!(task.written(), ["a"]);
    }

    #[test]
    fn a_flush_with_nothing_to_write_wakes_nobody() {
        let mut task = Task::new();
        assert_eq!(task.turns(""), 1);
        assert_eq!(task.wakes(), 0);
    }
}
