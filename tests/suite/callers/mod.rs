//! Callers: how they are authenticated, and what their roles allow.

mod access;
mod admin_slots;
mod credentials_file;
mod lost_rights;
mod store_turns;
mod waiting_writes;

use crate::support::{
    mount::Mount,
    server::{Server, sqlite_in},
};

/// A server with these lines in its credentials file.
struct Guarded {
    server: Server,
    file: Mount,
    directory: tempfile::TempDir,
}

impl Guarded {
    async fn start(lines: &[&str]) -> Self {
        Self::start_with(lines, &[]).await
    }

    async fn start_with(lines: &[&str], args: &[&str]) -> Self {
        Self::start_on(None, lines, args).await
    }

    /// On this store, or a file of its own.
    async fn start_on(store: Option<&str>, lines: &[&str], args: &[&str]) -> Self {
        let file = Mount::new(&[("callers", &lines.join("\n"))]);
        let directory = tempfile::tempdir().expect("a directory");
        let path = file.arg("callers");
        let args = [&["--credentials", &path], args].concat();
        let store = store.map_or_else(|| sqlite_in(&directory), str::to_owned);
        Self {
            server: Server::start_with(&store, &args, &[]).await,
            file,
            directory,
        }
    }
}

const KEY_SERVICE: &str = "/tosend.keys.v1.KeyService";
