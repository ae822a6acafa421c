//! `keyservice domains`: the domains that are verified for an account.

use super::{
    arguments::{account, domain},
    connection::Connection,
    failure::Failure,
    glimpse,
    pages::Pages,
    printer::{PAGE, json, print, print_json, print_with, say, time_or_none},
    with_client,
};
use crate::{
    cli::output::{OutputFormat, Table},
    model::domain::Domain,
};
use clap::{Args, Subcommand};
use tosend_keyservice::{
    Admin,
    proto::{
        AddDomainRequest, ListDomainsRequest, ListDomainsResponse, RemoveDomainRequest,
        RemoveDomainResponse, VerifiedDomain,
    },
};

/// What to do with verified domains.
#[derive(Debug, Args)]
pub(in crate::cli) struct DomainsCommand {
    #[command(subcommand)]
    what: Domains,

    #[command(flatten)]
    format: OutputFormat,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Domains {
    /// Say that a domain is verified for an account. Its keys may then send for it.
    Add {
        #[command(flatten)]
        named: Named,

        /// Verify all names below it, too.
        #[arg(long)]
        include_subdomains: bool,
    },
    /// List the verified domains of an account.
    ///
    /// The last column counts the active keys that are restricted to a domain. Keys for every domain of the
    /// account may send for it, too.
    List {
        /// The account.
        #[arg(long, value_name = "ACCOUNT", value_parser = account)]
        account: String,
    },
    /// Take a domain from an account. None of its keys may then send for it: neither those that are restricted
    /// to it, nor those for every domain of the account.
    Remove(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The domain.
    #[arg(value_parser = domain)]
    domain: String,

    /// The account.
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    account: String,
}

impl DomainsCommand {
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        with_client(&self.connection, async |client| {
            let admin = client.admin();
            match &self.what {
                Domains::Add {
                    named,
                    include_subdomains,
                } => self.add(&admin, named, *include_subdomains).await,
                Domains::List { account } => self.list(&admin, account).await,
                Domains::Remove(named) => self.remove(&admin, named).await,
            }
        })
    }

    async fn add(&self, admin: &Admin, named: &Named, below: bool) -> Result<(), Failure> {
        let request = AddDomainRequest {
            account_id: named.account.clone(),
            domain: named.domain.clone(),
            include_subdomains: below,
        };
        let before = if below || !self.format.is_table() {
            ListDomainsResponse::default()
        } else {
            // It is added, whether or not this can be found out.
            let before = first_domains(admin, &named.account).await;
            before.unwrap_or_default()
        };
        let added = admin.add_domain(request).await?;
        let domain = added.domain.unwrap_or_default();
        if before
            .domains
            .iter()
            .any(|it| it.domain == domain.domain && it.include_subdomains)
        {
            say(
                "Names below it are not verified any more: they were before, and --include-subdomains was not given.",
            );
        }
        if added.shared {
            say("Another account has this domain, or one above or below it, too.");
        }
        print(
            self.format,
            || {
                let (account, name) = (&domain.account_id, &domain.domain);
                format!("{name}{} is verified for {account}.", below_text(&domain))
            },
            || json("VerifiedDomain", &domain),
        )
    }

    async fn list(&self, admin: &Admin, account: &str) -> Result<(), Failure> {
        let mut table = Table::new([
            "DOMAIN",
            "SUBDOMAINS",
            "ADDED",
            "VERIFIED",
            "RESTRICTED KEYS",
        ]);
        let mut request = ListDomainsRequest {
            account_id: account.to_owned(),
            page_size: PAGE,
            page_token: String::new(),
        };
        let mut pages = Pages::default();
        loop {
            let page = admin.list_domains(request.clone()).await?;
            if self.format.is_table() {
                page.domains
                    .iter()
                    .for_each(|domain| table.add(row(domain)));
                print_with(|mut output| table.print(&mut output))?;
            } else {
                print_json("VerifiedDomain", &page.domains)?;
            }
            match pages.next(page.next_page_token, page.domains.len())? {
                Some(next) => request.page_token = next,
                None => break,
            }
        }
        if self.format.is_table() && table.is_empty() {
            let none = format!("No domain is verified for {account}");
            say(&format!("{}.", self.connection.place().explain(none)));
        }
        Ok(())
    }

    async fn remove(&self, admin: &Admin, named: &Named) -> Result<(), Failure> {
        let request = RemoveDomainRequest {
            account_id: named.account.clone(),
            domain: named.domain.clone(),
        };
        let before = glimpse(first_domains(admin, &named.account)).await;
        let removed = admin.remove_domain(request).await?;
        if before.is_some_and(|before| is_without(&before, &named.domain)) {
            say("It was removed already. Nothing was changed.");
        }
        print(
            self.format,
            || removed_text(named, &removed),
            || json("RemoveDomainResponse", &removed),
        )
    }
}

/// The first of an account's domains, as many as one call gives: more are not worth the time.
async fn first_domains(admin: &Admin, account: &str) -> Result<ListDomainsResponse, Failure> {
    let request = ListDomainsRequest {
        account_id: account.to_owned(),
        page_size: PAGE,
        page_token: String::new(),
    };
    Ok(admin.list_domains(request).await?)
}

/// Whether it is known that no domain of an account is verified that this one is, or is below, or none at all. The key
/// that is shown is shown whether or not this can be found out.
pub(super) async fn none_covers(admin: &Admin, account: &str, domain: Option<&str>) -> bool {
    let Some(all) = glimpse(first_domains(admin, account)).await else {
        return false;
    };
    let covers = |verified: &VerifiedDomain| {
        domain.is_none_or(|domain| {
            let above = domain.strip_suffix(&*verified.domain);
            above.is_some_and(|above| {
                above.is_empty() || verified.include_subdomains && above.ends_with('.')
            })
        })
    };
    all.next_page_token.is_empty() && !all.domains.iter().any(covers)
}

/// Whether this is the list of all domains, and has none of this name.
fn is_without(all: &ListDomainsResponse, name: &str) -> bool {
    let normal = Domain::parse(name.to_owned());
    normal.is_ok_and(|normal| {
        all.next_page_token.is_empty() && all.domains.iter().all(|it| it.domain != normal.as_str())
    })
}

fn row(domain: &VerifiedDomain) -> [String; 5] {
    let or_more = if domain.active_key_count_is_minimum {
        "+"
    } else {
        ""
    };
    [
        domain.domain.clone(),
        if domain.include_subdomains {
            "included"
        } else {
            "-"
        }
        .to_owned(),
        time_or_none(domain.create_time.as_ref()),
        time_or_none(domain.verify_time.as_ref()),
        format!("{}{or_more}", domain.active_key_count),
    ]
}

fn below_text(domain: &VerifiedDomain) -> &'static str {
    if domain.include_subdomains {
        ", with all names below it,"
    } else {
        ""
    }
}

fn removed_text(named: &Named, removed: &RemoveDomainResponse) -> String {
    let Named { domain, account } = named;
    if !removed.still_verified_by.is_empty() {
        let above = &removed.still_verified_by;
        return format!(
            "{domain} was removed from {account}, but {above} still verifies it: that includes its subdomains."
        );
    }
    let count = removed.active_key_count;
    let least = if removed.active_key_count_is_minimum {
        "at least "
    } else {
        ""
    };
    format!(
        "{domain} is not verified for {account} any more. Active keys that are restricted to it: {least}{count}. \
         Keys for every domain of {account} may not send for it any more either."
    )
}
