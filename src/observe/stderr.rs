//! Standard error, which a thread of its own writes.
//!
//! Owns the lines that wait to be written, and the count of those that were dropped.
//! Promises that no caller waits for standard error: a line is queued, or it is dropped and counted. As
//! soon as standard error takes lines again, a line tells how many were dropped.
//! Must never hold its lock while it writes.

use crate::model::{
    printable::{printable, printable_json},
    time::Timestamp,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    stdio,
};
use serde_json::json;
use std::{
    borrow::Cow,
    io::{self, Write},
    mem,
    sync::{
        Condvar, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime},
};

/// The bytes of the lines that wait. As many again may be with the thread. At 300 bytes a line, that is
/// enough for a reader that pauses while 3,000 calls are logged.
const MAX_WAITING: usize = 512 * 1024;

/// The bytes of one text in a line. Some texts come from elsewhere, such as what a collector of traces says,
/// which may be megabytes.
pub(super) const MAX_TEXT: usize = 4 * 1024;

/// After an error, such as a full disk or a reader that is gone, how long the thread waits before it
/// tries again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long the end of the process waits for the last lines to be written.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// What begins a change of colour.
const COLOUR: char = '\u{1b}';

static QUEUE: Queue = Queue::new();
static START: Once = Once::new();
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Queues text, which must end its line.
pub(crate) fn write(text: &[u8]) {
    START.call_once(|| {
        let thread = thread::Builder::new().name("stderr".to_owned());
        // Without the thread the queue fills up, and everything is dropped and counted.
        let _ = thread.spawn(|| QUEUE.write_forever(write_now, RETRY_INTERVAL));
    });
    QUEUE.push(text);
}

/// From now on, lines that do not come from the log have its form, JSON or not.
pub(crate) fn set_json(is_json: bool) {
    IS_JSON.store(is_json, Relaxed);
}

/// Queues a line in the form of the log, whatever the log's filter says.
pub(crate) fn write_line(level: &str, message: &str) {
    write(&line(level, message));
}

/// The number of lines that were dropped since the start.
pub(crate) fn dropped_lines() -> u64 {
    QUEUE.dropped.load(Relaxed)
}

/// Waits until everything is written, but not for long if nobody reads it. It happens when this is
/// dropped, so that a panic's line is written too.
#[derive(Debug)]
pub(crate) struct FlushAtEnd;

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        QUEUE.flush(FLUSH_LIMIT);
    }
}

/// Takes the lines of the log, each in one `write`.
pub(super) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        write(&shown(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line of the log as it is written. For a terminal, the log is coloured, and `telemetry` has already
/// written out the escapes in what it was given.
fn shown(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let shown = if IS_JSON.load(Relaxed) {
        printable_json(&with_short_texts(text)).into_owned()
    } else {
        let parts: Vec<_> = text.split(COLOUR).map(printable).collect();
        parts.join(&COLOUR.to_string())
    };
    format!("{shown}\n").into_bytes()
}

/// A line of JSON in which no text is longer than it may be.
fn with_short_texts(line: &str) -> Cow<'_, str> {
    if line.len() <= MAX_TEXT {
        return Cow::Borrowed(line);
    }
    let Ok(mut fields) = serde_json::from_str::<serde_json::Map<_, _>>(line) else {
        return Cow::Owned(json!({ "message": cut(line) }).to_string());
    };
    for text in fields.values_mut() {
        if let Some(cut) = text.as_str().map(|text| cut(text).into_owned()) {
            *text = cut.into();
        }
    }
    Cow::Owned(json!(fields).to_string())
}

/// A text that is no longer than it may be.
pub(super) fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return Cow::Borrowed(text);
    }
    let end = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at));
    Cow::Owned(format!("{}…", &text[..end.unwrap_or(0)]))
}

fn line(level: &str, message: &str) -> Vec<u8> {
    line_at(SystemTime::now(), level, message)
}

/// Some of these lines are about a panic. A second panic, about a clock that is set before 1970 or after 9999, would abort
/// the process.
fn line_at(now: SystemTime, level: &str, message: &str) -> Vec<u8> {
    let now = now.clamp(SystemTime::UNIX_EPOCH, Timestamp::MAX.to_system_time());
    let time = humantime::format_rfc3339_micros(now);
    let line = if IS_JSON.load(Relaxed) {
        let (time, target) = (time.to_string(), env!("CARGO_PKG_NAME"));
        json!({"timestamp": time, "level": level, "message": message, "target": target}).to_string()
    } else {
        format!("{time} {level:>5} {message}")
    };
    format!("{line}\n").into_bytes()
}

struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    dropped: AtomicU64,
}

struct State {
    waiting: Vec<u8>,
    /// Lines that were dropped, which no line has told yet. All of them come after those that wait.
    untold: u64,
    is_writing: bool,
    /// The last batch could not be written.
    is_failing: bool,
}

/// What the thread writes next.
struct Batch {
    lines: Vec<u8>,
    /// How many lines were dropped after these.
    dropped: u64,
}

impl Queue {
    const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: Vec::new(),
                untold: 0,
                is_writing: false,
                is_failing: false,
            }),
            changed: Condvar::new(),
            dropped: AtomicU64::new(0),
        }
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        // Once a line was dropped, so are the next ones until the thread has told it. So the gap is one,
        // and the line that tells it stands where it is.
        if state.untold > 0 || state.waiting.len() + line.len() > MAX_WAITING {
            state.untold += 1;
            self.dropped.fetch_add(1, Relaxed);
        } else {
            state.waiting.extend_from_slice(line);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Writes what is pushed, in batches.
    fn write_forever(&self, write: impl Fn(&[u8]) -> Result<(), Unwritten>, retry: Duration) {
        loop {
            let Batch { lines, dropped } = self.next_batch();
            let mut text = lines;
            let end_of_lines = text.len();
            if dropped > 0 {
                text.extend(tell(dropped));
            }
            if let Err(Unwritten { from }) = write(&text) {
                let lost = text.get(from..end_of_lines).unwrap_or_default();
                self.fail(count_lines(lost), dropped);
                thread::sleep(retry);
            } else {
                self.end_batch();
            }
        }
    }

    fn next_batch(&self) -> Batch {
        let is_idle = |state: &mut State| state.waiting.is_empty() && state.untold == 0;
        let waited = self.changed.wait_while(self.lock(), is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        Batch {
            lines: mem::take(&mut state.waiting),
            dropped: mem::take(&mut state.untold),
        }
    }

    fn end_batch(&self) {
        let mut state = self.lock();
        state.is_writing = false;
        state.is_failing = false;
        drop(state);
        self.changed.notify_all();
    }

    /// Ends a batch of which these lines were lost, and whose gap of these lines is still to be told.
    fn fail(&self, lost: u64, untold: u64) {
        let mut state = self.lock();
        state.is_writing = false;
        state.is_failing = true;
        // What waits came after the gap, so it would be out of order.
        let waiting = count_lines(&mem::take(&mut state.waiting));
        self.dropped.fetch_add(lost + waiting, Relaxed);
        state.untold += untold + lost + waiting;
        drop(state);
        self.changed.notify_all();
    }

    fn flush(&self, limit: Duration) {
        let is_busy = |state: &mut State| {
            let is_empty = state.waiting.is_empty() && state.untold == 0;
            !state.is_failing && (state.is_writing || !is_empty)
        };
        let waited = self.changed.wait_timeout_while(self.lock(), limit, is_busy);
        drop(waited);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole at any time: nothing that is done under the lock can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(dropped: u64) -> Vec<u8> {
    let message = format!(
        "log lines dropped here, because standard error did not take them in time: {dropped}"
    );
    line("WARN", &message)
}

fn count_lines(text: &[u8]) -> u64 {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.count() as u64
}

/// Standard error took only the first bytes.
struct Unwritten {
    from: usize,
}

/// Writes to standard error, and waits for as long as that takes. Another process may have made the pipe
/// non-blocking, so `EAGAIN` means to wait too.
fn write_now(text: &[u8]) -> Result<(), Unwritten> {
    let stderr = stdio::stderr();
    let mut from = 0;
    while from < text.len() {
        match rustix::io::write(stderr, &text[from..]) {
            Ok(written @ 1..) => from += written,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None);
            }
            Ok(0) | Err(_) => return Err(Unwritten { from }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, time::Instant};

    #[test]
    fn a_clock_before_1970_or_after_9999_is_no_panic() {
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        let line = String::from_utf8(line_at(early, "ERROR", "a panic")).expect("UTF-8");
        assert!(line.contains("1970-01-01T00:00:00"), "{line}");
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        let line = String::from_utf8(line_at(late, "INFO", "late")).expect("UTF-8");
        assert!(line.contains("9999-12-31T23:59:59"), "{line}");
    }

    /// A queue whose thread writes to a channel as soon as it gets a permit: to write, or to fail.
    struct Written {
        queue: &'static Queue,
        permits: mpsc::Sender<bool>,
        texts: mpsc::Receiver<String>,
    }

    impl Written {
        fn start() -> Self {
            let queue: &'static Queue = Box::leak(Box::new(Queue::new()));
            let (permits, permitted) = mpsc::channel();
            let (sender, texts) = mpsc::channel();
            thread::spawn(move || {
                let write = |text: &[u8]| {
                    if permitted.recv().expect("the test goes on") {
                        let text = String::from_utf8_lossy(text).into_owned();
                        sender.send(text).expect("the test receives");
                        Ok(())
                    } else {
                        Err(Unwritten { from: 0 })
                    }
                };
                queue.write_forever(write, Duration::ZERO);
            });
            Self {
                queue,
                permits,
                texts,
            }
        }

        fn next(&self) -> String {
            self.permits.send(true).expect("the thread runs");
            self.texts.recv().expect("it writes")
        }

        /// Waits until the thread has taken what was pushed.
        fn wait_until_taken(&self) {
            while !self.queue.lock().waiting.is_empty() {
                thread::yield_now();
            }
        }
    }

    #[test]
    fn lines_that_are_not_taken_in_time_are_dropped_counted_and_told_where_they_are_missing() {
        let written = Written::start();
        let queue = written.queue;
        queue.push(b"first\n");
        written.wait_until_taken();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        (0..1000).for_each(|_| queue.push(&line));
        assert_eq!(queue.dropped.load(Relaxed), 1000 - 512);
        assert_eq!(written.next(), "first\n");
        let rest = written.next();
        assert_eq!(rest.lines().count(), 512 + 1);
        assert!(rest.ends_with("did not take them in time: 488\n"), "{rest}");
        queue.push(b"again\n");
        assert_eq!(written.next(), "again\n");
    }

    #[test]
    fn after_an_error_the_lost_lines_are_told_as_soon_as_one_can_be_written() {
        let written = Written::start();
        written.queue.push(b"lost\n");
        written.wait_until_taken();
        for _ in 0..3 {
            written.permits.send(false).expect("the thread runs");
        }
        assert!(written.next().ends_with("in time: 1\n"));
        written.queue.push(b"again\n");
        assert_eq!(written.next(), "again\n");
        assert_eq!(written.queue.dropped.load(Relaxed), 1);
    }

    #[test]
    fn a_flush_waits_for_the_last_line_but_not_for_ever_and_not_after_an_error() {
        let written = Written::start();
        written.queue.push(b"last\n");
        let (limit, started) = (Duration::from_millis(50), Instant::now());
        written.queue.flush(limit);
        assert!(started.elapsed() >= limit);
        let permit = written.permits.clone();
        thread::spawn(move || permit.send(true));
        written.queue.flush(Duration::from_secs(60));
        assert_eq!(written.texts.try_recv().as_deref(), Ok("last\n"));

        written.queue.push(b"lost\n");
        written.permits.send(false).expect("the thread runs");
        written.queue.flush(Duration::from_secs(60));
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}
