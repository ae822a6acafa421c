//! Copies of a database file: how one is made beside a running service, and what is looked at before one is used.
//!
//! Promises that a copy has everything that was acknowledged before it was begun, and that nobody else may read it.
//! Must never leave part of a copy under the name that was asked for.

use super::{
    opening::Opening,
    origin, read_only,
    reading::Reading,
    schema::{APPLICATION_ID, MIGRATIONS},
};
use crate::{
    model::{counted::counted, time::Timestamp, token::Digester},
    store::{OpenError, migrations},
};
use rusqlite::{Connection, OptionalExtension};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    fmt,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// What a copy, or the store that it replaces, holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// What tells the store from every other one. A database of an earlier release has none.
    pub store_id: Option<Uuid>,
    /// How many keys, whatever their state.
    pub keys: u64,
    /// The number of the last write.
    pub revision: i64,
    /// When that was. None if there was none.
    pub last_write: Option<Timestamp>,
    /// Whether its tokens are digested with a secret.
    pub has_secret: bool,
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.store_id {
            Some(id) => write!(f, "store {id}, ")?,
            None => f.write_str("a store without an id, as an earlier release made it, ")?,
        }
        write!(f, "{}, ", counted(self.keys, "key"))?;
        match self.last_write {
            Some(time) => write!(f, "last write at {time}"),
            None => f.write_str("no write"),
        }
    }
}

/// A copy could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store cannot be opened, or is in use.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is a file of that name already.
    #[error("{} exists: give another name, or --overwrite to replace it", .0.display())]
    Exists(PathBuf),
    /// The copy has writes in a log of its own.
    #[error(
        "{0} has a write-ahead log beside it, {0}-wal, as a database in use has: make a copy of it with `keyservice \
         backup --store sqlite:{0} FILE`, and restore that"
    )]
    WithLog(String),
    /// The copy is of something else.
    #[error("{0} is not a copy of a keyservice database, or only a part of one")]
    NotOurs(String),
    /// SQLite finds a fault in the copy.
    #[error("{0} is damaged: {1}; use an older backup")]
    Damaged(String, String),
    /// The copy was made while a process had the database open, and not by SQLite.
    #[error(
        "{0} is a plain copy of a database in use, so the last writes may be missing, revocations too: use one that \
         `keyservice backup` has made, or give --incomplete if there is none"
    )]
    Incomplete(String),
    /// The copy would replace the store of another installation.
    #[error(
        "{copy} is the copy of another store than the one at {path}: it has {of_copy}; {path} has {of_store}. Give a copy \
         of that store, or --allow-other-store to replace it all the same"
    )]
    OtherStore {
        /// What was to be restored.
        copy: String,
        /// Where to.
        path: String,
        /// What the first holds.
        of_copy: Box<Copied>,
        /// What the second holds.
        of_store: Box<Copied>,
    },
    /// The copy is the file that it would replace.
    #[error("{0} is the store itself: give the file of a backup")]
    Itself(String),
    /// A file cannot be read or written.
    #[error("cannot {what} {}: {error}", .path.display())]
    File {
        /// What was to be done with it.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// An error for a file.
pub(super) fn cannot(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> CopyError + use<> {
    let path = path.to_owned();
    move |error| CopyError::File { what, path, error }
}

/// Copies the database to a new file, beside whoever serves it. Blocks.
pub fn back_up(path: &Path, copy: &Path, overwrite: bool) -> Result<Copied, CopyError> {
    let copy = std::path::absolute(copy).map_err(cannot("write", copy))?;
    let exists = || Err(CopyError::Exists(copy.clone()));
    // Before a long copy is made for nothing.
    if !overwrite && copy.symlink_metadata().is_ok() {
        return exists();
    }
    let is_the_store = |found: &fs::Metadata, store: &fs::Metadata| {
        (found.dev(), found.ino()) == (store.dev(), store.ino())
    };
    if let (Ok(found), Ok(store)) = (copy.metadata(), path.metadata())
        && is_the_store(&found, &store)
    {
        return Err(
            OpenError::Address("the copy would replace the store itself".to_owned()).into(),
        );
    }
    let (partial, copied) = make(path, &copy)?;
    partial.sync().map_err(cannot("write", &partial.path))?;
    let placed = if overwrite {
        partial.rename_to(&copy)
    } else {
        partial.rename_to_new(&copy)
    };
    match placed.and_then(|()| sync_folder(&copy)) {
        Ok(()) => Ok(copied),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => exists(),
        Err(error) => Err(cannot("write", &copy)(error)),
    }
}

/// Writes a copy of the database to `output`. A file beside the database holds it meanwhile. Blocks.
pub fn back_up_to(path: &Path, output: &mut impl Write) -> Result<Copied, CopyError> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (mut partial, copied) = make(path, &real)?;
    let copy = File::open(&partial.path);
    let written = copy.and_then(|mut copy| {
        partial.remove()?;
        io::copy(&mut copy, output)?;
        output.flush()
    });
    written.map_err(cannot("write a copy of", path))?;
    Ok(copied)
}

fn make(path: &Path, beside: &Path) -> Result<(Partial, Copied), CopyError> {
    let reading = Reading::begin(path)?;
    migrations::pending(MIGRATIONS, reading.schema()).map_err(OpenError::Schema)?;
    let partial = Partial::beside(beside)?;
    let into = partial.path.to_str().ok_or_else(|| {
        let error = io::Error::other("its path is not in UTF-8");
        cannot("write", &partial.path)(error)
    })?;
    // One read transaction, which keeps no writer waiting.
    let made = reading.connection().execute("VACUUM INTO ?1", [into]);
    made.map_err(|error| reading.failed(error))?;
    reading.end()?;
    let cleared = origin::clear(&partial.path);
    cleared.map_err(|error| cannot("write", &partial.path)(io::Error::other(error)))?;
    let copied = check(&partial.path, &path.display().to_string(), Plain::Refused)?;
    Ok((partial, copied))
}

/// Whether a copy may be one that `cp` made of a database in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    Refused,
    Accepted,
}

/// Looks whether a copy can be served: it is ours, complete and whole, and this binary knows its schema. There
/// must be no log beside it. An error calls it `name`.
pub(super) fn check(path: &Path, name: &str, plain: Plain) -> Result<Copied, CopyError> {
    let unreadable = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => CopyError::NotOurs(name.to_owned()),
        _ => CopyError::Damaged(name.to_owned(), error.to_string()),
    };
    let connection = read_only::connect(path, "immutable=1").map_err(unreadable)?;
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    if number("application_id").map_err(unreadable)? != APPLICATION_ID {
        return Err(CopyError::NotOurs(name.to_owned()));
    }
    let schema = number("user_version").map_err(unreadable)?;
    migrations::pending(MIGRATIONS, schema).map_err(OpenError::Schema)?;
    let fault: String = connection
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .map_err(unreadable)?;
    if fault != "ok" {
        return Err(CopyError::Damaged(name.to_owned(), fault));
    }
    let opening = Opening::read(&connection).map_err(unreadable)?;
    if plain == Plain::Refused && opening.is_some_and(|opening| opening.may_lack_its_log()) {
        return Err(CopyError::Incomplete(name.to_owned()));
    }
    contents(&connection).map_err(unreadable)
}

/// What a database holds.
pub(super) fn contents(connection: &Connection) -> rusqlite::Result<Copied> {
    let keys = connection.query_row("SELECT count(*) FROM keys", [], |row| row.get::<_, i64>(0))?;
    let (revision, last_write) = last_write(connection)?;
    Ok(Copied {
        store_id: origin::store_id(connection)?,
        keys: keys.unsigned_abs(),
        revision,
        last_write,
        has_secret: has_secret(connection)?,
    })
}

/// Whether the database was first used with a digest secret. One that was never served is used with none yet.
fn has_secret(connection: &Connection) -> rusqlite::Result<bool> {
    let stored = "SELECT fingerprint FROM digest_key";
    let stored: Option<[u8; 16]> = connection
        .query_row(stored, [], |row| row.get(0))
        .optional()?;
    Ok(stored.is_some_and(|stored| stored != Digester::new(None).fingerprint()))
}

/// The number and the time of the last write.
fn last_write(connection: &Connection) -> rusqlite::Result<(i64, Option<Timestamp>)> {
    let last = "SELECT revision, write_time FROM writes ORDER BY revision DESC LIMIT 1";
    let last = connection
        .query_row(last, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (revision, time): (i64, Option<i64>) = last.unwrap_or_default();
    Ok((revision, time.map(Timestamp::nearest_to_micros)))
}

/// Only the service's own user may read the keys.
const MODE: u32 = 0o600;

/// A file that is not complete yet, under a name of its own. It is deleted unless it is put in its place.
pub(super) struct Partial {
    pub(super) path: PathBuf,
    file: File,
    is_there: bool,
}

impl Partial {
    /// Creates it in the folder of `target`, so that it can be renamed to that.
    pub(super) fn beside(target: &Path) -> Result<Self, CopyError> {
        let mut path = target.as_os_str().to_owned();
        path.push(format!(".{:016x}.partial", rand::random::<u64>()));
        let path = PathBuf::from(path);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&path)
            .map_err(cannot("create", &path))?;
        Ok(Self {
            path,
            file,
            is_there: true,
        })
    }

    pub(super) fn fill(&mut self, content: &mut dyn Read) -> io::Result<u64> {
        io::copy(content, &mut self.file)
    }

    /// Gives it this owner, group and mode.
    pub(super) fn give_to(&self, user: u32, group: u32, mode: u32) -> io::Result<()> {
        let own = self.file.metadata()?;
        if (own.uid(), own.gid()) != (user, group) {
            fchown(&self.file, Some(user), Some(group))?;
        }
        self.file.set_permissions(Permissions::from_mode(mode))
    }

    /// Puts its content on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Renames it to `target`, in place of what is there.
    pub(super) fn rename_to(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.is_there = false;
        Ok(())
    }

    /// Renames it to `target`, where nothing may be.
    fn rename_to_new(mut self, target: &Path) -> io::Result<()> {
        renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE)?;
        self.is_there = false;
        Ok(())
    }

    fn remove(&mut self) -> io::Result<()> {
        self.is_there = false;
        fs::remove_file(&self.path)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.is_there {
            // Nothing more can be done about it, and the error that led here says more.
            drop(self.remove());
        }
    }
}

/// Puts on disk which names the folder of this file has.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)?.sync_all()
}
