//! `keyservice authorize`: asks whether a token may send for a domain now.

use super::{
    arguments::{domain, file_path},
    connection::Connection,
    failure::Failure,
    printer::{Lines, print},
    token_input::read_token,
    with_client,
};
use crate::cli::output::OutputFormat;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use tosend_keyservice::{Allowed, Decision, DenialReason, Denied, Scope};

/// The question. The role authorizer is enough to ask it.
#[derive(Debug, Args)]
pub(in crate::cli) struct AuthorizeCommand {
    /// The sending domain.
    #[arg(value_parser = domain)]
    domain: String,

    /// File with the token. `-` is standard input.
    #[arg(long, value_name = "FILE", default_value = "-", value_parser = file_path)]
    token_file: PathBuf,

    #[command(flatten)]
    format: OutputFormat,

    #[command(flatten)]
    connection: Connection,
}

impl AuthorizeCommand {
    /// Prints the decision. A denial is an error, so that a script sees it.
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        let token = read_token(&self.token_file)?;
        with_client(&self.connection, async |client| {
            match client.authorize(&token, &self.domain).await? {
                Decision::Allowed(allowed) => print(
                    self.format,
                    || allowed_text(&allowed),
                    || allowed_json(&allowed),
                ),
                Decision::Denied(denied) => {
                    print(
                        self.format,
                        || denied_text(&denied),
                        || denied_json(&denied),
                    )?;
                    Err(Failure::Denied)
                }
            }
        })
    }
}

fn allowed_text(allowed: &Allowed) -> String {
    let mut lines = Lines::default();
    lines.add("Decision", "granted");
    lines.add("Key", &allowed.key_id);
    lines.add("Account", &allowed.account_id);
    lines.add(
        "Domain",
        match &allowed.scope {
            Scope::AllDomains => "every verified domain of the account",
            Scope::Domain(domain) => domain,
            _ => "of a kind that this program does not know",
        },
    );
    lines.into_text()
}

fn denied_text(denied: &Denied) -> String {
    let mut lines = Lines::default();
    lines.add("Decision", "denied");
    let key_id = denied.key_id.as_deref().unwrap_or("KEY_ID");
    let advice = match denied.reason {
        DenialReason::Suspended => {
            format!(" (the key or its account: `keyservice keys get {key_id}` says which)")
        }
        _ => String::new(),
    };
    lines.add("Reason", format!("{}{advice}", denied.reason));
    lines.add_some("Key", denied.key_id.as_ref());
    lines.add_some("Account", denied.account_id.as_ref());
    lines.into_text()
}

fn allowed_json(allowed: &Allowed) -> String {
    let mut grant = json!({"keyId": allowed.key_id, "accountId": allowed.account_id});
    match &allowed.scope {
        Scope::AllDomains => grant["scope"] = json!({"allDomains": {}}),
        Scope::Domain(domain) => grant["scope"] = json!({"domain": domain}),
        _ => {}
    }
    json!({"granted": true, "grant": grant}).to_string()
}

fn denied_json(denied: &Denied) -> String {
    let denial = json!({
        "reason": format!("REASON_{}", denied.reason),
        "keyId": denied.key_id.as_deref().unwrap_or_default(),
        "accountId": denied.account_id.as_deref().unwrap_or_default(),
    });
    json!({"granted": false, "denial": denial}).to_string()
}
