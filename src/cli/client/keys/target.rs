//! How a command names a key: by its id, or by its token, which must not be an argument.

use super::shown;
use crate::{
    cli::client::{
        arguments::{file_path, key_id},
        failure::Failure,
        origin::Place,
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

    /// What a person is asked before this key is revoked at this place. None if it is revoked already.
    pub(super) async fn revocation(
        &self,
        admin: &Admin,
        place: &Place,
    ) -> Result<Option<String>, Failure> {
        Ok(shown::revokes(place, &self.clone().get(admin).await?))
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
