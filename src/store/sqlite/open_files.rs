//! The files of an open database: whether they are still those that this process opened.
//!
//! Promises to notice that a file was deleted, moved or replaced, or that the database or its
//! write-ahead log was overwritten or truncated. A look takes some microseconds. SQLite itself
//! notices none of this: it goes on to use files that have no name any more.
//!
//! Owns a handle to each file, and with the database's handle the lock on it. Must outlive SQLite's
//! connections (see `file`).

use super::{
    file,
    schema::APPLICATION_ID,
    wal_index::{LOG_HEADER_LEN, WalIndex},
};
use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

/// How often a look is repeated while other threads or processes write. A database that changes all
/// that time is looked at again soon.
const LOOKS: usize = 8;

const FRAME_HEADER_LEN: u64 = 24;

/// The files are not those that this process opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lost {
    /// The database's path leads to no file, or to another one.
    #[error(
        "{} was deleted, moved or replaced while the service has it open: move the same file back, or \
         stop the service and restore the database from its backup",
        .0.display()
    )]
    Database(PathBuf),
    /// The same, and the file has no name any more: it is gone when this process ends.
    #[error(
        "{path} was deleted, moved or replaced while the service has it open, and no other process has what is in it: \
         BEFORE you stop the service, copy as root {database} to {path}.saved, {log} to {path}.saved-wal and {index} to \
         {path}.saved-shm, and restore that as the page docs/sqlite.md says",
        path = .path.display()
    )]
    Deleted {
        path: PathBuf,
        database: String,
        log: String,
        index: String,
    },
    /// The same for a file that SQLite keeps beside it.
    #[error(
        "{} was deleted, moved or replaced while the service has it open: stop the service, which \
         saves what is still in it, and start it again",
        .0.display()
    )]
    Beside(PathBuf),
    /// Something else than SQLite wrote to the database or its log.
    #[error(
        "{} was overwritten or truncated while the service has it open: stop the service, and restore the database \
         from its backup with `keyservice restore`",
        .0.display()
    )]
    Overwritten(PathBuf),
    /// A file cannot be looked at.
    #[error("cannot look at {}: {error}; check its disk and the permissions of its directory", .path.display())]
    Unseen { path: PathBuf, error: String },
}

impl Lost {
    fn unseen(path: &Path, error: &io::Error) -> Self {
        Self::Unseen {
            path: path.to_owned(),
            error: error.to_string(),
        }
    }

    /// Whether what SQLite still holds must not be written to the database.
    pub(super) fn forbids_checkpoint(&self) -> bool {
        !matches!(self, Self::Beside(_))
    }
}

pub(super) struct OpenFiles {
    database: OpenFile,
    log: OpenFile,
    index: OpenFile,
    last_look: Mutex<LastLook>,
    checkpointed: AtomicI64,
}

struct OpenFile {
    path: PathBuf,
    file: File,
}

/// What the last look has found.
#[derive(Clone)]
struct LastLook {
    stamp: Stamp,
    header: Header,
    index: WalIndex,
    /// Set for good: SQLite's memory and the file no longer belong together.
    overwritten: Option<Lost>,
}

/// The database's header. It has a number that is random in each opening (see `opening`).
type Header = Option<[u8; 100]>;

/// Changes whenever the database file is written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modify_seconds: i64,
    modify_nanos: i64,
    len: u64,
}

impl OpenFiles {
    /// Takes over the locked file. Its connection must have written, so that SQLite's own files exist.
    pub(super) fn new(path: &Path, locked: File, checkpointed: i64) -> Result<Self, Lost> {
        let beside = |end: &str| {
            let path = file::beside(path, end);
            let file = File::options().read(true).open(&path);
            let file = file.map_err(|error| Lost::unseen(&path, &error))?;
            Ok(OpenFile { path, file })
        };
        let database = OpenFile {
            path: path.to_owned(),
            file: locked,
        };
        let (log, index) = (beside("-wal")?, beside("-shm")?);
        let last_look = LastLook {
            stamp: database.stamp()?,
            header: database.read()?,
            index: (0..LOOKS)
                .find_map(|_| index.read_index().transpose())
                .unwrap_or_else(|| Err(Lost::Beside(index.path.clone())))?,
            overwritten: None,
        };
        let files = Self {
            database,
            log,
            index,
            last_look: Mutex::new(last_look),
            checkpointed: AtomicI64::new(checkpointed),
        };
        files.check()?;
        Ok(files)
    }

    /// The last commit of which it is known that the database file has it and all before it.
    pub(super) fn checkpointed(&self) -> i64 {
        self.checkpointed.load(Relaxed)
    }

    /// Looks whether the files are still the same. Only then may the commit be acknowledged.
    pub(super) fn check_after_commit(&self, commit: i64) -> Result<(), Lost> {
        self.check()?;
        let index = self.index.read_index()?;
        if index.is_some_and(|index| index.is_checkpointed()) {
            self.checkpointed.fetch_max(commit, Relaxed);
        }
        Ok(())
    }

    /// Looks whether the files are still the same.
    pub(super) fn check(&self) -> Result<(), Lost> {
        if !self.database.is_in_place()? {
            return Err(self.lost_database());
        }
        for beside in [&self.log, &self.index] {
            if !beside.is_in_place()? {
                return Err(Lost::Beside(beside.path.clone()));
            }
        }
        let mut last_look = self
            .last_look
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for _ in 0..LOOKS {
            if let Some(overwritten) = &last_look.overwritten {
                return Err(overwritten.clone());
            }
            let Some(index) = self.index.read_index()? else {
                continue;
            };
            let look = self.look(&last_look, index)?;
            // Otherwise a commit or a checkpoint came in between.
            if self.index.read_index()? == Some(index) {
                let overwritten = look.overwritten.clone();
                *last_look = look;
                return overwritten.map_or(Ok(()), Err);
            }
        }
        Ok(())
    }

    fn lost_database(&self) -> Lost {
        let path = self.database.path.clone();
        if !cfg!(target_os = "linux") || self.database.has_a_name() {
            return Lost::Database(path);
        }
        Lost::Deleted {
            path,
            database: self.database.path_by_process(),
            log: self.log.path_by_process(),
            index: self.index.path_by_process(),
        }
    }

    /// Finds out whether the database and its log are as SQLite left them. The index must not change
    /// meanwhile.
    fn look(&self, last_look: &LastLook, index: WalIndex) -> Result<LastLook, Lost> {
        let mut look = last_look.clone();
        look.index = index;
        look.stamp = self.database.stamp()?;
        if look.stamp != last_look.stamp {
            look.header = self.database.read()?;
            // Some file systems change the time of a file later, and so does `touch`.
            let is_same = look.stamp.len == last_look.stamp.len && look.header == last_look.header;
            let is_checkpoint =
                index.explains_a_write_since(&last_look.index) && is_ours(look.header);
            if !is_same && !is_checkpoint {
                look.overwritten = Some(Lost::Overwritten(self.database.path.clone()));
            }
        }
        if !self.log.holds_frames_of(&index)? {
            look.overwritten = Some(Lost::Overwritten(self.log.path.clone()));
        }
        Ok(look)
    }
}

fn is_ours(header: Header) -> bool {
    header.is_some_and(|header| {
        header.starts_with(b"SQLite format 3\0") && header[68..72] == APPLICATION_ID.to_be_bytes()
    })
}

impl OpenFile {
    /// Whether the path still leads to the open file.
    fn is_in_place(&self) -> Result<bool, Lost> {
        let (open, found) = match (self.file.metadata(), fs::symlink_metadata(&self.path)) {
            (Ok(open), Ok(found)) => (open, found),
            (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            (Err(error), _) | (_, Err(error)) => return Err(self.unseen(&error)),
        };
        Ok((open.dev(), open.ino()) == (found.dev(), found.ino()))
    }

    fn has_a_name(&self) -> bool {
        self.file.metadata().is_ok_and(|open| open.nlink() > 0)
    }

    /// Where Linux shows the open file, whatever became of its name.
    fn path_by_process(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    fn stamp(&self) -> Result<Stamp, Lost> {
        let metadata = self.file.metadata().map_err(|error| self.unseen(&error))?;
        Ok(Stamp {
            modify_seconds: metadata.mtime(),
            modify_nanos: metadata.mtime_nsec(),
            len: metadata.len(),
        })
    }

    /// Whether this is the log that the index is of, and as long as the index says.
    fn holds_frames_of(&self, index: &WalIndex) -> Result<bool, Lost> {
        if index.frames == 0 {
            return Ok(true);
        }
        let frame_len = FRAME_HEADER_LEN + u64::from(index.page_size);
        let needed = LOG_HEADER_LEN + u64::from(index.frames) * frame_len;
        let header = self.read::<24>()?;
        let same_log = header.is_some_and(|header| header.ends_with(&index.salts));
        Ok(same_log && self.stamp()?.len >= needed)
    }

    /// Gives `None` while another thread or process writes to it.
    fn read_index(&self) -> Result<Option<WalIndex>, Lost> {
        Ok(self.read()?.and_then(|bytes| WalIndex::parse(&bytes)))
    }

    /// The first bytes, or `None` if the file is shorter.
    fn read<const N: usize>(&self) -> Result<Option<[u8; N]>, Lost> {
        let mut bytes = [0; N];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(self.unseen(&error)),
        }
    }

    fn unseen(&self, error: &io::Error) -> Lost {
        Lost::unseen(&self.path, error)
    }
}
