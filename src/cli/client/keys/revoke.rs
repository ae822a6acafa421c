//! `keys revoke`.

use super::{
    shown::show,
    target::{Named, Target},
};
use crate::cli::{
    client::{
        arguments::text,
        confirm::Consent,
        failure::Failure,
        origin::Place,
        printer::{say, time},
    },
    output::OutputFormat,
};
use clap::Args;
use tosend_keyservice::{
    Admin,
    proto::{
        BatchRevokeRequest, RevokeRequest,
        batch_revoke_request::{Keys, Selection},
    },
};

/// Which key to revoke.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    target: Target,

    /// Why, for people. It stays with the key.
    #[arg(long, value_parser = text)]
    reason: Option<String>,

    #[command(flatten)]
    consent: Consent,
}

impl Revoke {
    pub(super) async fn run(
        &self,
        admin: &Admin,
        format: OutputFormat,
        place: &Place,
    ) -> Result<(), Failure> {
        let target = self.target.read()?;
        self.consent
            .obtain(async || target.revocation(admin, place).await)
            .await?;
        let before = target.clone().get(admin).await;
        let shown = match &self.reason {
            None => {
                let request = RevokeRequest {
                    target: Some(target.into()),
                    account_id: None,
                };
                Ok(admin.revoke(request).await?.key.unwrap_or_default())
            }
            Some(reason) => {
                revoke_for(reason, admin, target.clone()).await?;
                target.get(admin).await
            }
        };
        // A key must not stay in use because it could not be looked at before.
        if let Some(first) = before.ok().and_then(|key| key.revoke_time) {
            say(&format!(
                "It was revoked already, at {}. Nothing was changed.",
                time(&first)
            ));
        }
        match shown {
            Ok(key) => show(admin, format, Some(key)).await,
            Err(failure) => {
                say(&format!(
                    "The key is revoked. It cannot be shown: {failure}"
                ));
                Ok(())
            }
        }
    }
}

/// Revokes a key as a batch of one, because only a batch has a reason.
async fn revoke_for(reason: &str, admin: &Admin, named: Named) -> Result<(), Failure> {
    let mut keys = Keys::default();
    match named {
        Named::Id(id) => keys.key_ids.push(id),
        Named::Token(token) => keys.tokens.push(token),
    }
    let request = BatchRevokeRequest {
        selection: Some(Selection::Keys(keys)),
        account_id: None,
        reason: reason.to_owned(),
        dry_run: false,
    };
    let revoked = admin.batch_revoke(request).await?;
    if revoked.not_found.is_empty() {
        return Ok(());
    }
    Err(Failure::NotFound("there is no such key".to_owned()))
}
