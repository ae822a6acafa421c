//! `keys create` and `keys rotate`: the two that print a token.

use super::{shown, target::Target};
use crate::{
    cli::{
        client::{
            confirm::Consent,
            failure::Failure,
            printer::{json, print_token, time},
        },
        output::OutputFormat,
        times::future,
    },
    grpc,
    model::time::Timestamp,
};
use clap::Args;
use std::time::Duration;
use tosend_keyservice::{
    Admin,
    proto::{self, CreateRequest, Key, RotateRequest},
};

/// The new key.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// The account that owns the key.
    #[arg(long, value_name = "ACCOUNT")]
    account: String,

    /// A descriptive name, for people.
    #[arg(long)]
    name: String,

    /// The only domain that the key may be used for. Without this, it may be used for every verified domain of
    /// the account.
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,

    /// When the key expires: a time in UTC, such as 2030-01-31, or in how long, such as 90days. Without this,
    /// never.
    #[arg(long, value_name = "TIME", value_parser = future)]
    expires: Option<Timestamp>,

    /// A label. Give one flag for each.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,

    #[command(flatten)]
    repeat: Repeat,
}

/// A call that may be repeated.
#[derive(Debug, Args)]
struct Repeat {
    /// Any text of your own that makes it safe to run the command again: the same one never makes a second key.
    #[arg(long, value_name = "ID")]
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
            labels: self.labels.iter().cloned().collect(),
        };
        let created = admin.create(request).await?;
        print_new(&created.token, created.key, "", format)
    }
}

/// Which key to replace.
#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    target: Target,

    /// How long the old token goes on working: at most 90days. 0s revokes it at once.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    overlap: Duration,

    /// When the successor expires: a time in UTC, such as 2030-01-31, or in how long, such as 90days. Without
    /// this, never.
    #[arg(long, value_name = "TIME", value_parser = future)]
    expires: Option<Timestamp>,

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
        place: &str,
    ) -> Result<(), Failure> {
        let target = self.target.read()?;
        if self.overlap.is_zero() {
            let question = async || Ok(shown::revokes(place, &target.clone().get(admin).await?));
            self.consent.obtain(question).await?;
        }
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
        let rotated = admin.rotate(request).await?;
        let old = rotated.predecessor.and_then(|key| key.expire_time);
        let old = old.map(|end| format!("The old token works until {}.\n", time(&end)));
        print_new(
            &rotated.token,
            rotated.key,
            &old.unwrap_or_default(),
            format,
        )
    }
}

fn print_new(
    token: &str,
    key: Option<Key>,
    also: &str,
    format: OutputFormat,
) -> Result<(), Failure> {
    let key = key.unwrap_or_default();
    let text = || {
        format!(
            "{}{also}The token went to standard output. It cannot be shown again.",
            shown::text(&key)
        )
    };
    print_token(token, &key.key_id, format, text, || json("Key", &key))
}

/// Reads `NAME=VALUE`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
