//! Who else may read or change a file that this process relies on, and how such a file is read.
//!
//! Owns the rule for all such files: the files that settings name, the database of SQLite, and the socket of
//! PostgreSQL. Trusts root, the user of this process, and the groups that it is in: so a volume that Kubernetes
//! gives to the group of a pod is in order. Follows owners, modes and POSIX access control lists.

use rustix::{
    fs::{OFlags, getxattr},
    process::{Gid, getegid, geteuid, getgroups},
};
use std::{
    collections::BTreeSet,
    fmt,
    fs::{Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// What a file must be kept from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nobody else may change it.
    Public,
    /// Nobody else may read it either.
    Secret,
    /// Nor may anybody else create files beside it, which SQLite would take for its own.
    Database,
    /// Nobody else but the server may create it. It may not be there yet.
    Socket,
}

/// Others than this process may do something with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Exposure {
    path: PathBuf,
    access: Access,
    who: Who,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Access {
    Read,
    Change,
    ReplaceWithin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    User(u32),
    Group(u32),
    Everybody,
}

/// Reads a regular file, or gives `None` if it is longer than the limit. Neither opening nor reading waits
/// for anybody: a named pipe would, until something writes to it, and a device might never end. A terminal
/// does not become that of this process, whose signals it would bring.
pub(crate) fn read(path: &Path, max_len: u64) -> io::Result<Option<Vec<u8>>> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(NOT_REGULAR));
    }
    let mut content = Vec::new();
    let len = file.take(max_len + 1).read_to_end(&mut content)?;
    Ok((len as u64 <= max_len).then_some(content))
}

/// Why a folder, a pipe or a device is not read. A link to a file is in order.
pub(crate) const NOT_REGULAR: &str =
    "not a regular file; give the path of one, because reading a pipe or a device may never end";

const STICKY: u32 = 0o1000;
const READ: u32 = 4;
const WRITE: u32 = 2;
const ENTER: u32 = 1;

/// Logs a warning for each thing that others may do with these files. `name` is what the operator calls them.
pub(crate) fn warn_of_others(name: &str, paths: &[&Path], content: Content) {
    for warning in warnings(name, paths, content) {
        tracing::warn!("{warning}");
    }
}

/// The same warnings, for a command that has no log.
pub(crate) fn warnings(name: &str, paths: &[&Path], content: Content) -> Vec<String> {
    let process = Identity::own();
    // Whoever opens a file reports that it is not there.
    let found = paths
        .iter()
        .flat_map(|path| exposures(path, content, &process));
    let found: BTreeSet<_> = found.flatten().collect();
    let warning = |exposure| {
        format!(
            "{name}: {exposure}; take this permission away with chmod or chown, or keep the file in a \
             folder that only its user may enter"
        )
    };
    found.into_iter().map(warning).collect()
}

/// Logs a warning for each thing by which others than the server may put a socket of theirs into its place. The
/// owner of the folder is taken to be the server.
pub(crate) fn warn_of_other_sockets(folder: &Path) {
    let Ok(metadata) = folder.metadata() else {
        return;
    };
    let (mut trusted, server) = (Identity::own(), metadata.uid());
    trusted.users.insert(server);
    trusted.groups.extend(own_group(server));
    // A server may have any of several sockets there, by its port.
    let found = exposures(&folder.join("socket"), Content::Socket, &trusted);
    for exposure in found.unwrap_or_default() {
        tracing::warn!(
            "the database's socket: {exposure}, and so put another one into its place, at the latest while the \
             server is down; give the server a folder (unix_socket_directories) where only its own user may"
        );
    }
}

/// The login group of a user. On most systems, no other user is in it.
fn own_group(user: u32) -> Option<u32> {
    const LARGE: u64 = 1024 * 1024;
    let users = read(Path::new("/etc/passwd"), LARGE).ok()??;
    let users = String::from_utf8_lossy(&users);
    users.lines().find_map(|line| {
        // postgres:x:105:112:PostgreSQL administrator:/var/lib/postgresql:/bin/bash
        let fields: Vec<_> = line.split(':').collect();
        let [_, _, id, group, ..] = fields[..] else {
            return None;
        };
        (id.parse() == Ok(user)).then(|| group.parse().ok())?
    })
}

/// The owner of this file or link, if it is another user and everybody may create files in its folder. Then
/// that user may have put it there.
pub(crate) fn planter(path: &Path) -> io::Result<Option<u32>> {
    planter_for(path, &Identity::own())
}

fn planter_for(path: &Path, process: &Identity) -> io::Result<Option<u32>> {
    let folder = path.parent().unwrap_or(Path::new("/")).metadata()?;
    let owner = path.symlink_metadata()?.uid();
    let is_foreign = !process.trusts(Who::User(owner));
    Ok((is_foreign && folder.mode() & WRITE != 0).then_some(owner))
}

/// Whom a process is, and so whom it trusts.
struct Identity {
    users: BTreeSet<u32>,
    groups: BTreeSet<u32>,
}

impl Identity {
    fn own() -> Self {
        let groups = getgroups().unwrap_or_default().into_iter();
        Self {
            users: BTreeSet::from([geteuid().as_raw()]),
            groups: groups.chain([getegid()]).map(Gid::as_raw).collect(),
        }
    }

    fn trusts(&self, who: Who) -> bool {
        match who {
            Who::User(id) => id == 0 || self.users.contains(&id),
            Who::Group(id) => id == 0 || self.groups.contains(&id),
            Who::Everybody => false,
        }
    }
}

/// What others may do with this file, where they can get to it.
fn exposures(path: &Path, content: Content, process: &Identity) -> io::Result<BTreeSet<Exposure>> {
    let path = std::path::absolute(path)?;
    let real = match (content, path.parent(), path.file_name()) {
        (Content::Socket, Some(folder), Some(name)) => folder.canonicalize()?.join(name),
        _ => path.canonicalize()?,
    };
    let mut found = BTreeSet::new();
    for path in links_on_the_way(&path)?.iter().chain([&real]) {
        let folder = path.parent().unwrap_or(path).canonicalize()?;
        let folders = with_ancestors(&folder)?;
        let mut note = |entered: &[Folder], (path, metadata): &Folder, access, all: Vec<Who>| {
            for who in all {
                let may_come = entered.iter().all(|folder| may_enter(who, folder));
                // An owner may change it too, and that is said.
                let is_said = access == Access::Read && who == Who::User(metadata.uid());
                if may_come && !is_said && !process.trusts(who) {
                    let path = path.clone();
                    found.insert(Exposure { path, access, who });
                }
            }
        };
        for (at, folder) in folders.iter().enumerate() {
            let is_last = at + 1 == folders.len();
            // In a folder such as /tmp, nobody may replace what belongs to another.
            let is_shared = folder.1.mode() & STICKY != 0;
            let may_be_new = match content {
                Content::Public | Content::Secret => false,
                Content::Database => is_last,
                Content::Socket => is_last && *path == real,
            };
            let writers = if is_shared && !may_be_new {
                vec![Who::User(folder.1.uid())]
            } else {
                allowed(folder, WRITE)
            };
            note(&folders[..at], folder, Access::ReplaceWithin, writers);
        }
        if *path == real && content != Content::Socket {
            let file = (real.clone(), real.metadata()?);
            note(&folders, &file, Access::Change, allowed(&file, WRITE));
            if content != Content::Public {
                note(&folders, &file, Access::Read, allowed(&file, READ));
            }
        }
    }
    Ok(found)
}

/// The most links that Linux follows (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

/// Every link that leads to a file, where it stands. Whoever may replace one of them decides which file it is.
fn links_on_the_way(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut links = Vec::new();
    let mut reached = PathBuf::from("/");
    let mut to_go: Vec<_> = path.iter().rev().map(PathBuf::from).collect();
    while let Some(name) = to_go.pop() {
        // An absolute name begins anew, and `..` is where the folder is that the links have led to.
        let next = match name.to_str() {
            Some("..") => reached.parent().unwrap_or(&reached).to_owned(),
            _ => reached.join(name),
        };
        if next.is_symlink() {
            to_go.extend(next.read_link()?.iter().rev().map(PathBuf::from));
            links.push(next);
            if links.len() > MOST_LINKS {
                return Err(io::Error::other("too many links"));
            }
        } else {
            reached = next;
        }
    }
    Ok(links)
}

type Folder = (PathBuf, Metadata);

/// A folder and all that it is in, the root first.
fn with_ancestors(folder: &Path) -> io::Result<Vec<Folder>> {
    let mut folders = folder
        .ancestors()
        .map(|folder| Ok((folder.to_owned(), folder.metadata()?)))
        .collect::<io::Result<Vec<_>>>()?;
    folders.reverse();
    Ok(folders)
}

/// Who has this right. An owner can take any.
fn allowed((path, metadata): &Folder, right: u32) -> Vec<Who> {
    let rights = Rights::of(path, metadata.mode());
    let mut allowed = vec![Who::User(metadata.uid())];
    allowed.extend(rights.named(right));
    if rights.everybody & right != 0 {
        allowed.push(Who::Everybody);
    } else if rights.owning_group & right != 0 {
        allowed.push(Who::Group(metadata.gid()));
    }
    allowed
}

/// Whether they can get into this folder. A user may be in any group.
fn may_enter(who: Who, (path, folder): &Folder) -> bool {
    let rights = Rights::of(path, folder.mode());
    let for_group = rights.owning_group & ENTER != 0;
    let mut named = rights.named(ENTER);
    rights.everybody & ENTER != 0
        || match who {
            Who::User(id) => {
                let is_of_list = |it| it == who || matches!(it, Who::Group(_));
                id == folder.uid() || for_group || named.any(is_of_list)
            }
            Who::Group(id) => (id == folder.gid() && for_group) || named.any(|it| it == who),
            Who::Everybody => false,
        }
}

/// What others than the owner may do with a file: by its mode, and by a POSIX access control list if it has one.
struct Rights {
    owning_group: u32,
    everybody: u32,
    named: Vec<(Who, u32)>,
}

impl Rights {
    /// Linux keeps a list as a version of four bytes, and for each entry a kind, the rights and an id, of two, two
    /// and four bytes (`linux/posix_acl_xattr.h`). Where there is one, the mode shows its mask in the place of the
    /// owning group's rights (`acl(5)`).
    fn of(path: &Path, mode: u32) -> Self {
        const NAMED_USER: u16 = 0x02;
        const OWNING_GROUP: u16 = 0x04;
        const NAMED_GROUP: u16 = 0x08;
        const MASK: u16 = 0x10;
        let mut rights = Self {
            owning_group: mode >> 3,
            everybody: mode,
            named: Vec::new(),
        };
        let mut list = vec![0; 64 * 1024];
        let Ok(length) = getxattr(path, "system.posix_acl_access", &mut list[..]) else {
            return rights;
        };
        let entries: Vec<(u16, u32, u32)> = list[4.min(length)..length]
            .chunks_exact(8)
            .map(|entry| {
                let half = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
                let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
                (half(0), half(2).into(), id)
            })
            .collect();
        let mask = entries.iter().find(|(kind, ..)| *kind == MASK);
        let mask = mask.map_or(u32::MAX, |(_, rights, _)| *rights);
        for (kind, of_entry, id) in entries {
            match kind {
                NAMED_USER => rights.named.push((Who::User(id), of_entry & mask)),
                NAMED_GROUP => rights.named.push((Who::Group(id), of_entry & mask)),
                OWNING_GROUP => rights.owning_group = of_entry & mask,
                _ => {}
            }
        }
        rights
    }

    /// Whom the list gives this right by name.
    fn named(&self, right: u32) -> impl Iterator<Item = Who> {
        let allowed = self
            .named
            .iter()
            .filter(move |(_, rights)| rights & right != 0);
        allowed.map(|(who, _)| *who)
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.who {
            Who::User(id) => write!(f, "user {id} may ")?,
            Who::Group(id) => write!(f, "each member of group {id} may ")?,
            Who::Everybody => write!(f, "every user of this machine may ")?,
        }
        match self.access {
            Access::Read => write!(f, "read {path}"),
            Access::Change => write!(f, "change {path}"),
            Access::ReplaceWithin => write!(f, "create or replace files in {path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt, symlink},
    };
    use tempfile::TempDir;

    /// A file in a folder in a folder that everybody may enter.
    struct Tree(TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = Self(TempDir::new().expect("a folder"));
            fs::create_dir(tree.path("in")).expect("made");
            fs::write(tree.path("in/file"), "").expect("written");
            tree.set("", 0o755).set("in", 0o755).set("in/file", 0o600);
            tree
        }

        fn path(&self, name: &str) -> PathBuf {
            let root = self.0.path().canonicalize().expect("it is there");
            if name.is_empty() {
                root
            } else {
                root.join(name)
            }
        }

        fn set(&self, name: &str, mode: u32) -> &Self {
            let mode = Permissions::from_mode(mode);
            fs::set_permissions(self.path(name), mode).expect("set");
            self
        }

        /// What others may do, with paths within the tree.
        fn found(&self, name: &str, content: Content, process: &Identity) -> Vec<String> {
            let found = exposures(&self.path(name), content, process).expect("looked at");
            let root = self.path("");
            let within = found.iter().filter(|it| it.path.starts_with(&root));
            let root = format!("{}/", root.display());
            within.map(|it| it.to_string().replace(&root, "")).collect()
        }
    }

    /// Gives a user and a group rights on a file by a list, with this mask.
    fn list(path: &Path, rights: u16, mask: u16) {
        list_with(path, 0, rights, mask);
    }

    /// The same, and these rights to the group that owns it.
    fn list_with(path: &Path, of_owning_group: u16, rights: u16, mask: u16) {
        let none = u32::MAX;
        let entries = [
            (0x01_u16, 6_u16, none),
            (0x02, rights, 4321),
            (0x04, of_owning_group, none),
            (0x08, rights, 8765),
            (0x10, mask, none),
            (0x20, 0, none),
        ];
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (kind, rights, id) in entries {
            list.extend([kind.to_le_bytes(), rights.to_le_bytes()].concat());
            list.extend(id.to_le_bytes());
        }
        let set = rustix::fs::setxattr(
            path,
            "system.posix_acl_access",
            &list,
            rustix::fs::XattrFlags::empty(),
        );
        set.expect("the file system has access control lists");
    }

    #[test]
    fn who_is_in_an_access_control_list_is_found_as_far_as_its_mask_lets_him() {
        let tree = Tree::new();
        let found = |content| tree.found("in/file", content, &owner(&tree, true));
        list(&tree.path("in/file"), 4, 7);
        assert_eq!(
            found(Content::Secret),
            [
                "user 4321 may read in/file",
                "each member of group 8765 may read in/file"
            ]
        );
        assert_eq!(found(Content::Public), [""; 0]);
        list(&tree.path("in/file"), 6, 7);
        assert_eq!(
            found(Content::Public),
            [
                "user 4321 may change in/file",
                "each member of group 8765 may change in/file"
            ]
        );
        list(&tree.path("in/file"), 7, 0);
        assert_eq!(found(Content::Secret), [""; 0]);
        list(&tree.path("in"), 7, 7);
        assert_eq!(found(Content::Public).len(), 2);

        // Only the list lets them into the folder.
        tree.set("in", 0o700);
        list(&tree.path("in"), 5, 7);
        list(&tree.path("in/file"), 4, 7);
        assert_eq!(found(Content::Secret).len(), 2);
    }

    /// The mode shows the mask in its place.
    #[test]
    fn the_owning_group_has_the_rights_of_its_entry_in_the_list() {
        let tree = Tree::new();
        let file = tree.path("in/file");
        let metadata = || file.metadata().expect("it is there");
        let group = Who::Group(metadata().gid());
        let may_read = || allowed(&(file.clone(), metadata()), READ).contains(&group);
        for (of_owning_group, mask, expected) in [(0, 7, false), (4, 7, true), (4, 0, false)] {
            list_with(&file, of_owning_group, 4, mask);
            assert_eq!(metadata().mode() >> 3 & 7, u32::from(mask));
            assert_eq!(may_read(), expected, "{of_owning_group} {mask}");
        }
        let folder = tree.path("in");
        tree.set("in", 0o700);
        let may_enter = |who| {
            let metadata = folder.metadata().expect("it is there");
            may_enter(who, &(folder.clone(), metadata))
        };
        list_with(&folder, 0, 0, 7);
        assert!(!may_enter(group) && !may_enter(Who::User(1234)));
        list_with(&folder, 1, 0, 7);
        assert!(may_enter(group) && may_enter(Who::User(1234)));
        list_with(&folder, 0, 1, 7);
        assert!(!may_enter(group));
        assert!(
            may_enter(Who::User(1234)),
            "he may be in the group of the list"
        );
    }

    /// The owner of the tree, in its group or not.
    fn owner(tree: &Tree, is_in_group: bool) -> Identity {
        let metadata = tree.path("").metadata().expect("it is there");
        Identity {
            users: BTreeSet::from([metadata.uid()]),
            groups: is_in_group.then_some(metadata.gid()).into_iter().collect(),
        }
    }

    /// Some other user.
    fn outside(own: &Identity) -> Identity {
        Identity {
            users: own.users.iter().map(|user| user + 4711).collect(),
            groups: BTreeSet::new(),
        }
    }

    #[test]
    fn who_may_put_a_socket_into_the_place_of_anothers_is_found_wherever_links_lead() {
        let tree = Tree::new();
        let server = owner(&tree, true);
        for folder in ["first", "sockets"] {
            fs::create_dir(tree.path(folder)).expect("made");
            tree.set(folder, 0o755);
        }
        symlink("../sockets", tree.path("first/link")).expect("linked");
        let found = || tree.found("first/link/socket", Content::Socket, &server);
        assert_eq!(found(), [""; 0]);
        let replace =
            |folder| format!("every user of this machine may create or replace files in {folder}");
        for (folder, mode, is_open) in [
            ("first", 0o777, true),
            ("sockets", 0o777, true),
            // Nobody replaces a link there, but the socket goes with its server.
            ("first", 0o1777, false),
            ("sockets", 0o1777, true),
        ] {
            tree.set(folder, mode);
            let expected: Vec<_> = is_open.then(|| replace(folder)).into_iter().collect();
            assert_eq!(found(), expected, "{mode:o}");
            tree.set(folder, 0o755);
        }
        tree.set("sockets", 0o775);
        let without_its_group = owner(&tree, false);
        let found = tree.found("first/link/socket", Content::Socket, &without_its_group);
        let group = tree.path("sockets").metadata().expect("there").gid();
        let may = format!("each member of group {group} may create or replace files in sockets");
        let expected: Vec<_> = (group != 0).then_some(may).into_iter().collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_others_may_do_is_found_where_they_can_get_to_it() {
        let tree = Tree::new();
        let process = owner(&tree, true);
        let found = |content| tree.found("in/file", content, &process);
        assert_eq!(found(Content::Database), [""; 0]);
        tree.set("in/file", 0o644);
        assert_eq!(found(Content::Public), [""; 0]);
        let read = ["every user of this machine may read in/file"];
        assert_eq!(found(Content::Secret), read);
        tree.set("in/file", 0o666);
        let change = ["every user of this machine may change in/file"];
        assert_eq!(found(Content::Public), change);
        tree.set("in", 0o700);
        assert_eq!(found(Content::Database), [""; 0], "they cannot get to it");
        tree.set("in/file", 0o600).set("in", 0o777);
        let replace = ["every user of this machine may create or replace files in in"];
        assert_eq!(found(Content::Public), replace);
        tree.set("in", 0o1777);
        assert_eq!(found(Content::Secret), [""; 0], "as in /tmp");
        assert_eq!(found(Content::Database), replace, "a log may be put there");
        tree.set("in", 0o755).set("", 0o777);
        let above = tree.path("").display().to_string();
        let replace = format!("every user of this machine may create or replace files in {above}");
        assert_eq!(found(Content::Public), [replace]);
    }

    #[test]
    fn who_may_replace_a_link_on_the_way_is_found_wherever_it_stands() {
        let tree = Tree::new();
        let process = owner(&tree, true);
        for folder in ["first", "second", "third"] {
            fs::create_dir(tree.path(folder)).expect("made");
            tree.set(folder, 0o755);
        }
        // A link to a folder, and through it a link to a link to the file.
        symlink("../second", tree.path("first/folder")).expect("linked");
        symlink(tree.path("third/link"), tree.path("second/link")).expect("linked");
        symlink("../in/file", tree.path("third/link")).expect("linked");
        let found = || tree.found("first/folder/link", Content::Public, &process);
        assert_eq!(found(), [""; 0]);
        for folder in ["first", "second", "third", "in"] {
            tree.set(folder, 0o777);
            let replace =
                format!("every user of this machine may create or replace files in {folder}");
            assert_eq!(found(), [replace]);
            tree.set(folder, 0o755);
        }
        symlink("circle", tree.path("in/circle")).expect("linked");
        let circle = links_on_the_way(&tree.path("in/circle"));
        assert!(circle.is_err(), "{circle:?}");
    }

    #[test]
    fn only_a_regular_file_is_read_and_nothing_is_waited_for() {
        let tree = Tree::new();
        fs::write(tree.path("in/file"), "12345").expect("written");
        symlink("file", tree.path("in/link")).expect("linked");
        let pipe = tree.path("in/pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).expect("a pipe");
        for (name, max_len, content) in [
            ("in/file", 5, Some(b"12345".to_vec())),
            ("in/link", 5, Some(b"12345".to_vec())),
            ("in/file", 4, None),
        ] {
            let found = read(&tree.path(name), max_len).expect("it is a file");
            assert_eq!(found, content, "{name}");
        }
        for path in [
            &pipe,
            &tree.path("in"),
            Path::new("/dev/zero"),
            Path::new("/dev/tty"),
        ] {
            let error = read(path, 5).expect_err("it is none").to_string();
            let no_terminal = path.ends_with("tty") && error.contains("No such device");
            assert!(error == NOT_REGULAR || no_terminal, "{path:?}: {error}");
        }
    }

    #[test]
    fn the_folder_of_a_link_counts_too() {
        let tree = Tree::new();
        fs::create_dir(tree.path("links")).expect("made");
        symlink("../in/file", tree.path("links/file")).expect("linked");
        tree.set("links", 0o777);
        let found = tree.found("links/file", Content::Public, &owner(&tree, true));
        let replace = ["every user of this machine may create or replace files in links"];
        assert_eq!(found, replace);
    }

    /// Kubernetes gives a volume to the group of the pod.
    #[test]
    fn a_group_of_the_process_and_root_are_trusted_and_nobody_else() {
        let tree = Tree::new();
        tree.set("in/file", 0o660).set("in", 0o2770);
        let own = owner(&tree, true);
        assert_eq!(tree.found("in/file", Content::Database, &own), [""; 0]);
        let outside = outside(&own);
        let metadata = tree.path("in").metadata().expect("it is there");
        let found = tree.found("in/file", Content::Database, &outside);
        for who in [
            (metadata.uid() != 0).then(|| format!("user {}", metadata.uid())),
            (metadata.gid() != 0).then(|| format!("each member of group {}", metadata.gid())),
        ] {
            let expected = who.map(|who| format!("{who} may change in/file"));
            assert!(expected.is_none_or(|it| found.contains(&it)), "{found:?}");
        }
    }

    #[test]
    fn a_file_of_another_user_in_a_folder_for_everybody_may_be_planted() {
        let tree = Tree::new();
        let own = owner(&tree, true);
        let other = outside(&own);
        let file = tree.path("in/file");
        assert_eq!(planter_for(&file, &other).expect("looked at"), None);
        tree.set("in", 0o1777);
        assert_eq!(planter_for(&file, &own).expect("looked at"), None);
        // Root's files are trusted, and the tests may run as root.
        let user = own.users.first().copied().expect("the owner");
        let planter = (user != 0).then_some(user);
        assert_eq!(planter_for(&file, &other).expect("looked at"), planter);
    }
}
