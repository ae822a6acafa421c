//! Files as Kubernetes mounts a secret, and changes it.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A directory in which each `NAME` is a link to `..data/NAME`, and `..data` one to the current
/// version's directory. A change makes another version and renames a new link over `..data`.
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

    /// Changes every file at one moment.
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

    /// The same as an argument.
    pub fn arg(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }
}
