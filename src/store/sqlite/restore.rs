//! The restore of a database file from a copy.
//!
//! Promises that the copy was looked at before anything is moved, and that what was there is kept under other names.
//! If it is killed half-way, the service does not start, or finds the file as it was before or after. Must never
//! touch the files of a service that runs.

use super::{
    copies::{Copied, CopyError, Partial, Plain, cannot, check, contents, sync_folder},
    errors::cannot_open,
    file, inspect, origin, replaced,
};
use crate::{model::time::Timestamp, store::Cause};
use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What a restore has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the database holds now.
    pub copied: Copied,
    /// What was there before.
    pub replaced: Former,
}

/// What a restore has moved away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Former {
    /// No database, and no log with writes.
    Nothing,
    /// The log of a database that was gone. Nobody can read it alone.
    Log(PathBuf),
    /// A file that cannot be read as a database.
    Unreadable(PathBuf),
    /// A database.
    Database(PathBuf, Copied),
    /// A copy that nobody has accepted, so that what came after it was made is not in it.
    Unaccepted {
        /// Where it is now.
        kept: PathBuf,
        /// What it holds.
        held: Copied,
        /// Whether it has writes that are later than those of the copy in its place.
        has_more: bool,
        /// The database that was served last, with what it holds, if it stands beside.
        served: Option<(PathBuf, Copied)>,
    },
}

/// What a restore takes that it refuses otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MayRestore {
    /// A copy that was not made by SQLite, while a process had the database open.
    pub incomplete: bool,
    /// The copy of another store than the one that is there.
    pub other_store: bool,
}

/// Puts the copy in the place of the database. Blocks.
pub fn restore(path: &Path, copy: &Path, may: MayRestore) -> Result<Restored, CopyError> {
    let name = copy.display().to_string();
    if is_same(path, copy) {
        return Err(CopyError::Itself(name));
    }
    if inspect::has_log(copy).map_err(cannot("read", copy))? {
        return Err(CopyError::WithLog(name));
    }
    let mut file = File::open(copy).map_err(cannot("read", copy))?;
    restore_from(path, &mut file, &name, may)
}

/// The same for a copy that is read, and not at hand as a file. An error calls it `name`.
pub fn restore_from(
    path: &Path,
    copy: &mut dyn Read,
    name: &str,
    may: MayRestore,
) -> Result<Restored, CopyError> {
    let place = Place::find(path)?;
    let mut partial = Partial::beside(&place.path)?;
    let filled = partial.fill(copy);
    filled.map_err(cannot("copy to", &partial.path))?;
    let plain = if may.incomplete {
        Plain::Accepted
    } else {
        Plain::Refused
    };
    let copied = check(&partial.path, name, plain)?;
    let before = place.contents();
    if let Some(before) = before
        && !may.other_store
    {
        refuse_other_store(name, &copied, &place.path, &before)?;
    }
    // SQLite's own copies have it, and the number of a file that was deleted is given to another one.
    let cleared = origin::clear(&partial.path);
    cleared.map_err(|error| cannot("write", &partial.path)(io::Error::other(error)))?;
    let given = partial.give_to(place.user, place.group, place.mode);
    given.map_err(cannot(
        "give to the owner of the database (run the command as that user)",
        &partial.path,
    ))?;
    let mut replaced = place.take(partial, before)?;
    if let Former::Database(kept, held) = &replaced
        && let Ok(Some(found)) = origin::find_restored(kept)
    {
        let (kept, held) = (kept.clone(), *held);
        let is_same = held.store_id == copied.store_id;
        let has_more = is_same && found.last_write > copied.last_write;
        let last_write = copied.last_write.max(found.last_write.filter(|_| is_same));
        replaced = Former::Unaccepted {
            has_more,
            served: replaced::last_served(&place.path, copied.store_id, last_write),
            kept,
            held,
        };
    }
    Ok(Restored { copied, replaced })
}

fn is_same(path: &Path, other: &Path) -> bool {
    let number = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    number(path).is_some_and(|found| Some(found) == number(other))
}

/// An empty store, as a service creates it, is replaced by any other.
fn refuse_other_store(
    name: &str,
    copied: &Copied,
    path: &Path,
    before: &Copied,
) -> Result<(), CopyError> {
    let is_other = |(one, other)| one != other;
    if before.revision > 0 && copied.store_id.zip(before.store_id).is_some_and(is_other) {
        return Err(CopyError::OtherStore {
            copy: name.to_owned(),
            path: path.display().to_string(),
            of_copy: Box::new(*copied),
            of_store: Box::new(*before),
        });
    }
    Ok(())
}

/// Where the database is or will be, and who may read it.
struct Place {
    path: PathBuf,
    user: u32,
    group: u32,
    mode: u32,
    /// Keeps a service from starting on the database that is there, if there is one.
    lock: Option<File>,
}

impl Place {
    fn find(path: &Path) -> Result<Self, CopyError> {
        let advice = "give the path of the database, in a folder that exists";
        let failed = |cause: Cause| cannot_open(path, cause, advice);
        let given = std::path::absolute(path).map_err(|error| failed(error.into()))?;
        file::refuse_deleted(&given)?;
        if let Ok(real) = given.canonicalize() {
            let lock = file::lock(&real)?;
            file::refuse_planted(&given, &real)?;
            let found = lock.metadata().map_err(|error| failed(error.into()))?;
            if !found.is_file() {
                return Err(failed("it is no regular file".into()).into());
            }
            return Ok(Self {
                path: real,
                user: found.uid(),
                group: found.gid(),
                mode: found.mode() & 0o777,
                lock: Some(lock),
            });
        }
        let (Some(folder), Some(name)) = (given.parent(), given.file_name()) else {
            return Err(failed("it names no file".into()).into());
        };
        let folder = folder
            .canonicalize()
            .map_err(|error| failed(error.into()))?;
        let found = folder.metadata().map_err(|error| failed(error.into()))?;
        Ok(Self {
            path: folder.join(name),
            user: found.uid(),
            group: found.gid(),
            mode: 0o600,
            lock: None,
        })
    }

    /// What the database holds that is there, if it can be read.
    fn contents(&self) -> Option<Copied> {
        self.lock.as_ref()?;
        let connection = inspect::reader(&self.path).ok()??;
        contents(&connection).ok()
    }

    /// Puts the copy in the place of what is there, which gets another name. There is always a database in the place,
    /// since a service creates one where there is none. If this is killed half-way, a service finds the copy as it is
    /// to be, or does not start: it refuses a database with two names, and a log of another database.
    fn take(&self, copy: Partial, before: Option<Copied>) -> Result<Former, CopyError> {
        copy.sync().map_err(cannot("write", &copy.path))?;
        // A service that waits for this store to be accepted would take the old log for the copy's.
        let _lock = file::lock(&copy.path)?;
        let replaced = replaced::name(&self.path, Timestamp::now());
        let is_there = self.lock.is_some();
        let is_empty = self.path.metadata().is_ok_and(|found| found.len() == 0);
        let has_log = inspect::has_log(&self.path).unwrap_or(true);
        if is_there {
            fs::hard_link(&self.path, &replaced)
                .map_err(cannot("give a second name to", &self.path))?;
        } else if self.path.symlink_metadata().is_ok() {
            let cause = "a service or somebody else has made it meanwhile";
            return Err(
                cannot_open(&self.path, cause, "stop the service, and restore again").into(),
            );
        }
        if let Err(error) = copy.rename_to(&self.path) {
            if is_there {
                fs::remove_file(&replaced).ok();
            }
            return Err(cannot("put the copy in the place of", &self.path)(error));
        }
        for end in ["-wal", "-shm", "-journal"] {
            let from = file::beside(&self.path, end);
            match fs::rename(&from, file::beside(&replaced, end)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(cannot("move away", &from)(error)),
            }
        }
        sync_folder(&self.path).map_err(cannot("write the folder of", &self.path))?;
        Ok(match before {
            Some(before) => Former::Database(replaced, before),
            None if is_there && !is_empty => Former::Unreadable(replaced),
            None if has_log => Former::Log(file::beside(&replaced, "-wal")),
            None => Former::Nothing,
        })
    }
}
