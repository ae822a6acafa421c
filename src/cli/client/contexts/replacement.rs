//! The next content of a file, which takes the place of the old one at once.

use rustix::fs::OFlags;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long a change waits for another one. Each takes milliseconds.
const TURN_LIMIT: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// The next content of a file, of which there is one at a time. Dropped, it changes nothing.
pub(super) struct Replacement {
    target: PathBuf,
    path: PathBuf,
    file: File,
}

impl Replacement {
    /// Waits until no other process replaces the file.
    pub(super) fn begin(target: &Path) -> io::Result<Self> {
        let mut path = target.as_os_str().to_owned();
        path.push(".new");
        let path = PathBuf::from(path);
        let end = Instant::now() + TURN_LIMIT;
        loop {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false);
            let no_link = OFlags::NOFOLLOW.bits().cast_signed();
            let file = options.custom_flags(no_link).open(&path)?;
            match file.try_lock() {
                Ok(()) if is_at(&path, &file) => {
                    return Ok(Self {
                        target: target.to_owned(),
                        path,
                        file,
                    });
                }
                // Whoever had it has just put it into the place of the other file.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    thread::sleep(BETWEEN_LOOKS);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::other("another process changes it all the time"));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Stores the content at once, so that nobody reads half of it.
    pub(super) fn finish(mut self, content: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all(content.as_bytes())?;
        if let Ok(old) = self.target.metadata() {
            self.file.set_permissions(old.permissions())?;
        }
        self.file.sync_all()?;
        fs::rename(&self.path, &self.target)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // Nobody else can make another one meanwhile.
        if is_at(&self.path, &self.file) {
            fs::remove_file(&self.path).ok();
        }
    }
}

/// Whether the file at this path is this one.
fn is_at(path: &Path, file: &File) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (path.symlink_metadata(), file.metadata()) {
        (Ok(there), Ok(this)) => identity(there) == identity(this),
        _ => false,
    }
}
