//! What a caller may do, found out by calls that change nothing.

use super::failure::Failure;
use tosend_keyservice::{
    Admin, AdminError, Client, Code,
    proto::{GetRequest, ListRequest, get_request::Target},
};

/// A key that was never made.
const NO_KEY: &str = "key_00000000000000000000000000";

/// What the caller may do.
pub(super) struct Rights {
    pub(super) role: &'static str,
    /// Whether that holds for all accounts. None if only an admin could find it out.
    pub(super) accounts: Option<&'static str>,
}

pub(super) fn accounts_in_words(accounts: Option<&str>) -> &'static str {
    match accounts {
        Some("all") => "all",
        Some(_) => "only some: the service's file of callers says which",
        None => "not known: the service tells only an admin whether they are all",
    }
}

/// Finds it out by calls that change nothing. No call tells it.
pub(super) async fn rights(client: &Client) -> Result<Rights, Failure> {
    let admin = client.admin();
    if is_permitted(list_any(&admin).await)? {
        return Ok(Rights {
            role: "admin",
            accounts: Some("all"),
        });
    }
    if is_permitted(get_none(&admin).await)? {
        return Ok(Rights {
            role: "admin",
            accounts: Some("some"),
        });
    }
    // Fails if the caller may not even ask this.
    client.authorize("", "example.com").await.map(drop)?;
    Ok(Rights {
        role: "authorizer",
        accounts: None,
    })
}

/// Only a caller that is not limited to some accounts may make this call.
async fn list_any(admin: &Admin) -> Result<(), AdminError> {
    let request = ListRequest {
        all_accounts: true,
        page_size: 1,
        ..ListRequest::default()
    };
    admin.list(request).await.map(drop)
}

async fn get_none(admin: &Admin) -> Result<(), AdminError> {
    let request = GetRequest {
        target: Some(Target::KeyId(NO_KEY.to_owned())),
        account_id: None,
    };
    match admin.get(request).await {
        Err(AdminError::Refused(error)) if error.code == Code::NotFound => Ok(()),
        got => got.map(drop),
    }
}

fn is_permitted(called: Result<(), AdminError>) -> Result<bool, Failure> {
    match called {
        Ok(()) => Ok(true),
        Err(AdminError::Misused(error)) if error.code() == Some(Code::PermissionDenied) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
