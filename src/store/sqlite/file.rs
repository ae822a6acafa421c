//! The database file as a file: its one name, its creation, and the lock on it.
//!
//! Promises that two processes never serve the file at the same time, by whatever names they know
//! it. Must never close a handle to a file that SQLite has open: the process would lose all the locks
//! that SQLite holds on that file (POSIX).

use super::errors::cannot_open;
use crate::{
    file_access::{self, Content, planter},
    store::OpenError,
};
use rustix::process::{Flock, FlockType, fcntl_getlk};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Only the service's own user may read the keys.
const MODE: u32 = 0o600;

/// Creates the file if there is none, and gives its real path, so that a link to it is the same
/// store. The file is created first, because the path of a missing file could come to mean another
/// file.
pub(super) fn create(path: &Path) -> Result<PathBuf, OpenError> {
    refuse_deleted(path)?;
    if !path.exists()
        && beside(path, "-wal")
            .metadata()
            .is_ok_and(|log| log.len() > 0)
    {
        return Err(OpenError::LogWithoutDatabase(path.display().to_string()));
    }
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path);
    match created {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            let advice = "make its directory first, and check its permissions";
            return Err(cannot_open(path, error, advice));
        }
        // The file existed, or was created and is closed again.
        _ => {}
    }
    let cannot_find = |error| {
        let advice = "if it is a link, make the file that it leads to first";
        cannot_open(path, error, advice)
    };
    let path = path.canonicalize().map_err(cannot_find)?;
    let metadata = std::fs::metadata(&path).map_err(cannot_find)?;
    let shown = path.display();
    if !metadata.is_file() {
        return Err(OpenError::Address(format!(
            "{shown} is no regular file; give the path of a file"
        )));
    }
    if metadata.nlink() > 1 {
        return Err(OpenError::Address(format!(
            "the file {shown} has a second name (a hard link), and each name would get a \
             write-ahead log of its own; remove one of them"
        )));
    }
    Ok(path)
}

/// Takes the lock that makes this process the only one to serve the file. It is on the file itself, so
/// it holds by whatever name or mount another process reaches it, and nobody can remove it. The system
/// releases it when the process ends, however it ends.
///
/// This lock (`flock`) and those of SQLite (`fcntl`) do not affect each other.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let advice = "check its permissions, and that its disk is not read-only and supports locks";
    let cannot_lock = |error: io::Error| cannot_open(path, error, advice);
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(cannot_lock)?;
    refuse_network_mount(path, &file)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let holder = holder(&file).map_or(String::new(), |pid| format!(" (process {pid})"));
            // It stays open until this process ends, because closing it could release the locks of a
            // store in the same process.
            std::mem::forget(file);
            Err(OpenError::InUse {
                path: path.display().to_string(),
                holder,
            })
        }
        Err(TryLockError::Error(error)) => Err(cannot_lock(error)),
    }
}

/// The byte of the log's index on which every connection of SQLite to the database has a lock.
const CONNECTED: u64 = 128;

/// Refuses a path that leads to no database any more, while another process still has the one that was there. Must
/// not be called by a process that has it open itself.
pub(super) fn refuse_deleted(path: &Path) -> Result<(), OpenError> {
    let index = beside(path, "-shm");
    // A link may lead to the folder of the database, but one to nothing is nobody's.
    if path.exists() || !index.is_file() {
        return Ok(());
    }
    let holder = File::options().read(true).open(index).ok();
    let holder = holder.and_then(|index| {
        let ours = Flock {
            start: CONNECTED,
            length: 1,
            ..Flock::from(FlockType::WriteLock)
        };
        fcntl_getlk(&index, &ours).ok().flatten()
    });
    let Some(lock) = holder else {
        return Ok(());
    };
    let pid = lock.pid.filter(|pid| pid.as_raw_nonzero().get() > 0);
    Err(OpenError::Deleted {
        path: path.display().to_string(),
        holder: pid.map_or("another process".to_owned(), |pid| {
            format!("process {}", pid.as_raw_nonzero())
        }),
    })
}

/// What SQLite keeps beside a database, or once has, and applies to it when it opens it.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Refuses a database that another user may have put there, and such a file beside it, which SQLite would
/// apply to the database. `given` may be a link, and `path` is what it leads to.
pub(super) fn refuse_planted(given: &Path, path: &Path) -> Result<(), OpenError> {
    let beside = BESIDE.map(|end| beside(path, end));
    for path in &beside {
        match path.symlink_metadata() {
            Ok(found) if !found.is_file() || found.nlink() > 1 => {
                let cause = "it is a link, has a second name, or is no file";
                return Err(cannot_open(path, cause, "find out who made it so"));
            }
            _ => {}
        }
    }
    let beside = beside.iter().map(PathBuf::as_path);
    for path in [given, path].into_iter().chain(beside) {
        match planter(path) {
            Ok(None) => {}
            Ok(Some(user)) => return Err(OpenError::Planted(path.display().to_string(), user)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(cannot_open(path, error, "check its permissions")),
        }
    }
    Ok(())
}

/// Refuses files beside the database that are not its owner's. If root opens the database, SQLite gives them
/// to that owner.
pub(super) fn refuse_other_owners(path: &Path) -> Result<(), OpenError> {
    let owner_of = |path: &Path| path.symlink_metadata().map(|found| found.uid());
    let advice = "run the command as the owner of the database";
    let owner = owner_of(path).map_err(|error| cannot_open(path, error, advice))?;
    for path in BESIDE.map(|end| beside(path, end)) {
        if owner_of(&path).is_ok_and(|other| other != owner) {
            let cause = "it does not belong to the owner of the database";
            return Err(cannot_open(&path, cause, "find out who made it"));
        }
    }
    Ok(())
}

/// Warns of others who may read or change the database, or a file beside it.
pub(super) fn warn_of_others(given: &Path, path: &Path) {
    let [log, index, journal] = &BESIDE.map(|end| beside(path, end));
    let paths = [given, log, index, journal];
    file_access::warn_of_others("the database", &paths, Content::Database);
}

/// The process with this lock on the file, where Linux tells.
fn holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino().to_string();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        // 1: FLOCK  ADVISORY  WRITE 4711 08:01:131073 0 EOF
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, "WRITE", pid, place, ..]
                if place.rsplit(':').next() == Some(&inode) =>
            {
                pid.parse().ok().filter(|pid| *pid > 0)
            }
            _ => None,
        }
    })
}

/// The path of a file that SQLite keeps beside the database.
pub(super) fn beside(database: &Path, end: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// On a network mount, a lock may hold on one machine alone, and SQLite's write-ahead log needs memory
/// that its users share.
#[cfg(target_os = "linux")]
fn refuse_network_mount(path: &Path, file: &File) -> Result<(), OpenError> {
    let system = rustix::fs::fstatfs(file)
        .map_err(|error| cannot_open(path, error, "check the disk that holds it"))?;
    let Some(name) = network_system(system.f_type) else {
        return Ok(());
    };
    Err(OpenError::Address(format!(
        "{} is on a network mount ({name}), where SQLite cannot keep two machines apart; give the \
         path of a file on a local disk or a block volume, or use PostgreSQL",
        path.display()
    )))
}

#[cfg(not(target_os = "linux"))]
fn refuse_network_mount(_: &Path, _: &File) -> Result<(), OpenError> {
    Ok(())
}

/// The name of a file system that several machines mount, by the number in `statfs(2)`.
#[cfg(target_os = "linux")]
fn network_system(number: rustix::fs::FsWord) -> Option<&'static str> {
    // Some file systems give 32 bits with a sign.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    match number as u32 {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        0x00c3_6400 => Some("Ceph"),
        0x0bd0_0bd0 => Some("Lustre"),
        0x5346_414f => Some("AFS"),
        0x0116_1970 => Some("GFS2"),
        0x7461_636f => Some("OCFS2"),
        _ => None,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_mounts_are_told_from_local_disks() {
        assert_eq!(network_system(rustix::fs::NFS_SUPER_MAGIC), Some("NFS"));
        let smb = i64::from(0xff53_4d42_u32.cast_signed());
        assert_eq!(network_system(smb), Some("SMB"));
        let (ext4, xfs, btrfs, tmpfs) = (0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994);
        for local in [ext4, xfs, btrfs, tmpfs] {
            assert_eq!(network_system(local), None);
        }
    }
}
