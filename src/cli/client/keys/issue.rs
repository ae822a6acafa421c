//! `keys create` and `keys rotate`: the two that print a token.

use super::{
    destination::{Destination, OpenDestination},
    shown,
    suspended_accounts::SuspendedAccounts,
    target::Target,
};
use crate::{
    cli::{
        client::{
            accounts,
            arguments::{account, distinct, domain, label, text},
            confirm::Consent,
            failure::Failure,
            origin::Place,
            printer::{json, say, time},
        },
        output::OutputFormat,
        times::{distance, future},
    },
    grpc,
    model::{time::Timestamp, token::Token},
};
use clap::Args;
use std::{io, time::Duration};
use tosend_keyservice::{
    Admin,
    proto::{self, CreateRequest, Key, RotateRequest},
};

/// The new key.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// The account that owns the key.
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    account: String,

    /// A descriptive name, for people.
    #[arg(long, value_parser = text)]
    name: String,

    /// The only domain that the key may be used for. Without this, it may be used for every verified domain of
    /// the account.
    #[arg(long, value_name = "DOMAIN", value_parser = domain)]
    domain: Option<String>,

    /// When the key expires: a time in UTC, such as 2030-01-31, or in how long, such as 90days. Without this,
    /// never.
    #[arg(long, value_name = "TIME", value_parser = future)]
    expires: Option<Timestamp>,

    /// A label. Give one flag for each.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,

    #[command(flatten)]
    destination: Destination,

    #[command(flatten)]
    repeat: Repeat,
}

/// A call that may be repeated.
#[derive(Debug, Args)]
struct Repeat {
    /// Any text of your own that makes it safe to run the command again: the same one never makes a second
    /// key. A repeated run fails and names the first key, whose token cannot be shown again.
    #[arg(long, value_name = "ID", value_parser = text)]
    request_id: Option<String>,
}

impl Create {
    pub(super) async fn run(&self, admin: &Admin, format: OutputFormat) -> Result<(), Failure> {
        let request = CreateRequest {
            account_id: self.account.clone(),
            name: self.name.clone(),
            domain: self.domain.clone(),
            expire_time: self.expires.map(grpc::timestamp),
            request_id: self.repeat.request_id.clone(),
            labels: distinct(&self.labels)?,
        };
        let destination = self.destination.open()?;
        let created = admin.create(request).await?;
        let nothing_else = |_| String::new();
        hand_out(
            admin,
            format,
            destination,
            &created.token,
            created.key,
            nothing_else,
        )
        .await?;
        if format.is_table_on(&io::stderr()) {
            self.say_first(admin).await;
        }
        Ok(())
    }

    /// Says that the account is a new one, as it is after a typing error. JSON on standard error stays alone there.
    async fn say_first(&self, admin: &Admin) {
        // The key is made, whether or not this can be found out.
        let Ok(account) = accounts::get(admin, &self.account).await else {
            return;
        };
        if accounts::key_count(&account) == 1 && account.domain_count == 0 {
            say(&format!(
                "This is the first key of the account {}, and no domain is verified for it.",
                self.account
            ));
        }
    }
}

/// Which key to replace.
#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    target: Target,

    /// How long the old token goes on working: at most 90days. 0s revokes it at once.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = distance)]
    overlap: Duration,

    /// When the successor expires: a time in UTC, such as 2030-01-31, or in how long, such as 90days. Without
    /// this, never.
    #[arg(long, value_name = "TIME", value_parser = future)]
    expires: Option<Timestamp>,

    #[command(flatten)]
    destination: Destination,

    #[command(flatten)]
    repeat: Repeat,

    #[command(flatten)]
    consent: Consent,
}

impl Rotate {
    pub(super) async fn run(
        &self,
        admin: &Admin,
        format: OutputFormat,
        place: &Place,
    ) -> Result<(), Failure> {
        let target = self.target.read()?;
        if self.overlap.is_zero() {
            self.consent
                .obtain(async || Ok(shown::replaces(place, &target.clone().get(admin).await?)))
                .await?;
        }
        let is_for_people = format.is_table_on(&io::stderr());
        let before = if is_for_people && self.expires.is_none() {
            // It is replaced, whether or not this can be found out.
            target.clone().get(admin).await.ok()
        } else {
            None
        };
        let overlap = proto::Duration::try_from(self.overlap);
        let request = RotateRequest {
            target: Some(target.into()),
            account_id: None,
            overlap: Some(
                overlap.map_err(|_| Failure::Misused("--overlap is too long".to_owned()))?,
            ),
            expire_time: self.expires.map(grpc::timestamp),
            request_id: self.repeat.request_id.clone(),
        };
        let destination = self.destination.open()?;
        let rotated = admin.rotate(request).await?;
        let old = rotated.predecessor.and_then(|key| key.expire_time);
        let end = rotated.key.as_ref().and_then(|key| key.expire_time);
        let successor = never_expires(before, rotated.key.as_ref());
        let of_both = |is_suspended| old_token(old, end, is_suspended) + &successor;
        hand_out(
            admin,
            format,
            destination,
            &rotated.token,
            rotated.key,
            of_both,
        )
        .await
    }
}

/// Says until when the old token works, whose successor may end first. With a suspended account, neither works.
fn old_token(
    old: Option<proto::Timestamp>,
    successor: Option<proto::Timestamp>,
    is_suspended: bool,
) -> String {
    let Some(old) = old else {
        return String::new();
    };
    let micros = |time: proto::Timestamp| (time.seconds, time.nanos);
    let ends_first = successor.filter(|end| micros(*end) < micros(old));
    let old = time(&old);
    let works = if is_suspended {
        format!("Neither token works while the account is suspended. The old one ends at {old}.\n")
    } else {
        format!("The old token works until {old}.\n")
    };
    let first = ends_first.map_or(String::new(), |end| {
        format!(
            "Careful: the new token ends before the old one, at {}.\n",
            time(&end)
        )
    });
    works + &first
}

/// Says that the successor never expires, if the key that it replaces would have.
fn never_expires(before: Option<Key>, successor: Option<&Key>) -> String {
    let would_have = before.and_then(|key| key.expire_time);
    match (would_have, successor) {
        (Some(end), Some(key)) if key.expire_time.is_none() => format!(
            "The old key was to expire at {}, but the new one never does: `keyservice keys update {} --expires TIME` \
             changes that.\n",
            time(&end),
            key.key_id
        ),
        _ => String::new(),
    }
}

/// Hands out a new token, and describes its key on standard error. `also` learns whether the account is suspended.
async fn hand_out(
    admin: &Admin,
    format: OutputFormat,
    mut destination: OpenDestination,
    token: &str,
    key: Option<Key>,
    also: impl FnOnce(bool) -> String,
) -> Result<(), Failure> {
    let keys = [key.unwrap_or_default()];
    let [key] = &keys;
    let token = Token::parse(token).map_err(|_| {
        Failure::Refused(format!(
            "the service did not give a well-formed token for the new key {}: revoke the key, and find out who \
             answers at this address",
            key.key_id
        ))
    })?;
    destination.write(&token).map_err(|error| {
        Failure::Refused(format!(
            "the token of the new key {} could not be printed ({error}), and cannot be shown again: \
             revoke the key",
            key.key_id
        ))
    })?;
    if !format.is_table_on(&io::stderr()) {
        say(&json("Key", key));
        return Ok(());
    }
    let mut accounts = SuspendedAccounts::default();
    accounts.look_up(admin, &keys).await;
    let also = also(accounts.of(key).is_some());
    let (key, sentence) = (shown::text(key, &accounts, ""), destination.sentence());
    say(&format!("{key}{also}{sentence} It cannot be shown again."));
    Ok(())
}
