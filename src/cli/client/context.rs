//! One context: a service, and who one is there.

use super::{
    arguments::{file_path, text},
    failure::Failure,
    mistaken_secret::refuse_token,
};
use clap::{ArgAction, Args, builder::BoolishValueParser};
use serde::Deserialize;
use std::{fs, path::PathBuf};
use toml_edit::{Table, value};
use tosend_keyservice::Options;

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
        value_parser = text,
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
        value_parser = text,
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

    /// The options by which a client calls this server, as the context says.
    pub(super) fn options(&self, server: &str, is_plaintext: bool) -> Result<Options, Failure> {
        let mut options = Options::new(server.split(',').map(str::trim));
        if is_plaintext {
            options = options.plaintext();
        }
        if let Some(file) = &self.ca {
            options = options.ca_file(file);
        }
        if let Some(name) = &self.server_name {
            options = options.server_name(name);
        }
        if let (Some(certificate), Some(key)) = (&self.client_cert, &self.client_key) {
            options = options.certificate_files(certificate, key);
        }
        if let Some(file) = &self.secret_file {
            // Whoever opens the client says why it cannot be read.
            if let Ok(secret) = fs::read_to_string(file) {
                refuse_token(&secret, &file.display().to_string())?;
            }
            options = options.secret_file(file);
        }
        Ok(options)
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

    pub(super) fn files(&mut self) -> [&mut Option<PathBuf>; 4] {
        [
            &mut self.ca,
            &mut self.client_cert,
            &mut self.client_key,
            &mut self.secret_file,
        ]
    }

    /// Its settings that are texts, each by its name in the file.
    fn texts(&self) -> impl Iterator<Item = (&'static str, String)> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let texts = [
            ("server", self.server.clone()),
            ("ca", self.ca.as_ref().map(path)),
            ("server-name", self.server_name.clone()),
            ("client-cert", self.client_cert.as_ref().map(path)),
            ("client-key", self.client_key.as_ref().map(path)),
            ("secret-file", self.secret_file.as_ref().map(path)),
        ];
        let texts = texts.into_iter();
        texts.filter_map(|(name, text)| Some((name, text?)))
    }

    pub(super) fn to_table(&self) -> Table {
        let mut table = Table::new();
        for (name, text) in self.texts() {
            table[name] = value(text);
        }
        if self.plaintext {
            table["plaintext"] = value(true);
        }
        table
    }

    /// What it says, for people.
    pub(super) fn described(&self) -> String {
        let mut settings: Vec<_> = self
            .texts()
            .map(|(name, text)| format!("{name} {text}"))
            .collect();
        if self.plaintext {
            settings.push("plaintext".to_owned());
        }
        settings.join(", ")
    }

    /// The files that it names and that are not there, each with what it is for.
    pub(super) fn missing_files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let files = [
            ("ca", &self.ca),
            ("client-cert", &self.client_cert),
            ("client-key", &self.client_key),
            ("secret-file", &self.secret_file),
        ];
        let files = files.into_iter();
        let files = files.filter_map(|(name, file)| Some((name, file.as_ref()?)));
        files.filter(|(_, file)| file.try_exists().is_ok_and(|exists| !exists))
    }
}
