//! Owns values that are made of files, and made anew when the files change.
//! Promises that broken files leave the value as it is, and are logged each time they change.
//! Must never look at anything but the files' content: Kubernetes swaps a symbolic link.

use arc_swap::{ArcSwap, Guard};
use std::{
    fmt,
    fs::File,
    io::{self, Read},
    mem,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio_util::task::AbortOnDropHandle;

/// How often the files are read. A change counts when two reads in a row see it, so that neither a
/// file half written nor one of several already swapped is taken for the new state.
const READ_INTERVAL: Duration = Duration::from_secs(1);

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
    failed: AtomicBool,
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads the files, and from now on follows them. Call it on a tokio runtime.
    pub fn start(
        files: Vec<NamedFile>,
        read: impl Fn(&[Vec<u8>]) -> Result<T, Wrong> + Send + 'static,
    ) -> Result<Self, FileError> {
        let mut follower = Follower::start(files, read)?;
        let state = follower.state.clone();
        let following = tokio::spawn(async move {
            loop {
                tokio::time::sleep(READ_INTERVAL).await;
                let looked = tokio::task::spawn_blocking(move || {
                    follower.look();
                    follower
                });
                follower = looked.await.expect("reading files does not panic");
            }
        });
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

    /// Whether the files have changed to something that makes no sense, and the value is older.
    #[must_use]
    pub fn reload_failed(&self) -> bool {
        self.state.failed.load(Ordering::Relaxed)
    }
}

struct Follower<T, R> {
    files: Vec<NamedFile>,
    read: R,
    state: Arc<State<T>>,
    seen: blake3::Hash,
    judged: blake3::Hash,
}

impl<T, R: Fn(&[Vec<u8>]) -> Result<T, Wrong>> Follower<T, R> {
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
            }),
            seen: fingerprint,
            judged: fingerprint,
        })
    }

    fn look(&mut self) {
        let contents = contents(&self.files);
        let fingerprint = fingerprint(&contents);
        let is_settled = mem::replace(&mut self.seen, fingerprint) == fingerprint;
        if !is_settled || fingerprint == self.judged {
            return;
        }
        self.judged = fingerprint;
        let settings: Vec<_> = self.files.iter().map(|file| file.setting).collect();
        let settings = settings.join(", ");
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
    let mut reader = File::open(&file.path)?.take(MAX_FILE_SIZE + 1);
    if reader.read_to_end(&mut content)? as u64 > MAX_FILE_SIZE {
        return Err(io::Error::other("is larger than 1 MiB"));
    }
    Ok(content)
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
    use std::fs;
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
        let mut follower = Follower::start(vec![file.clone()], number).expect("it is a number");
        let state = follower.state.clone();
        let mut look = |times| {
            (0..times).for_each(|_| follower.look());
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

    #[test]
    fn a_wrong_file_is_named_with_its_setting() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = file(&directory);
        let refused = || {
            let started = Follower::start(vec![file.clone()], number);
            started.map(|_| ()).expect_err("wrong").to_string()
        };
        let name = format!("--number {}: ", file.path.display());
        assert!(refused().starts_with(&format!("{name}No such file")));
        fs::write(&file.path, "x").expect("written");
        assert!(refused().starts_with(&format!("{name}invalid digit")));
        fs::write(&file.path, vec![b'1'; 1024 * 1024 + 1]).expect("written");
        assert_eq!(refused(), format!("{name}is larger than 1 MiB"));
    }
}
