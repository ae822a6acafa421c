//! Which service a command calls, and as whom: by flags, by variables, or by a context of the file.

use super::{
    advice::advice,
    arguments::{file_path, text},
    context::Context,
    contexts::Contexts,
    credential::{Credential, SECRET_VARIABLE, secret_of_variable},
    failure::Failure,
    mistaken_secret::refuse_token,
    origin::{Origin, Place, without_plaintext},
    printer::say,
};
use crate::{
    config::duration,
    file_access::{self, Content},
};
use clap::Args;
use std::{
    env,
    net::{TcpStream, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};
use tokio::{net::lookup_host, time::timeout};
use tosend_keyservice::{Client, Code, Options, code_name};

/// Under which heading the help explains the connection.
pub(in crate::cli) const CONNECTION: &str = "Connection";

/// Where `keyservice serve` listens if it is told nothing.
const THIS_MACHINE: &str = "127.0.0.1:50051";

/// A service far away takes a few round trips to connect to and to ask.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(200);

/// Which service to call, and as whom. A flag or variable goes before what the context says.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = CONNECTION)]
pub(super) struct Connection {
    /// The context to use: its name in the file. Without this, it is the file's current one, unless
    /// --server is given.
    #[arg(long, env = "KEYSERVICE_CONTEXT", value_name = "NAME", value_parser = text, global = true)]
    context: Option<String>,

    /// The file of the contexts. Without this, it is `keyservice/config.toml` in `$XDG_CONFIG_HOME` or `~/.config`.
    #[arg(long, env = "KEYSERVICE_CONFIG", value_name = "FILE", value_parser = file_path, global = true)]
    config: Option<PathBuf>,

    #[command(flatten)]
    flags: Context,

    /// How long a call may take, with all its attempts.
    #[arg(
        long,
        env = "KEYSERVICE_TIMEOUT",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = duration,
        global = true
    )]
    timeout: Duration,
}

impl Connection {
    /// The failure of a call, with what to look at first.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Unavailable(why) => Failure::Unavailable(self.with_advice(&why)),
            Failure::Distrusted(why) => Failure::Distrusted(self.with_advice(&why)),
            Failure::Misused(why) if is_about_caller(&why) => {
                let credential = self.credential().ok().flatten();
                let credential = credential
                    .map_or("the call was made without a credential".to_owned(), |it| {
                        format!("the credential is the {it}")
                    });
                let why = format!("{why}; {credential}");
                Failure::Misused(self.place().explain(why))
            }
            // It may exist elsewhere.
            Failure::NotFound(why) => Failure::NotFound(self.place().explain(why)),
            failure => failure,
        }
    }

    fn with_advice(&self, why: &str) -> String {
        let advice = self.advice(why);
        let why = advice.map_or(why.to_owned(), |advice| format!("{why}; {advice}"));
        self.place().explain(why)
    }

    fn advice(&self, why: &str) -> Option<String> {
        let has_secret = secret_of_variable().is_ok_and(|secret| secret.is_some());
        let without_plaintext = without_plaintext(&self.flags);
        let context = self.merged().ok()?;
        advice(&context, has_secret, without_plaintext, why, accepts)
    }

    /// What says which service is called.
    pub(super) fn origin(&self) -> Origin {
        match (&self.context, &self.flags.server) {
            (Some(name), _) => Origin::of_context(name),
            (None, Some(_)) => Origin::of_server(),
            (None, None) => {
                let contexts = self.contexts().ok();
                let name = contexts.and_then(|it| it.current_name().map(str::to_owned));
                name.map_or(Origin::Default, Origin::CurrentContext)
            }
        }
    }

    /// The same connection, by the context of this name. A variable that names another does not count then.
    pub(super) fn by_context(&self, name: &str) -> Result<Self, Failure> {
        let other = self.context.as_ref().filter(|other| *other != name);
        if let Some(other) = other
            && Origin::of_unseen_context(other).is_none()
        {
            return Err(Failure::Misused(format!(
                "two contexts are named, of which only one can be meant: {name}, and {other} by --context"
            )));
        }
        let context = Some(name.to_owned());
        Ok(Self {
            context,
            ..self.clone()
        })
    }

    /// Whether calls are encrypted.
    pub(super) fn is_encrypted(&self) -> Result<bool, Failure> {
        let context = self.merged()?;
        Ok(context.server.is_some() && !context.plaintext)
    }

    /// What tells the service who calls.
    pub(super) fn credential(&self) -> Result<Option<Credential>, Failure> {
        let variable = secret_of_variable()?;
        Ok(Credential::in_use(&self.merged()?, variable.as_ref()))
    }

    /// How long a call may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Looks up the names of the service. Where none is known, nobody needs to wait for an answer.
    pub(super) async fn look_up(&self) -> Result<(), Failure> {
        let place = self.server();
        let mut faults = Vec::new();
        for address in place.split(',').map(str::trim) {
            match timeout(self.timeout, lookup_host(address)).await {
                Ok(Err(error)) => faults.push(format!("{address} ({error})")),
                // Whoever calls it says how it is with the others.
                Ok(Ok(_)) | Err(_) => return Ok(()),
            }
        }
        let faults = faults.join(", ");
        Err(Failure::Unavailable(format!(
            "no address was found for {faults}: check the name in --server, or in the context"
        )))
    }

    /// The service, for a person who is asked or told something about it.
    pub(super) fn place(&self) -> Place {
        Place {
            server: self.server(),
            origin: self.origin(),
        }
    }

    /// The addresses of the service.
    pub(super) fn server(&self) -> String {
        let server = self.flags.server.clone();
        let server = server.or_else(|| self.merged().ok()?.server);
        server.unwrap_or_else(|| THIS_MACHINE.to_owned())
    }

    /// A client of that service. It needs a Tokio runtime.
    pub(super) fn open(&self) -> Result<Client, Failure> {
        let options = self.options()?;
        self.warn_of_others()?;
        self.warn_of_default()?;
        Client::open(options).map_err(|wrong| match wrong.into() {
            Failure::Misused(why) => Failure::Misused(self.place().explain(why)),
            failure => failure,
        })
    }

    /// Says who else may change the files that decide where a secret goes, or read it.
    fn warn_of_others(&self) -> Result<(), Failure> {
        let context = self.merged()?;
        let of_contexts = match self.flags.server {
            Some(_) => None,
            None => Some(self.contexts()?.path().to_owned()),
        };
        for (name, file, content) in [
            ("the file of contexts", of_contexts, Content::Public),
            ("ca", context.ca, Content::Public),
            ("client-cert", context.client_cert, Content::Public),
            ("client-key", context.client_key, Content::Secret),
            ("secret-file", context.secret_file, Content::Secret),
        ] {
            let file = file.as_deref();
            for warning in file_access::warnings(name, file.as_slice(), content) {
                say(&format!("keyservice: {warning}"));
            }
        }
        Ok(())
    }

    /// Whoever has no place for contexts may not notice that none is used.
    fn warn_of_default(&self) -> Result<(), Failure> {
        if let (Origin::Default, Some(nowhere)) = (self.origin(), self.contexts()?.nowhere()) {
            say(&format!(
                "keyservice: {nowhere}; no server is named, so {THIS_MACHINE} is called"
            ));
        }
        Ok(())
    }

    /// The file of contexts that counts.
    pub(super) fn contexts(&self) -> Result<Contexts, Failure> {
        Contexts::read(self.config.as_deref())
    }

    /// Changes that file, which need not exist if a context is added.
    pub(super) fn change_contexts<T>(
        &self,
        may_be_new: bool,
        change: impl FnOnce(&mut Contexts) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        Contexts::change(self.config.as_deref(), may_be_new, change)
    }

    /// The context that flags and variables describe. Refuses one by which no call can ever be made.
    pub(super) fn described(&self) -> Result<Context, Failure> {
        let context = self.flags.clone();
        let Some(server) = &context.server else {
            let missing = "a context needs a server; say which by --server".to_owned();
            return Err(Failure::Misused(missing));
        };
        let options = context.options(server, context.plaintext)?;
        options.check_without_files().map_err(|wrong| {
            let is_about_plaintext = context.plaintext
                && context
                    .options(server, false)
                    .is_ok_and(|it| it.check_without_files().is_ok());
            Failure::Misused(if is_about_plaintext {
                format!("{wrong}: {}", without_plaintext(&self.flags))
            } else {
                wrong.to_string()
            })
        })?;
        Ok(context)
    }

    fn options(&self) -> Result<Options, Failure> {
        let context = self.merged()?;
        let (server, is_plaintext) = match &context.server {
            Some(server) => (server.as_str(), context.plaintext),
            None if context == Context::default() && secret_of_variable()?.is_none() => {
                (THIS_MACHINE, true)
            }
            None => {
                return Err(Failure::Misused(
                    "the connection is described, but not its server; say which by --server"
                        .to_owned(),
                ));
            }
        };
        let mut options = context
            .options(server, is_plaintext)?
            .attempts(4, (self.timeout / 4).max(SHORTEST_ATTEMPT))
            .deadline(self.timeout)
            .admin_deadline(self.timeout);
        if context.secret_file.is_none()
            && let Some(secret) = secret_of_variable()?
        {
            refuse_token(secret.expose(), &format!("the variable {SECRET_VARIABLE}"))?;
            options = options.secret(secret.expose());
        }
        Ok(options)
    }

    /// Nobody can know which of the two is meant.
    pub(super) fn refuse_two_services(&self) -> Result<(), Failure> {
        let (Some(name), Some(_)) = (&self.context, &self.flags.server) else {
            return Ok(());
        };
        let (context, server) = (Origin::of_context(name), Origin::of_server());
        Err(Failure::Misused(format!(
            "a context and a server are given, of which only one can be meant: {context}, and the server of {server}"
        )))
    }

    /// A context is for its server, so a server that is given without one gets none of its credentials.
    fn merged(&self) -> Result<Context, Failure> {
        self.refuse_two_services()?;
        let of_file = match (&self.context, &self.flags.server) {
            (_, Some(_)) => Context::default(),
            (Some(name), None) => self
                .contexts()?
                .get(name)
                .map_err(|wrong| {
                    let origin = Origin::of_unseen_context(name);
                    origin.map_or(wrong.to_string(), |origin| {
                        format!("{wrong}; the connection is that of {origin}")
                    })
                })
                .map_err(Failure::Misused)?,
            (None, None) => self.contexts()?.current()?.unwrap_or_default(),
        };
        let says_who = secret_of_variable()?.is_some() || self.flags.says_who();
        let of_file = if says_who {
            of_file.without_caller()
        } else {
            of_file
        };
        Ok(self.flags.clone().or(of_file))
    }
}

/// The limit for one attempt to connect, which finds out whether the address accepts connections.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// Whether one of these addresses accepts a connection now.
fn accepts(server: &str) -> bool {
    let places = server.split(',').map(str::trim);
    let addresses = places.filter_map(|place| place.to_socket_addrs().ok());
    addresses
        .flatten()
        .any(|address| TcpStream::connect_timeout(&address, LOOK_LIMIT).is_ok())
}

/// Whether the service does not know the caller, or lets it not make the call.
fn is_about_caller(why: &str) -> bool {
    let codes = [Code::Unauthenticated, Code::PermissionDenied];
    codes.into_iter().any(|code| why.contains(code_name(code)))
}

/// What says that this person works with a service, if anything does: a variable, or the current context.
pub(in crate::cli) fn service_in_use() -> Option<String> {
    let variables = ["KEYSERVICE_SERVER", "KEYSERVICE_CONTEXT"];
    let value = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let mut given = variables.iter().filter(|name| value(name).is_some());
    if let Some(variable) = given.next() {
        return Some(format!("the variable {variable}"));
    }
    let file = value("KEYSERVICE_CONFIG").map(PathBuf::from);
    let contexts = Contexts::read(file.as_deref()).ok()?;
    let name = contexts.current_name()?;
    Some(format!("the current context, {name},"))
}
