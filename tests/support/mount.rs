//! Files that are mounted and changed as Kubernetes mounts and changes a secret.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A directory in which each `NAME` is a link to `..data/NAME`, and `..data` is a link to the
/// directory of the current version. A change writes a new version and replaces `..data` by a rename.
pub struct Mount {
    directory: TempDir,
    versions: u32,
}

impl Mount {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let mut mount = Self {
            directory: tempfile::tempdir().expect("a directory"),
            versions: 0,
        };
        mount.swap(files);
        for (name, _) in files {
            let target = format!("..data/{name}");
            symlink(target, mount.path(name)).expect("linked");
        }
        mount
    }

    /// Replaces all files in one atomic step.
    pub fn swap(&mut self, files: &[(&str, &str)]) {
        self.versions += 1;
        let version = format!("..version-{}", self.versions);
        fs::create_dir(self.path(&version)).expect("made");
        for (name, content) in files {
            fs::write(self.path(&version).join(name), content).expect("written");
        }
        symlink(version, self.path("..new")).expect("linked");
        fs::rename(self.path("..new"), self.path("..data")).expect("renamed");
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The path as an argument of a command.
    pub fn arg(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }
}
