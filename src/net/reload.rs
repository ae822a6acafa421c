//! Owns values that are made of files, and made anew when the files change.
//! Promises that broken files leave the value as it is, and are logged each time they change.
//! Must never look at anything but the files' content: Kubernetes swaps a symbolic link.

use arc_swap::{ArcSwap, Guard};
use rustix::fs::OFlags;
use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read},
    mem,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

/// How often the files are read. A change counts when two reads in a row see it, so that neither a
/// file half written nor one of several already swapped is taken for the new state.
const READ_INTERVAL: Duration = Duration::from_secs(1);

/// For all the files. One on a network or a mount that hangs takes longer, or for ever.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// Larger than any file of certificates or credentials that makes sense.
const MAX_FILE_SIZE: u64 = 1024 * 1024;

/// A file, and the setting that names it.
#[derive(Debug, Clone)]
pub struct NamedFile {
    /// The setting, as a flag.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
}

/// A file cannot be read, or what it holds makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{} {}: {why}", file.setting, file.path.display())]
pub struct FileError {
    file: NamedFile,
    why: String,
}

/// What is wrong with one of several files.
#[derive(Debug)]
pub struct Wrong {
    /// Which of the files.
    pub file: usize,
    /// What is wrong, and what is right.
    pub why: String,
}

impl Wrong {
    /// Of the file with this index.
    pub fn new(file: usize, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self { file, why }
    }
}

/// The value of some files, as they were when they last made sense.
pub struct Reloaded<T> {
    state: Arc<State<T>>,
    _following: AbortOnDropHandle<()>,
}

struct State<T> {
    value: ArcSwap<T>,
    /// They make no sense as they are.
    failed: AtomicBool,
    /// They take longer to read than they may.
    hangs: AtomicBool,
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads the files, and from now on follows them. Call it on a tokio runtime.
    pub fn start(
        files: Vec<NamedFile>,
        read: impl Fn(&[Vec<u8>]) -> Result<T, Wrong> + Send + 'static,
    ) -> Result<Self, FileError> {
        Self::start_with(READ_LIMIT, files, read)
    }

    fn start_with(
        read_limit: Duration,
        files: Vec<NamedFile>,
        read: impl Fn(&[Vec<u8>]) -> Result<T, Wrong> + Send + 'static,
    ) -> Result<Self, FileError> {
        let reloader = Reloader::start(files, read)?;
        let state = reloader.state.clone();
        let following = tokio::spawn(reloader.look_for_ever(read_limit));
        Ok(Self {
            state,
            _following: AbortOnDropHandle::new(following),
        })
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> Guard<Arc<T>> {
        self.state.value.load()
    }

    /// Whether the files have changed to something that makes no sense, or cannot be read, and the
    /// value is older.
    #[must_use]
    pub fn reload_failed(&self) -> bool {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        is(&self.state.failed) || is(&self.state.hangs)
    }
}

struct Reloader<T, R> {
    files: Vec<NamedFile>,
    read: R,
    state: Arc<State<T>>,
    seen: blake3::Hash,
    judged: blake3::Hash,
}

impl<T, R> Reloader<T, R>
where
    T: Send + Sync + 'static,
    R: Fn(&[Vec<u8>]) -> Result<T, Wrong> + Send + 'static,
{
    fn start(files: Vec<NamedFile>, read: R) -> Result<Self, FileError> {
        let contents = contents(&files);
        let fingerprint = fingerprint(&contents);
        let value = value(&files, contents, &read)?;
        Ok(Self {
            files,
            read,
            state: Arc::new(State {
                value: ArcSwap::from_pointee(value),
                failed: AtomicBool::new(false),
                hangs: AtomicBool::new(false),
            }),
            seen: fingerprint,
            judged: fingerprint,
        })
    }

    async fn look_for_ever(mut self, read_limit: Duration) {
        loop {
            sleep(READ_INTERVAL).await;
            self = self.look_aside(read_limit).await;
        }
    }

    /// Looks on a thread of its own, however long that takes.
    async fn look_aside(mut self, read_limit: Duration) -> Self {
        let (state, settings) = (self.state.clone(), self.settings());
        let mut looked = spawn_blocking(|| {
            self.look();
            self
        });
        let in_time = timeout(read_limit, &mut looked).await;
        let looked = if let Ok(looked) = in_time {
            looked
        } else {
            state.hangs.store(true, Ordering::Relaxed);
            tracing::error!(
                "{settings}: not read within {read_limit:?}, and what was read before stays in \
                 use; see whether a mount hangs"
            );
            let looked = looked.await;
            state.hangs.store(false, Ordering::Relaxed);
            tracing::info!("{settings}: read again");
            looked
        };
        looked.expect("reading files does not panic")
    }

    fn settings(&self) -> String {
        let settings: Vec<_> = self.files.iter().map(|file| file.setting).collect();
        settings.join(", ")
    }

    fn look(&mut self) {
        let contents = contents(&self.files);
        let fingerprint = fingerprint(&contents);
        let is_settled = mem::replace(&mut self.seen, fingerprint) == fingerprint;
        if !is_settled || fingerprint == self.judged {
            return;
        }
        self.judged = fingerprint;
        let settings = self.settings();
        match value(&self.files, contents, &self.read) {
            Ok(value) => {
                self.state.value.store(Arc::new(value));
                self.state.failed.store(false, Ordering::Relaxed);
                tracing::info!("{settings}: changed, and in use from now on");
            }
            Err(error) => {
                self.state.failed.store(true, Ordering::Relaxed);
                tracing::error!(
                    "{settings}: changed, but what was read before stays in use: {error}"
                );
            }
        }
    }
}

fn value<T>(
    files: &[NamedFile],
    contents: Result<Vec<Vec<u8>>, FileError>,
    read: &impl Fn(&[Vec<u8>]) -> Result<T, Wrong>,
) -> Result<T, FileError> {
    read(&contents?).map_err(|Wrong { file, why }| FileError {
        file: files[file].clone(),
        why,
    })
}

fn contents(files: &[NamedFile]) -> Result<Vec<Vec<u8>>, FileError> {
    let content = |file: &NamedFile| {
        content(file).map_err(|error| FileError {
            file: file.clone(),
            why: error.to_string(),
        })
    };
    files.iter().map(content).collect()
}

fn content(file: &NamedFile) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut reader = open(&file.path)?.take(MAX_FILE_SIZE + 1);
    if reader.read_to_end(&mut content)? as u64 > MAX_FILE_SIZE {
        return Err(io::Error::other("is larger than 1 MiB"));
    }
    Ok(content)
}

/// A named pipe would keep whoever opens it waiting for a writer.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("is not a regular file"))
    }
}

/// Stands for the files' contents, so that no private key is kept to compare it.
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

    fn number(contents: &[Vec<u8>]) -> Result<u32, Wrong> {
        let text = std::str::from_utf8(&contents[0]).map_err(|error| Wrong::new(0, error))?;
        text.parse().map_err(|error| Wrong::new(0, error))
    }

    fn file(directory: &TempDir) -> NamedFile {
        NamedFile {
            setting: "--number",
            path: directory.path().join("number"),
        }
    }

    #[test]
    fn a_change_counts_when_it_is_seen_twice_and_makes_sense() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = file(&directory);
        let write = |text: &str| fs::write(&file.path, text).expect("written");
        write("1");
        let mut reloader = Reloader::start(vec![file.clone()], number).expect("it is a number");
        let state = reloader.state.clone();
        let mut look = |times| {
            (0..times).for_each(|_| reloader.look());
            (**state.value.load(), state.failed.load(Ordering::Relaxed))
        };
        assert_eq!(look(2), (1, false));
        write("2");
        assert_eq!(look(1), (1, false), "it may be half written");
        write("23");
        assert_eq!(look(1), (1, false), "and it was");
        assert_eq!(look(1), (23, false));
        write("x");
        assert_eq!(look(2), (23, true));
        fs::remove_file(&file.path).expect("removed");
        assert_eq!(look(2), (23, true));
        write("23");
        assert_eq!(look(2), (23, false));
    }

    #[tokio::test]
    async fn files_that_take_too_long_to_read_count_as_failed_until_they_are_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = file(&directory);
        let write = |text: &str| fs::write(&file.path, text).expect("written");
        write("1");
        let (release, released) = mpsc::channel();
        let limit = Duration::from_millis(50);
        let reloaded = Reloaded::start_with(limit, vec![file.clone()], move |contents| {
            let number = number(contents)?;
            if number == 2 {
                released.recv().expect("it is released");
            }
            Ok(number)
        });
        let reloaded = reloaded.expect("it is a number");
        let reaches = async |failed, value| {
            let state = || (reloaded.reload_failed(), **reloaded.get());
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
    fn a_wrong_file_is_named_with_its_setting() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = file(&directory);
        let refused = || {
            let started = Reloader::start(vec![file.clone()], number);
            started.map(|_| ()).expect_err("wrong").to_string()
        };
        let name = format!("--number {}: ", file.path.display());
        assert!(refused().starts_with(&format!("{name}No such file")));
        fs::write(&file.path, "x").expect("written");
        assert!(refused().starts_with(&format!("{name}invalid digit")));
        fs::write(&file.path, vec![b'1'; 1024 * 1024 + 1]).expect("written");
        assert_eq!(refused(), format!("{name}is larger than 1 MiB"));
        fs::remove_file(&file.path).expect("removed");
        rustix::fs::mkfifoat(CWD, &file.path, Mode::RUSR).expect("a pipe");
        assert_eq!(refused(), format!("{name}is not a regular file"));
    }
}
