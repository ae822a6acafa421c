//! Watches files, and reloads the value that is parsed from them whenever they change.
//! Owns that value and the last state of the files.
//! Promises that invalid files leave the value as it is, and are logged each time they change.
//! Must never compare anything but the files' contents: Kubernetes swaps a symbolic link.

mod holders;

use crate::named_file::{FileError, NamedFile};
use arc_swap::{ArcSwap, Guard};
use holders::Holders;
use std::{
    fmt, mem,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_util::task::{AbortOnDropHandle, task_tracker::TaskTrackerToken};

/// How often the files are read. A change counts when two reads in a row see it. So neither a file
/// that is half written, nor only some of several that are replaced, are taken for the new state.
const READ_INTERVAL: Duration = Duration::from_secs(1);

/// How long reading all files may take. On a network or a mount that hangs, it takes longer, or
/// forever.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// If so many reads in a row all differ, the log says that the files are not in use.
const MOST_UNSETTLED_READS: usize = 20;

/// Why the contents of one of several files are invalid.
#[derive(Debug)]
pub(crate) struct InvalidFile {
    /// The index of the file.
    pub file: usize,
    /// What is invalid, and what would be valid.
    pub why: String,
}

impl InvalidFile {
    /// The file with this index is invalid.
    pub(crate) fn new(file: usize, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self { file, why }
    }
}

/// The value of some files, as of when they were last valid.
pub(crate) struct Reloaded<T> {
    state: Arc<State<T>>,
    _watcher: AbortOnDropHandle<()>,
}

struct State<T> {
    value: ArcSwap<T>,
    /// Told each time after the value has changed.
    changes: watch::Sender<()>,
    holders: Holders,
    /// How often it has changed. It lives as long as the process, so that who remembers it does not have to
    /// count a reference.
    change_count: &'static AtomicU64,
    /// The files are invalid now, or cannot be read.
    is_failed: AtomicBool,
    /// Reading the files takes longer than it may.
    is_hanging: AtomicBool,
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads the files, and reloads them whenever they change. Call it on a tokio runtime.
    pub(crate) fn watch(
        files: Vec<NamedFile>,
        parse: impl Fn(&[Vec<u8>]) -> Result<T, InvalidFile> + Send + 'static,
    ) -> Result<Self, FileError> {
        Self::watch_within(READ_LIMIT, files, parse)
    }

    fn watch_within(
        read_limit: Duration,
        files: Vec<NamedFile>,
        parse: impl Fn(&[Vec<u8>]) -> Result<T, InvalidFile> + Send + 'static,
    ) -> Result<Self, FileError> {
        let watcher = Watcher::new(files, parse)?;
        let state = watcher.state.clone();
        let watching = tokio::spawn(watcher.run(read_limit));
        Ok(Self {
            state,
            _watcher: AbortOnDropHandle::new(watching),
        })
    }

    /// The current value.
    #[must_use]
    pub(crate) fn get(&self) -> Guard<Arc<T>> {
        self.state.value.load()
    }

    /// Tells of each change of the value from now on, when it can be read.
    #[must_use]
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.state.changes.subscribe()
    }

    /// Says that something is done by the value as it is now, until this is dropped. The log does not say of a
    /// later value that it is in use before that. Ask for it before the value, and hold it for a bounded time.
    pub(crate) fn hold(&self) -> TaskTrackerToken {
        self.state.holders.hold()
    }

    /// What tells later whether the value has changed since. Ask for it before the value.
    #[must_use]
    pub(crate) fn version(&self) -> Version {
        let change_count = self.state.change_count;
        Version {
            change_count,
            seen: change_count.load(Acquire),
        }
    }

    /// Whether the value is older than the files, because they are invalid now or cannot be read.
    #[must_use]
    pub(crate) fn is_reload_failed(&self) -> bool {
        let State {
            is_failed,
            is_hanging,
            ..
        } = &*self.state;
        is_failed.load(Relaxed) || is_hanging.load(Relaxed)
    }
}

/// A value of files, as it was at some moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version {
    change_count: &'static AtomicU64,
    seen: u64,
}

impl Version {
    /// Whether the value has changed since.
    #[must_use]
    pub(crate) fn is_outdated(&self) -> bool {
        self.change_count.load(Acquire) != self.seen
    }
}

struct Watcher<T, P> {
    files: Vec<NamedFile>,
    parse: P,
    state: Arc<State<T>>,
    /// Of the contents that were last read.
    last_read: blake3::Hash,
    /// How many reads in a row have differed from the read before.
    unsettled_reads: usize,
    /// Of the contents that were last parsed.
    last_parsed: blake3::Hash,
}

impl<T, P> Watcher<T, P>
where
    T: Send + Sync + 'static,
    P: Fn(&[Vec<u8>]) -> Result<T, InvalidFile> + Send + 'static,
{
    fn new(files: Vec<NamedFile>, parse: P) -> Result<Self, FileError> {
        let contents = read_all(&files);
        let fingerprint = fingerprint(&contents);
        let value = parse_all(&files, contents, &parse)?;
        files.iter().for_each(NamedFile::warn_of_others);
        Ok(Self {
            files,
            parse,
            state: Arc::new(State {
                value: ArcSwap::from_pointee(value),
                changes: watch::Sender::new(()),
                holders: Holders::default(),
                change_count: Box::leak(Box::default()),
                is_failed: AtomicBool::new(false),
                is_hanging: AtomicBool::new(false),
            }),
            last_read: fingerprint,
            unsettled_reads: 0,
            last_parsed: fingerprint,
        })
    }

    async fn run(mut self, read_limit: Duration) {
        loop {
            sleep(READ_INTERVAL).await;
            self = self.check_on_thread(read_limit).await;
        }
    }

    /// Checks the files on a thread of its own, however long that takes.
    async fn check_on_thread(mut self, read_limit: Duration) -> Self {
        let (state, settings) = (self.state.clone(), self.settings());
        let mut check = spawn_blocking(|| {
            self.check();
            self
        });
        let in_time = timeout(read_limit, &mut check).await;
        let checked = if let Ok(checked) = in_time {
            checked
        } else {
            state.is_hanging.store(true, Relaxed);
            tracing::error!(
                "{settings}: reading takes longer than {read_limit:?}, and what was read before \
                 stays in use; check whether a mount hangs"
            );
            let checked = check.await;
            state.is_hanging.store(false, Relaxed);
            tracing::info!("{settings}: can be read again");
            checked
        };
        checked.expect("reading files does not panic")
    }

    fn settings(&self) -> String {
        let settings: Vec<_> = self.files.iter().map(|file| file.setting).collect();
        settings.join(", ")
    }

    /// Reads the files, and parses them if they have changed since and are settled.
    fn check(&mut self) {
        let contents = read_all(&self.files);
        let fingerprint = fingerprint(&contents);
        let is_settled = mem::replace(&mut self.last_read, fingerprint) == fingerprint;
        if !is_settled {
            self.unsettled_reads += 1;
            if self.unsettled_reads == MOST_UNSETTLED_READS {
                self.state.is_failed.store(true, Relaxed);
                tracing::error!(
                    "{}: changes each second, so that it is never read whole, and what was read before stays in \
                     use: write it less often",
                    self.settings()
                );
            }
            return;
        }
        let was_unsettled = mem::take(&mut self.unsettled_reads) >= MOST_UNSETTLED_READS;
        if fingerprint == self.last_parsed && !was_unsettled {
            return;
        }
        self.last_parsed = fingerprint;
        let settings = self.settings();
        match parse_all(&self.files, contents, &self.parse) {
            Ok(value) => {
                self.state.value.store(Arc::new(value));
                self.state.change_count.fetch_add(1, Release);
                let of_before = self.state.holders.begin_anew();
                self.state.changes.send_replace(());
                self.state.is_failed.store(false, Relaxed);
                of_before.when_gone(move || {
                    tracing::info!("{settings}: changed, and in use from now on");
                });
                self.files.iter().for_each(NamedFile::warn_of_others);
            }
            Err(FileError::Missing { setting, folder }) => {
                self.state.is_failed.store(true, Relaxed);
                tracing::error!(
                    "{setting}: the file is gone from {folder}; what was read of {settings} before \
                     stays in use, but no restart would succeed: put the file back"
                );
            }
            Err(error) => {
                self.state.is_failed.store(true, Relaxed);
                tracing::error!(
                    "{settings}: changed, but what was read before stays in use: {error}"
                );
            }
        }
    }
}

fn parse_all<T>(
    files: &[NamedFile],
    contents: Result<Vec<Vec<u8>>, FileError>,
    parse: &impl Fn(&[Vec<u8>]) -> Result<T, InvalidFile>,
) -> Result<T, FileError> {
    parse(&contents?).map_err(|InvalidFile { file, why }| FileError::invalid(&files[file], why))
}

fn read_all(files: &[NamedFile]) -> Result<Vec<Vec<u8>>, FileError> {
    files.iter().map(NamedFile::read).collect()
}

/// A digest of the files' contents to compare, so that no private key is kept for that.
fn fingerprint(contents: &Result<Vec<Vec<u8>>, FileError>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    match contents {
        Ok(contents) => {
            for content in contents {
                hasher.update(blake3::hash(content).as_bytes());
            }
        }
        Err(error) => {
            hasher.update(error.to_string().as_bytes());
        }
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode};
    use std::{fs, sync::mpsc};
    use tempfile::TempDir;

    fn number(contents: &[Vec<u8>]) -> Result<u32, InvalidFile> {
        let text = std::str::from_utf8(&contents[0]).map_err(|error| InvalidFile::new(0, error))?;
        text.parse().map_err(|error| InvalidFile::new(0, error))
    }

    fn file(directory: &TempDir) -> NamedFile {
        NamedFile {
            setting: "--number",
            path: directory.path().join("number"),
        }
    }

    #[test]
    fn a_change_counts_when_it_is_read_twice_and_is_valid() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = file(&directory);
        let write = |text: &str| fs::write(&file.path, text).expect("written");
        write("1");
        let mut watcher = Watcher::new(vec![file.clone()], number).expect("it is a number");
        let state = watcher.state.clone();
        let mut check = |times| {
            (0..times).for_each(|_| watcher.check());
            (**state.value.load(), state.is_failed.load(Relaxed))
        };
        assert_eq!(check(2), (1, false));
        write("2");
        assert_eq!(check(1), (1, false), "it may be half written");
        write("23");
        assert_eq!(check(1), (1, false), "and it was");
        assert_eq!(check(1), (23, false));
        write("x");
        assert_eq!(check(2), (23, true));
        fs::remove_file(&file.path).expect("removed");
        assert_eq!(check(2), (23, true));
        write("23");
        assert_eq!(check(2), (23, false));
    }

    #[test]
    fn files_that_never_settle_count_as_failed_until_they_do() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = file(&directory);
        fs::write(&file.path, "0").expect("written");
        let mut watcher = Watcher::new(vec![file.clone()], number).expect("it is a number");
        let state = watcher.state.clone();
        let failed = || state.is_failed.load(Relaxed);
        for number in 1..=MOST_UNSETTLED_READS {
            assert!(!failed(), "{number}");
            fs::write(&file.path, number.to_string()).expect("written");
            watcher.check();
        }
        assert!(failed() && **state.value.load() == 0);
        // As it was at first.
        fs::write(&file.path, "0").expect("written");
        watcher.check();
        assert!(failed());
        watcher.check();
        assert!(!failed() && **state.value.load() == 0);
    }

    #[tokio::test]
    async fn files_that_take_too_long_to_read_count_as_failed_until_they_are_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = file(&directory);
        let write = |text: &str| fs::write(&file.path, text).expect("written");
        write("1");
        let (release, released) = mpsc::channel();
        let limit = Duration::from_millis(50);
        let reloaded = Reloaded::watch_within(limit, vec![file.clone()], move |contents| {
            let number = number(contents)?;
            if number == 2 {
                released.recv().expect("it is released");
            }
            Ok(number)
        });
        let reloaded = reloaded.expect("it is a number");
        let reaches = async |failed, value| {
            let state = || (reloaded.is_reload_failed(), **reloaded.get());
            let reached = async {
                while state() != (failed, value) {
                    sleep(limit).await;
                }
            };
            let in_time = timeout(Duration::from_secs(30), reached).await;
            assert!(in_time.is_ok(), "{:?}", state());
        };
        write("2");
        reaches(true, 1).await;
        release.send(()).expect("it waits");
        reaches(false, 2).await;
    }

    #[test]
    fn an_invalid_file_is_named_with_its_setting() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = file(&directory);
        let refused = || {
            let watcher = Watcher::new(vec![file.clone()], number);
            watcher.map(|_| ()).expect_err("invalid").to_string()
        };
        let name = format!("--number {}: ", file.path.display());
        let folder = directory.path().display();
        let missing = format!("--number: there is no such file in {folder}; ");
        assert!(refused().starts_with(&missing));
        fs::write(&file.path, "x").expect("written");
        assert!(refused().starts_with(&format!("{name}invalid digit")));
        fs::write(&file.path, vec![b'1'; 1024 * 1024 + 1]).expect("written");
        assert_eq!(refused(), format!("{name}is larger than 1 MiB"));
        fs::remove_file(&file.path).expect("removed");
        rustix::fs::mkfifoat(CWD, &file.path, Mode::RUSR).expect("a pipe");
        assert!(refused().starts_with(&format!("{name}not a regular file")));
    }
}
