//! How a command names a key: by its id, or by its token, which must not be an argument.

use crate::{
    cli::client::{
        arguments::{file_path, key_id},
        failure::Failure,
        token_input::read_token,
    },
    model::key::KeyId,
};
use clap::Args;
use std::path::PathBuf;
use tosend_keyservice::{
    Admin,
    proto::{GetRequest, Key, get_request, revoke_request, rotate_request, suspend_request},
};

/// The key.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Target {
    /// The key's id.
    #[arg(value_name = "KEY_ID", value_parser = key_id)]
    key_id: Option<KeyId>,

    /// File with the key's token, in the place of its id. `-` is standard input.
    #[arg(long, value_name = "FILE", value_parser = file_path)]
    token_file: Option<PathBuf>,
}

/// What a call is told.
#[derive(Clone)]
pub(super) enum Named {
    Id(String),
    Token(String),
}

impl Named {
    /// The key as it is now.
    pub(super) async fn get(self, admin: &Admin) -> Result<Key, Failure> {
        let request = GetRequest {
            target: Some(self.into()),
            account_id: None,
        };
        Ok(admin.get(request).await?.key.unwrap_or_default())
    }

    /// The key's id, for a call that takes no token.
    pub(super) async fn id(self, admin: &Admin) -> Result<String, Failure> {
        match self {
            Self::Id(id) => Ok(id),
            Self::Token(_) => Ok(self.get(admin).await?.key_id),
        }
    }
}

impl Target {
    /// Reads the token, if the key is named by it.
    pub(super) fn read(&self) -> Result<Named, Failure> {
        match (self.key_id, &self.token_file) {
            (Some(id), _) => Ok(Named::Id(id.to_string())),
            (None, Some(file)) => read_token(file).map(Named::Token),
            (None, None) => unreachable!("the group requires one of them"),
        }
    }
}

/// The same choice in each request that has it.
macro_rules! named_in {
    ($($request:ident),*) => {$(
        impl From<Named> for $request::Target {
            fn from(named: Named) -> Self {
                match named {
                    Named::Id(id) => Self::KeyId(id),
                    Named::Token(token) => Self::Token(token),
                }
            }
        }
    )*};
}

named_in!(get_request, revoke_request, rotate_request, suspend_request);

#[cfg(test)]
mod tests {
    use crate::cli::Cli;
    use clap::CommandFactory;

    #[test]
    fn each_command_that_takes_a_key_takes_its_id_or_a_file_with_its_token() {
        let program = Cli::command();
        let keys = program.find_subcommand("keys").expect("it is one");
        let mut takes_a_key = Vec::new();
        for command in keys.get_subcommands() {
            let has = |id: &str| command.get_arguments().any(|it| it.get_id() == id);
            assert_eq!(has("key_id"), has("token_file"), "{}", command.get_name());
            if has("key_id") {
                takes_a_key.push(command.get_name());
            }
        }
        let all = ["get", "update", "rotate", "suspend", "resume", "revoke"];
        assert_eq!(takes_a_key, all);
    }
}
