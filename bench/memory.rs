//! Measures the memory that keys and verified domains take: after a fresh load, and after many changes.
//!
//! `cargo bench --bench memory -- [KEYS [CHANGES [SEED]]]`
//!
//! Each measurement has a process of its own, because one that has freed memory uses it again.

#![allow(clippy::cast_precision_loss)]

use keyservice::{
    authorize::{Authorizer, Filling, decision::DomainRule},
    model::{
        account::AccountId,
        domain::Domain,
        key::{KeyId, KeyState, Scope},
        time::Timestamp,
        token::{Digester, Token},
        verified_domain::{Coverage, DomainState},
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{fs, process::Command};

const KEYS_OF_AN_ACCOUNT: usize = 10;
const DOMAINS_OF_AN_ACCOUNT: usize = 3;
const ACCOUNTS_WITH_DOMAINS: usize = 100_000;

fn main() {
    // Skips `--bench`, which Cargo adds.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut numbers = arguments
        .iter()
        .filter_map(|argument| argument.parse().ok());
    let mut number = |default: u64| numbers.next().unwrap_or(default);
    let (keys, changes) = (number(1_000_000), number(10_000_000));
    let keys = Keys {
        count: usize::try_from(keys).expect("fits"),
        changes: usize::try_from(changes).expect("fits"),
        seed: number(rand::random()),
    };
    warm_up(keys.seed);
    match arguments.first().map(String::as_str) {
        Some("load") => print!("{}", keys.bytes_of_a_load()),
        Some("change") => print!("{}", keys.bytes_after_changes()),
        Some("domains") => print!("{}", bytes_of_domains()),
        _ => report(&keys),
    }
}

fn report(keys: &Keys) {
    let Keys {
        count,
        changes,
        seed,
    } = *keys;
    println!("seed {seed}");
    let measure = |part: &str| {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args([
            part,
            &count.to_string(),
            &changes.to_string(),
            &seed.to_string(),
        ]);
        let output = command.output().expect("it runs again");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.parse::<usize>().expect("a number of bytes")
    };
    let (loaded, changed) = (measure("load"), measure("change"));
    println!("\n| {count} keys | resident bytes a key |");
    println!("|---|---:|");
    println!(
        "| {changes} changes, the last states | {:.1} |",
        per(changed, count)
    );
    println!(
        "| a fresh load of these states | {:.1} |",
        per(loaded, count)
    );
    println!("| ratio | {:.3} |", per(changed, loaded));

    let count = ACCOUNTS_WITH_DOMAINS * DOMAINS_OF_AN_ACCOUNT;
    let names: usize = all_domains().map(|(_, domain)| domain.as_str().len()).sum();
    println!("\n| domains | resident bytes a domain | of these its name |");
    println!("|---:|---:|---:|");
    println!(
        "| {count} | {:.1} | {:.1} |",
        per(measure("domains"), count),
        per(names, count)
    );
}

/// Makes resident what the process needs for any keyring: its code and the allocator's first memory.
fn warm_up(seed: u64) {
    let few = Keys {
        count: 100,
        changes: 1000,
        seed,
    };
    few.bytes_of_a_load();
    few.bytes_after_changes();
}

/// The keys of a run.
struct Keys {
    count: usize,
    changes: usize,
    seed: u64,
}

impl Keys {
    /// Loads the states that all keys have after the changes.
    fn bytes_of_a_load(&self) -> usize {
        let mut changes_of = vec![0; self.count];
        for at in self.changed() {
            changes_of[at] += 1;
        }
        grown(|authorizer| {
            let mut filling = Filling::default();
            for (at, changes) in changes_of.iter().enumerate() {
                filling.add_key(&(&self.state(at, *changes)).into());
            }
            authorizer.keyring().replace_with(filling.into_keyring());
        })
    }

    fn bytes_after_changes(&self) -> usize {
        let mut changes_of = vec![0; self.count];
        grown(|authorizer| {
            let keyring = authorizer.keyring();
            for at in 0..self.count {
                keyring.apply_key(&self.state(at, 0));
            }
            for at in self.changed() {
                changes_of[at] += 1;
                keyring.apply_key(&self.state(at, changes_of[at]));
            }
            // A replica does this each hour.
            if keyring.has_garbage() {
                keyring.compact();
            }
        })
    }

    /// Which key each change is of.
    fn changed(&self) -> impl Iterator<Item = usize> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let count = self.count;
        (0..self.changes).map(move |_| rng.random_range(0..count))
    }

    /// The state of a key after so many changes of it. Some are to a domain that no other key has.
    fn state(&self, at: usize, changes: u64) -> KeyState {
        let mut of_key = StdRng::seed_from_u64(self.seed ^ at as u64);
        let digest = Digester::new(None).digest(&Token::generate(&mut of_key));
        let id = KeyId::new(Timestamp::from_micros(0).expect("1970"), &of_key.random());
        let owner = at / KEYS_OF_AN_ACCOUNT;
        let mut of_state = StdRng::seed_from_u64(self.seed ^ (at as u64) << 32 ^ changes);
        let domain = match of_state.random_range(0..10) {
            0..4 => None,
            4..9 => Some(domain(
                owner,
                of_state.random_range(0..DOMAINS_OF_AN_ACCOUNT),
            )),
            _ => Some(Domain::from_stored(format!("key-{at}-{changes}.example"))),
        };
        KeyState {
            digest,
            id,
            account_id: account(owner),
            scope: Scope::from_domain(domain),
            expire_time: of_state.random_bool(0.3).then_some(Timestamp::MAX),
            revoked: of_state.random_bool(0.1),
            suspended: of_state.random_bool(0.1),
        }
    }
}

/// Accounts are there already, with a key each. Names are counted apart: each stands in memory once,
/// however many accounts and keys have it.
fn bytes_of_domains() -> usize {
    let authorizer = authorizer();
    let keyring = authorizer.keyring();
    let mut rng = StdRng::seed_from_u64(1);
    for owner in 0..ACCOUNTS_WITH_DOMAINS {
        keyring.apply_key(&KeyState {
            digest: Digester::new(None).digest(&Token::generate(&mut rng)),
            id: KeyId::new(Timestamp::now(), &rng.random()),
            account_id: account(owner),
            scope: Scope::AllDomains,
            expire_time: None,
            revoked: false,
            suspended: false,
        });
    }
    let before = resident_bytes();
    for (account_id, domain) in all_domains() {
        keyring.apply_domain(&DomainState {
            account_id,
            domain,
            coverage: Coverage::Domain,
        });
    }
    resident_bytes() - before
}

fn all_domains() -> impl Iterator<Item = (AccountId, Domain)> {
    (0..ACCOUNTS_WITH_DOMAINS).flat_map(|owner| {
        (0..DOMAINS_OF_AN_ACCOUNT).map(move |number| (account(owner), domain(owner, number)))
    })
}

fn account(number: usize) -> AccountId {
    AccountId::from_stored(format!("account-{number}"))
}

fn domain(account: usize, number: usize) -> Domain {
    let name = format!("mail{number}.customer-{account}.example");
    Domain::parse(name).expect("a domain")
}

fn authorizer() -> Authorizer {
    Authorizer::new(Digester::new(None), DomainRule::Verified)
}

/// How much the process grows while a new keyring is filled.
fn grown(fill: impl FnOnce(&Authorizer)) -> usize {
    let before = resident_bytes();
    let authorizer = authorizer();
    fill(&authorizer);
    resident_bytes() - before
}

fn per(bytes: usize, count: usize) -> f64 {
    bytes as f64 / count as f64
}

fn resident_bytes() -> usize {
    const PAGE: usize = 4096;
    let pages = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = pages.split(' ').nth(1).expect("resident pages");
    pages.parse::<usize>().expect("a number") * PAGE
}
