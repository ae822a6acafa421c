//! The file of contexts: the services that a person works with, each by a name.
//!
//! Promises that no error shows what the file holds, and that a change of the file leaves what it does not
//! concern as it was, comments included.

use super::{failure::Failure, file_path::file_path};
use crate::model::text::refuse_secrets;
use clap::{ArgAction, Args, builder::BoolishValueParser};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf, absolute},
};
use toml_edit::{DocumentMut, Item, Table, value};

/// A service, and who one is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Context {
    /// The addresses of the service or of its replicas, separated by commas. Without a server and a
    /// context, it is 127.0.0.1:50051, in plain text.
    #[arg(
        long,
        env = "KEYSERVICE_SERVER",
        value_name = "HOST:PORT,…",
        global = true
    )]
    pub(super) server: Option<String>,

    /// Call without TLS. A secret is then sent to this machine alone.
    #[arg(
        long,
        env = "KEYSERVICE_PLAINTEXT",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub(super) plaintext: bool,

    /// File with the authorities that the server's certificate may come from (PEM). Without this, they are
    /// the system's.
    #[arg(long, env = "KEYSERVICE_CA", value_name = "FILE", value_parser = file_path, global = true)]
    pub(super) ca: Option<PathBuf>,

    /// The name in the server's certificate, if it is not the host of its address.
    #[arg(
        long,
        env = "KEYSERVICE_SERVER_NAME",
        value_name = "NAME",
        global = true
    )]
    pub(super) server_name: Option<String>,

    /// File with the client certificate that says who calls (PEM).
    #[arg(
        long,
        env = "KEYSERVICE_CLIENT_CERT",
        value_name = "FILE",
        value_parser = file_path,
        requires = "client_key",
        global = true
    )]
    pub(super) client_cert: Option<PathBuf>,

    /// File with the client certificate's private key (PEM).
    #[arg(
        long,
        env = "KEYSERVICE_CLIENT_KEY",
        value_name = "FILE",
        value_parser = file_path,
        requires = "client_cert",
        global = true
    )]
    pub(super) client_key: Option<PathBuf>,

    /// File with the bearer secret that says who calls. The variable `KEYSERVICE_SECRET` may hold the secret
    /// itself.
    #[arg(
        long,
        env = "KEYSERVICE_SECRET_FILE",
        value_name = "FILE",
        value_parser = file_path,
        global = true
    )]
    pub(super) secret_file: Option<PathBuf>,
}

impl Context {
    /// This, and where it says nothing, what the other says.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            server: self.server.or(other.server),
            plaintext: self.plaintext || other.plaintext,
            ca: self.ca.or(other.ca),
            server_name: self.server_name.or(other.server_name),
            client_cert: self.client_cert.or(other.client_cert),
            client_key: self.client_key.or(other.client_key),
            secret_file: self.secret_file.or(other.secret_file),
        }
    }

    /// Who calls is one thing: what says it is never completed from elsewhere.
    pub(super) fn says_who(&self) -> bool {
        self.client_cert.is_some() || self.secret_file.is_some()
    }

    /// The same service, as nobody.
    pub(super) fn without_caller(self) -> Self {
        Self {
            client_cert: None,
            client_key: None,
            secret_file: None,
            ..self
        }
    }

    fn files(&mut self) -> [&mut Option<PathBuf>; 4] {
        [
            &mut self.ca,
            &mut self.client_cert,
            &mut self.client_key,
            &mut self.secret_file,
        ]
    }

    fn into_table(self) -> Table {
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        let texts = [
            ("server", self.server),
            ("ca", self.ca.map(path)),
            ("server-name", self.server_name),
            ("client-cert", self.client_cert.map(path)),
            ("client-key", self.client_key.map(path)),
            ("secret-file", self.secret_file.map(path)),
        ];
        let mut table = Table::new();
        for (name, text) in texts {
            if let Some(text) = text {
                table[name] = value(text);
            }
        }
        if self.plaintext {
            table["plaintext"] = value(true);
        }
        table
    }
}

/// The file: its text, and what it says.
pub(super) struct Contexts {
    path: PathBuf,
    document: DocumentMut,
    content: Content,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Content {
    current: Option<String>,
    context: BTreeMap<String, Context>,
}

impl Contexts {
    /// Reads the file that was named, or else the usual one, which need not exist.
    pub(super) fn read(named: Option<&Path>) -> Result<Self, Failure> {
        let path = named.map_or_else(usual_path, |path| Some(path.to_owned()));
        let Some(path) = path else {
            return Ok(Self::empty(PathBuf::new()));
        };
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => {
                Ok(Self::empty(path))
            }
            Err(error) => Err(Failure::Misused(format!(
                "the file of contexts, {}, cannot be read: {error}",
                path.display()
            ))),
        }
    }

    fn empty(path: PathBuf) -> Self {
        Self {
            path,
            document: DocumentMut::new(),
            content: Content::default(),
        }
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, Failure> {
        let wrong = |message: &str, place: Option<usize>| wrong_file(&path, text, message, place);
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
            wrong(error.message(), error.span().map(|at| at.start))
        })?;
        let mut content: Content = toml_edit::de::from_str(text)
            .map_err(|error| wrong(error.message(), error.span().map(|at| at.start)))?;
        if content
            .context
            .values()
            .any(|it| it.client_cert.is_some() != it.client_key.is_some())
        {
            return Err(wrong("client-cert and client-key need each other", None));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let files = content.context.values_mut().flat_map(Context::files);
        for file in files.flatten() {
            let name = file.to_string_lossy();
            file_path(&name)
                .map_err(|_| wrong("a secret stands in the place of a file's name", None))?;
            *file = folder.join(&file);
        }
        Ok(Self {
            path,
            document,
            content,
        })
    }

    /// The context that is used when none is named. None if there are no contexts.
    ///
    /// If there are some and none is the current one, nobody can know which service is meant.
    pub(super) fn current(&self) -> Result<Option<Context>, Failure> {
        match &self.content.current {
            Some(name) => self.get(name).map(Some),
            None if self.content.context.is_empty() => Ok(None),
            None => Err(Failure::Misused(
                "no context is the current one: choose by --context, or by `keyservice contexts use`".to_owned(),
            )),
        }
    }

    pub(super) fn get(&self, name: &str) -> Result<Context, Failure> {
        self.content.context.get(name).cloned().ok_or_else(|| {
            let known: Vec<_> = self.content.context.keys().map(String::as_str).collect();
            let path = self.path.display();
            Failure::Misused(if known.is_empty() {
                format!("{path} has no contexts; add one by `keyservice contexts set`")
            } else {
                format!(
                    "{path} has no context of this name; it has: {}",
                    known.join(", ")
                )
            })
        })
    }

    /// Each name with its context, and whether it is the current one.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Context, bool)> {
        let current = self.content.current.as_deref();
        self.content
            .context
            .iter()
            .map(move |(name, context)| (name.as_str(), context, current == Some(name)))
    }

    /// Makes a context the current one.
    pub(super) fn make_current(&mut self, name: &str) -> Result<(), Failure> {
        self.get(name)?;
        let mut current = value(name);
        if let (Some(new), Some(old)) = (
            current.as_value_mut(),
            self.document.get("current").and_then(Item::as_value),
        ) {
            *new.decor_mut() = old.decor().clone();
        }
        self.document["current"] = current;
        self.store()
    }

    /// Adds a context, or replaces it. The first one becomes the current one.
    pub(super) fn set(&mut self, name: &str, mut context: Context) -> Result<(), Failure> {
        for file in context.files().into_iter().flatten() {
            *file = absolute(&file).map_err(|error| self.unwritten(&error))?;
        }
        if self.content.context.is_empty() {
            self.document["current"] = value(name);
        }
        let contexts = self.document.entry("context");
        let contexts = contexts.or_insert_with(|| {
            let mut contexts = Table::new();
            contexts.set_implicit(true);
            Item::Table(contexts)
        });
        contexts[name] = Item::Table(context.into_table());
        self.store()
    }

    /// Removes a context.
    pub(super) fn remove(&mut self, name: &str) -> Result<(), Failure> {
        self.get(name)?;
        if let Some(contexts) = self.document["context"].as_table_like_mut() {
            contexts.remove(name);
        }
        if self.content.current.as_deref() == Some(name) {
            self.document.remove("current");
        }
        self.store()
    }

    /// Replaces the file at once, so that nobody reads half of it.
    fn store(&self) -> Result<(), Failure> {
        let store = || -> io::Result<()> {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            let new = self.path.with_extension("new");
            fs::write(&new, self.document.to_string())?;
            fs::rename(new, &self.path)
        };
        store().map_err(|error| self.unwritten(&error))
    }

    fn unwritten(&self, error: &io::Error) -> Failure {
        let path = self.path.display();
        Failure::Refused(format!(
            "the file of contexts, {path}, cannot be written: {error}"
        ))
    }
}

/// What the TOML reader says may repeat a value of the file, and somebody may have put a secret there. Such a
/// message is not shown.
fn wrong_file(path: &Path, text: &str, message: &str, place: Option<usize>) -> Failure {
    let message: String = message
        .lines()
        .next()
        .unwrap_or("")
        .chars()
        .take(200)
        .collect();
    let shown = refuse_secrets(&message).map_or("a value does not belong there", |()| &message);
    let line = place.and_then(|place| text.get(..place));
    let line = line.map_or(String::new(), |before| {
        format!(", line {}", before.matches('\n').count() + 1)
    });
    let path = path.display();
    Failure::Misused(format!("the file of contexts, {path}{line}: {shown}"))
}

fn usual_path() -> Option<PathBuf> {
    let folder = |variable| env::var_os(variable).filter(|value| !value.is_empty());
    let config = folder("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| Some(PathBuf::from(folder("HOME")?).join(".config")));
    Some(config?.join("keyservice/config.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
current = \"here\" # mine

[context.here]
server = \"localhost:50051\"
plaintext = true

[context.production]
server = \"keys.example.org:50051\"
ca = \"ca.crt\"
secret-file = \"/run/secret\"
";

    fn parse(text: &str) -> Result<Contexts, Failure> {
        Contexts::parse("/etc/keyservice/config.toml".into(), text)
    }

    #[test]
    fn a_context_is_found_by_its_name_and_its_files_beside_the_file() {
        let contexts = parse(FILE).expect("right");
        let current = contexts.current().expect("there").expect("one");
        assert_eq!(current.server.as_deref(), Some("localhost:50051"));
        let production = contexts.get("production").expect("there");
        assert_eq!(production.ca, Some("/etc/keyservice/ca.crt".into()));
        assert_eq!(production.secret_file, Some("/run/secret".into()));
        let unknown = contexts.get("staging").expect_err("none").to_string();
        assert!(unknown.contains("here, production"), "{unknown}");
    }

    #[test]
    fn a_wrong_file_is_explained_and_no_secret_of_it_is_shown() {
        const SECRET: &str = "tsop_KeyServiceExampleSecretDoNotUse0123456789ab";
        for (wrong, line) in [
            ("current = 1\n".to_owned(), "line 1"),
            (
                "[context.a]\nserver = \"a:1\"\nsecret = \"x\"\n".to_owned(),
                "line 3",
            ),
            (format!("[context.a]\nplaintext = \"{SECRET}\"\n"), "line 2"),
            (format!("[context.a]\n{SECRET} = 1\n"), "line 2"),
            (format!("[context.a]\nca = \"{SECRET}\n"), "line 2"),
            (format!("\n{SECRET}\n"), "line 2"),
            (
                format!("[context.a]\nca = \"{SECRET}\"\n"),
                "in the place of a file's name",
            ),
        ] {
            let error = parse(&wrong).map(drop).expect_err("wrong").to_string();
            assert!(error.contains(line), "{wrong}: {error}");
            assert!(!error.contains("ExampleSecret"), "{error}");
        }
    }

    #[test]
    fn a_change_leaves_the_rest_of_the_file_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/config.toml");
        let mut contexts = Contexts::empty(path.clone());
        let here = Context {
            server: Some("localhost:50051".to_owned()),
            plaintext: true,
            ..Context::default()
        };
        contexts.set("here", here.clone()).expect("written");
        let read = || fs::read_to_string(&path).expect("written");
        assert_eq!(
            read(),
            "current = \"here\"\n\n[context.here]\nserver = \"localhost:50051\"\nplaintext = true\n"
        );
        fs::write(&path, FILE).expect("written");
        let mut contexts = Contexts::read(Some(&path)).expect("right");
        contexts.make_current("production").expect("written");
        assert_eq!(read(), FILE.replace("\"here\" #", "\"production\" #"));
        let mut contexts = Contexts::read(Some(&path)).expect("right");
        contexts.remove("production").expect("written");
        let left = Contexts::read(Some(&path)).expect("right");
        assert!(left.current().is_err());
        assert_eq!(left.all().collect::<Vec<_>>(), [("here", &here, false)]);
    }
}
