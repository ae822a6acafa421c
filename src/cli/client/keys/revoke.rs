//! `keys revoke`.

use super::{
    shown::{revokes, show},
    target::{Named, Target},
};
use crate::cli::{
    client::{
        arguments::text,
        confirm::Consent,
        failure::Failure,
        glimpse,
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
        let mut before = None;
        let question = async || {
            let key = target.clone().get(admin).await?;
            let question = revokes(place, &key);
            before = Some(key);
            Ok(question)
        };
        self.consent.obtain(question).await?;
        let (shown, was_revoked) = match &self.reason {
            None => {
                if before.is_none() {
                    before = glimpse(target.clone().get(admin)).await;
                }
                let request = RevokeRequest {
                    target: Some(target.into()),
                    account_id: None,
                };
                let key = admin.revoke(request).await?.key.unwrap_or_default();
                (Ok(key), before.is_some_and(|key| key.revoke_time.is_some()))
            }
            Some(reason) => {
                let was_revoked = revoke_for(reason, admin, target.clone()).await?;
                (target.get(admin).await, was_revoked)
            }
        };
        let first = shown.as_ref().ok().and_then(|key| key.revoke_time);
        if let Some(first) = first.filter(|_| was_revoked) {
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

/// Revokes a key as a batch of one, because only a batch has a reason. Returns whether it was revoked before.
async fn revoke_for(reason: &str, admin: &Admin, named: Named) -> Result<bool, Failure> {
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
        return Ok(revoked.already_revoked_count > 0);
    }
    Err(Failure::NotFound("there is no such key".to_owned()))
}
