//! Everything that this process logs, at every level.

use std::{
    io,
    sync::{Mutex, OnceLock},
};
use tracing_subscriber::fmt::{Subscriber, writer::BoxMakeWriter};

static LOGS: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Logs;

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGS.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps what is logged from now on.
pub fn keep() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let subscriber = Subscriber::builder()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(BoxMakeWriter::new(|| Logs))
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

pub fn logged() -> String {
    String::from_utf8_lossy(&LOGS.lock().unwrap()).into_owned()
}
