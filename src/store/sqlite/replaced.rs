//! The databases that restores have moved away, which stand beside the one that is served.
//!
//! Owns their names. Promises that a restored copy that nobody has accepted is never taken for the database that was
//! served: no service has written to it, so its records do not tell what came after it was made.

use super::{
    copies::{Copied, contents},
    file, inspect, origin,
};
use crate::model::time::Timestamp;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// How many are looked at. Each one that is passed over is a restore that nobody has accepted, and few people make so
/// many.
const LOOKED_AT: usize = 100;

/// The name of the database that is moved away at this time. The names are ordered as the times are.
pub(super) fn name(database: &Path, time: Timestamp) -> PathBuf {
    let time = humantime::format_rfc3339_micros(time.to_system_time()).to_string();
    let time = time.replace(['-', ':'], "");
    file::beside(database, &format!(".replaced-{time}"))
}

/// The newest one that is no unaccepted copy, with what it holds. None if that cannot be read, is of another store, or
/// ends before the last write that a copy of it has: then it is not the one that was served last.
pub(super) fn last_served(
    database: &Path,
    store_id: Option<Uuid>,
    last_write: Option<Timestamp>,
) -> Option<(PathBuf, Copied)> {
    for path in all(database).into_iter().rev().take(LOOKED_AT) {
        let has_log = inspect::has_log(&path).ok()?;
        let len = path.metadata().map_or(0, |found| found.len());
        if len == 0 && !has_log {
            continue;
        }
        if origin::find_restored(&path).ok()?.is_some() {
            continue;
        }
        let connection = inspect::reader(&path).ok()??;
        let served = contents(&connection).ok()?;
        let is_other = store_id.is_some() && served.store_id != store_id;
        let has_all = served.revision > 0 && served.last_write >= last_write;
        return (has_all && !is_other).then_some((path, served));
    }
    None
}

/// All of them, the oldest first. Of some, there is but a log.
fn all(database: &Path) -> BTreeSet<PathBuf> {
    let prefix = file::beside(database, ".replaced-");
    let (Some(folder), Some(prefix)) = (database.parent(), prefix.file_name()) else {
        return BTreeSet::new();
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let ours = names.filter_map(|name| {
        let time = name.strip_prefix(prefix.to_str()?)?;
        let end = time.find('Z')? + 1;
        let is_database = matches!(&time[end..], "" | "-wal");
        is_database.then(|| file::beside(database, &format!(".replaced-{}", &time[..end])))
    });
    ours.collect()
}
