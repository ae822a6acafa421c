//! The client libraries, each run by its driver (clients/DRIVER.md).

use crate::support::eventually;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::oneshot;

/// A library that has no answer for this long hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// The folders of the libraries in `clients/`.
pub const LIBRARIES: [&str; 5] = ["go", "java", "node", "python", "rust"];

/// A library in a process of its own, with an open client.
pub struct Driver {
    pub library: &'static str,
    process: Child,
    input: Mutex<Option<ChildStdin>>,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>,
    next_id: AtomicU64,
    reader: Option<JoinHandle<()>>,
}

impl Driver {
    /// Opens a client with these options.
    pub async fn open(library: &'static str, options: &Value) -> Self {
        let (driver, opened) = Self::try_open(library, options).await;
        assert_eq!(opened["opened"], true, "{library}: {opened}");
        driver
    }

    /// Opens a client with these options, and returns what the library says to them.
    pub async fn try_open(library: &'static str, options: &Value) -> (Self, Value) {
        let mut process = Command::new(folder(library).join("run-driver"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("clients/{library}/run-driver: {error}: tests/run builds it")
            });
        let input = process.stdin.take();
        let output = process.stdout.take().expect("it is piped");
        let waiting = Arc::<Mutex<HashMap<_, _>>>::default();
        let reader = std::thread::spawn({
            let waiting = waiting.clone();
            move || read_answers(library, output, &waiting)
        });
        let driver = Self {
            library,
            process,
            input: Mutex::new(input),
            waiting,
            next_id: AtomicU64::new(0),
            reader: Some(reader),
        };
        let opened = driver.call("open", options).await;
        (driver, opened)
    }

    /// Makes a call, whose answer it returns without the id.
    pub async fn call(&self, call: &str, fields: &Value) -> Value {
        let id = self.next_id.fetch_add(1, Relaxed);
        let mut line = json!({"id": id, "call": call});
        let fields = fields.as_object().expect("an object");
        line.as_object_mut()
            .expect("an object")
            .extend(fields.clone());
        let (answered, answer) = oneshot::channel();
        self.waiting
            .lock()
            .expect("unpoisoned")
            .insert(id, answered);
        self.write(&line);
        let answer = tokio::time::timeout(LIMIT, answer).await;
        let library = self.library;
        let mut answer = answer
            .unwrap_or_else(|_| panic!("{library}: {call} hangs"))
            .unwrap_or_else(|_| panic!("{library}: the driver has ended"));
        answer.as_object_mut().expect("an object").remove("id");
        answer
    }

    pub async fn authorize(&self, token: &str, domain: &str) -> Value {
        self.call("authorize", &json!({"token": token, "domain": domain}))
            .await
    }

    /// Whether a replica is ready, or becomes so in time.
    pub async fn is_ready(&self) -> bool {
        let ready = self.call("ready", &json!({"millis": 20_000})).await;
        ready["ready"] == true
    }

    /// Everything at hand, as the language prints it.
    pub async fn shown(&self) -> String {
        let shown = self.call("show", &json!({})).await;
        shown["shown"].as_str().expect("a text").to_owned()
    }

    /// Ends its input, and waits until it has ended.
    pub async fn close(mut self) -> ExitStatus {
        drop(self.input.lock().expect("unpoisoned").take());
        let mut status = None;
        eventually("the driver ends", async || {
            status = self.process.try_wait().expect("a child");
            status.is_some()
        })
        .await;
        let reader = self.reader.take().expect("it is joined once");
        reader.join().expect("no panic");
        status.expect("it ended")
    }

    fn write(&self, line: &Value) {
        let mut input = self.input.lock().expect("unpoisoned");
        let input = input.as_mut().expect("it is open");
        writeln!(input, "{line}").expect("the driver reads");
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read_answers(
    library: &str,
    output: ChildStdout,
    waiting: &Mutex<HashMap<u64, oneshot::Sender<Value>>>,
) {
    for line in BufReader::new(output).lines() {
        let line = line.expect("UTF-8");
        let answer: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{library}: {error}: {line}"));
        let id = answer["id"].as_u64().expect("an id");
        let answered = waiting.lock().expect("unpoisoned").remove(&id);
        // Nobody waits any more for an answer that came too late.
        let _ = answered.expect("one answer to each call").send(answer);
    }
    // Whoever still waits is to know that no answer comes.
    waiting.lock().expect("unpoisoned").clear();
}

/// The folder of a library.
fn folder(library: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(library)
}
