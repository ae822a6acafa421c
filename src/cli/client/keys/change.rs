//! `keys update`, `keys suspend` and `keys resume`.

use super::{
    shown::show,
    suspended_accounts::may_be_granted,
    target::{Named, Target},
};
use crate::{
    cli::{
        client::{
            accounts::say_replaced,
            arguments::{distinct, domain, label, text},
            failure::Failure,
            glimpse,
            origin::Place,
            printer::say,
        },
        output::OutputFormat,
        times::future,
    },
    grpc,
    model::time::Timestamp,
};
use clap::Args;
use std::collections::HashMap;
use tosend_keyservice::{
    Admin, AdminError,
    proto::{
        AllDomains, FieldMask, Key, ResumeRequest, Scope, SuspendRequest, UpdateRequest,
        key::Status, scope,
    },
};

/// How often labels are read and written again if others change the key meanwhile.
const TRIES: usize = 5;

/// What to change. What is left out stays as it is.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(super) struct Update {
    #[command(flatten)]
    target: Target,

    /// The new name.
    #[arg(long, value_parser = text, group = "change")]
    name: Option<String>,

    /// The only domain that the key may be used for from now on.
    #[arg(long, value_name = "DOMAIN", value_parser = domain, group = "change")]
    domain: Option<String>,

    /// Let the key be used for every verified domain of its account.
    #[arg(long, group = "change", conflicts_with = "domain")]
    all_domains: bool,

    /// When the key expires: a time in UTC, such as 2030-01-31, or in how long, such as 90days.
    #[arg(long, value_name = "TIME", value_parser = future, group = "change")]
    expires: Option<Timestamp>,

    /// Let the key never expire.
    #[arg(long, group = "change", conflicts_with = "expires")]
    never_expires: bool,

    /// Set a label. Give one flag for each. The key's other labels stay.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label, group = "change")]
    labels: Vec<(String, String)>,

    /// Remove the label of this name. Give one flag for each.
    #[arg(long = "remove-label", value_name = "NAME", value_parser = text, group = "change")]
    removed_labels: Vec<String>,

    /// Change the key only if this is still its etag, as `keys get` showed it.
    #[arg(long, value_parser = text)]
    etag: Option<String>,
}

impl Update {
    pub(super) async fn run(&self, admin: &Admin, format: OutputFormat) -> Result<(), Failure> {
        self.refuse_contradiction()?;
        let key_id = self.target.read()?.id(admin).await?;
        let key = if self.labels.is_empty() && self.removed_labels.is_empty() {
            let request = self.request(&key_id, None, self.etag.clone());
            admin.update(request).await?.key
        } else {
            self.change_labels(admin, &key_id).await?
        };
        show(admin, format, key).await
    }

    /// Nobody can know what becomes of a label that is named twice.
    fn refuse_contradiction(&self) -> Result<(), Failure> {
        let labels = distinct(&self.labels)?;
        let mut removed = self.removed_labels.iter();
        match removed.find(|name| labels.contains_key(*name)) {
            None => Ok(()),
            Some(name) => Err(Failure::Misused(format!(
                "--label {name} and --remove-label {name} are given, of which only one can be meant"
            ))),
        }
    }

    /// An Update replaces all labels of a key, so this reads them first. It writes only if nobody has changed the key
    /// in between, and if there is something to change.
    async fn change_labels(&self, admin: &Admin, key_id: &str) -> Result<Option<Key>, Failure> {
        let mut tries = 1;
        loop {
            let key = Named::Id(key_id.to_owned()).get(admin).await?;
            if tries == 1 {
                self.say_missing(&key);
            }
            if self.changes_nothing(&key) {
                say("Nothing was changed.");
                return Ok(Some(key));
            }
            let etag = self.etag.clone().unwrap_or_else(|| key.etag.clone());
            let labels = self.with_changes(key.labels);
            let request = self.request(key_id, Some(labels), Some(etag));
            match admin.update(request).await {
                Err(AdminError::Refused(refused))
                    if self.etag.is_none()
                        && tries < TRIES
                        && refused.reason.as_deref() == Some("ETAG_MISMATCH") =>
                {
                    tries += 1;
                }
                done => return Ok(done?.key),
            }
        }
    }

    /// Names the labels that are to be removed, and that the key does not have.
    fn say_missing(&self, key: &Key) {
        let removed = self.removed_labels.iter();
        let missing: Vec<_> = removed
            .filter(|name| !key.labels.contains_key(*name))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            say(&format!("The key has no label {}.", missing.join(", nor ")));
        }
    }

    /// Whether the key has these labels already, and nothing else is to change. An Update of anything else is made
    /// again, because it waits until every replica decides by it.
    fn changes_nothing(&self, key: &Key) -> bool {
        let others = [
            self.name.is_some(),
            self.domain.is_some(),
            self.all_domains,
            self.expires.is_some(),
            self.never_expires,
        ];
        // What is wrong with another key, the service says.
        let is_refused =
            self.etag.as_ref().is_some_and(|etag| *etag != key.etag) || !may_be_granted(key);
        !others.contains(&true)
            && !is_refused
            && self.with_changes(key.labels.clone()) == key.labels
    }

    fn with_changes(&self, mut labels: HashMap<String, String>) -> HashMap<String, String> {
        labels.retain(|name, _| !self.removed_labels.contains(name));
        labels.extend(self.labels.iter().cloned());
        labels
    }

    fn request(
        &self,
        key_id: &str,
        labels: Option<HashMap<String, String>>,
        etag: Option<String>,
    ) -> UpdateRequest {
        let kind = match &self.domain {
            Some(domain) => Some(scope::Kind::Domain(domain.clone())),
            None => self
                .all_domains
                .then_some(scope::Kind::AllDomains(AllDomains {})),
        };
        let named = [
            ("name", self.name.is_some()),
            ("scope", kind.is_some()),
            ("expire_time", self.expires.is_some() || self.never_expires),
            ("labels", labels.is_some()),
        ];
        let paths = named.iter().filter(|(_, is_named)| *is_named);
        UpdateRequest {
            key_id: key_id.to_owned(),
            update_mask: Some(FieldMask {
                paths: paths.map(|(path, _)| (*path).to_owned()).collect(),
            }),
            name: self.name.clone().unwrap_or_default(),
            scope: kind.map(|kind| Scope { kind: Some(kind) }),
            expire_time: self.expires.map(grpc::timestamp),
            etag,
            account_id: None,
            labels: labels.unwrap_or_default(),
        }
    }
}

/// Which key to suspend.
#[derive(Debug, Args)]
pub(super) struct Suspend {
    #[command(flatten)]
    target: Target,

    /// Why, for people. It replaces the reason of a key that is suspended already.
    #[arg(long, value_parser = text)]
    reason: String,
}

impl Suspend {
    pub(super) async fn run(
        &self,
        admin: &Admin,
        format: OutputFormat,
        place: &Place,
    ) -> Result<(), Failure> {
        let target = self.target.read()?;
        let before = glimpse(target.clone().get(admin)).await;
        // Also if nothing changes by it: a first call may have failed before every replica denied the key, and this one
        // waits until each does.
        let request = SuspendRequest {
            target: Some(target.into()),
            account_id: None,
            reason: self.reason.clone(),
        };
        let suspended = admin.suspend(request).await?;
        if let (true, Some(key)) = (format.is_table(), &suspended.key) {
            say(&format!("Suspended the key {} at {place}.", key.key_id));
        }
        say_replaced(before.and_then(|key| key.suspension), &self.reason);
        show(admin, format, suspended.key).await
    }
}

/// Which key to resume.
#[derive(Debug, Args)]
pub(super) struct Resume {
    #[command(flatten)]
    target: Target,
}

impl Resume {
    pub(super) async fn run(&self, admin: &Admin, format: OutputFormat) -> Result<(), Failure> {
        let before = self.target.read()?.get(admin).await?;
        // The service says what is wrong with one that is revoked.
        if before.suspension.is_none() && before.status() != Status::Revoked {
            say("The key was not suspended. Nothing was changed.");
            return show(admin, format, Some(before)).await;
        }
        let request = ResumeRequest {
            key_id: before.key_id,
            account_id: None,
        };
        let resumed = admin.resume(request).await?;
        show(admin, format, resumed.key).await
    }
}
