//! Measures how long one decision takes, with the tokens of a keyring in random order.
//!
//! `cargo bench --bench decision -- [KEYS [SEED]]`
//!
//! Each account has ten keys and three verified domains, which keys ask for in random order. Half of the
//! keys are restricted to one of these. *Any domain* is the same decision with `--verified-domains off`,
//! in the same run. *Without its use* is the same decision at a time of which no use is noted.

#![allow(clippy::cast_precision_loss, clippy::too_many_lines)]

use keyservice::{
    authorize::{
        Authorizer,
        decision::{Decision, DenialReason, DomainRule},
    },
    model::{
        account::{AccountId, Accounts},
        domain::Domain,
        key::{KeyId, KeyState, Scope},
        time::{Moment, Timestamp},
        token::{Digester, Token},
        verified_domain::{Coverage, DomainState},
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{hint::black_box, time::Instant};

const FEW_KEYS: usize = 1000;
const KEYS_OF_AN_ACCOUNT: usize = 10;
const DOMAINS_OF_AN_ACCOUNT: usize = 3;
const DECISIONS: usize = 1_000_000;
const PASSES: usize = 15;

/// A token, and a domain that it is granted for.
#[derive(Clone)]
struct Question {
    token: String,
    domain: Domain,
}

fn main() {
    // Skips `--bench`, which Cargo adds.
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let many_keys = numbers.next().map_or(1_000_000, |keys: u64| keys);
    let seed = numbers.next().unwrap_or_else(rand::random);
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    println!("\n| keys | tokens | ns a decision | passes |");
    println!("|---:|---|---:|---:|");
    for keys in [FEW_KEYS, usize::try_from(many_keys).expect("fits")] {
        measure(keys, &mut rng);
    }
}

fn account(number: usize) -> AccountId {
    AccountId::from_stored(format!("account-{number}"))
}

fn domain(account: usize, number: usize) -> Domain {
    let name = format!("mail{number}.customer-{account}.example");
    Domain::parse(name).expect("a domain")
}

fn add_domains(authorizer: &Authorizer, accounts: usize) {
    for (owner, number) in (0..accounts)
        .flat_map(|owner| (0..DOMAINS_OF_AN_ACCOUNT).map(move |number| (owner, number)))
    {
        authorizer.keyring().apply_domain(&DomainState {
            account_id: account(owner),
            domain: domain(owner, number),
            coverage: Coverage::Domain,
        });
    }
}

fn measure(keys: usize, rng: &mut StdRng) {
    let rules = [DomainRule::Verified, DomainRule::Any];
    let [verified, any] = rules.map(|rule| Authorizer::new(Digester::new(None), rule));
    let now = Timestamp::now();
    let accounts = keys / KEYS_OF_AN_ACCOUNT;
    let held: Vec<Question> = (0..keys)
        .map(|_| {
            let (token, owner) = (Token::generate(rng), rng.random_range(0..accounts));
            let domain = domain(owner, rng.random_range(0..DOMAINS_OF_AN_ACCOUNT));
            let state = KeyState {
                digest: verified.digester().digest(&token),
                id: KeyId::new(now, &rng.random()),
                account_id: account(owner),
                scope: Scope::from_domain(rng.random_bool(0.5).then(|| domain.clone())),
                expire_time: None,
                revoked: false,
                suspended: false,
            };
            verified.keyring().apply_key(&state);
            any.keyring().apply_key(&state);
            let token = token.expose().to_owned();
            Question { token, domain }
        })
        .collect();
    add_domains(&verified, accounts);
    for authorizer in [&verified, &any] {
        authorizer.lease().extend(Moment::LATEST);
    }

    // Copies, one behind the other, since the text of a call has just been received: only the keyring
    // is not in the processor's caches.
    let asked: Vec<Question> = (0..DECISIONS)
        .map(|_| held[rng.random_range(0..keys)].clone())
        .collect();
    let pass_at = |now: Timestamp,
                   authorizer: &Authorizer,
                   asked: &[Question],
                   is_expected: fn(&Decision) -> bool| {
        let started = Instant::now();
        for question in asked {
            // A call brings a new text, and a grant takes it along. The copy costs the same.
            let (token, domain) = (black_box(&question.token), question.domain.clone());
            let decision = authorizer
                .authorize(token, domain, &Accounts::All, now)
                .expect("the lease holds");
            assert!(is_expected(&decision), "{decision:?}");
        }
        i128::try_from(started.elapsed().as_nanos()).expect("short") / asked.len() as i128
    };
    let pass = |authorizer: &Authorizer, asked: &[Question], is_expected| {
        pass_at(now, authorizer, asked, is_expected)
    };
    let print = |kind: &str, mut nanos: Vec<i128>| {
        nanos.sort_unstable();
        let (fastest, median, slowest) = (nanos[0], nanos[PASSES / 2], nanos[PASSES - 1]);
        println!("| {keys} | {kind} | {median} | {fastest}–{slowest} |");
    };

    let is_granted = |decision: &Decision| matches!(decision, Decision::Grant(_));
    // In turns, so that both have the same share of a noisy machine.
    let passes = (0..PASSES).map(|_| {
        let verified = pass(&verified, &asked, is_granted);
        (verified, pass(&any, &asked, is_granted))
    });
    let (with_domains, with_any): (Vec<_>, Vec<_>) = passes.unzip();
    let more = with_domains.iter().zip(&with_any);
    let more = more.map(|(domains, any)| domains - any);
    print("more than for any domain", more.collect());
    print("granted", with_domains);
    print("granted, any domain", with_any);

    // Each pass is in another minute, so that the first use of each key in it is written.
    let (noted, without): (Vec<_>, Vec<_>) = (1_i64..)
        .take(PASSES)
        .map(|minute| {
            let later = Timestamp::from_micros(now.as_micros() + minute * 60_000_000);
            let [later, long_ago] =
                [later, Timestamp::from_micros(0)].map(|time| time.expect("in range"));
            let noted = pass_at(later, &verified, &asked, is_granted);
            (noted, pass_at(long_ago, &verified, &asked, is_granted))
        })
        .unzip();
    let more = noted.iter().zip(&without);
    print(
        "more than without its use",
        more.map(|(noted, without)| noted - without).collect(),
    );
    print("granted, without its use", without);

    let time = |kind, asked: &[Question], is_expected| {
        print(
            kind,
            (0..PASSES)
                .map(|_| pass(&verified, asked, is_expected))
                .collect(),
        );
    };
    let of_others: Vec<Question> = asked
        .iter()
        .map(|question| Question {
            token: question.token.clone(),
            domain: domain(accounts + rng.random_range(0..accounts), 0),
        })
        .collect();
    time("for a domain of another account", &of_others, |decision| {
        let reasons = [
            DenialReason::DomainNotVerified,
            DenialReason::DomainNotAllowed,
        ];
        reasons.iter().any(|&reason| is_denied(decision, reason))
    });
    let unknown: Vec<Question> = (0..DECISIONS)
        .map(|at| Question {
            token: Token::generate(rng).expose().to_owned(),
            domain: asked[at].domain.clone(),
        })
        .collect();
    time("unknown", &unknown, |decision| {
        is_denied(decision, DenialReason::UnknownToken)
    });
    let mistyped: Vec<Question> = asked
        .iter()
        .map(|question| {
            let wrong = if &question.token[20..21] == "x" {
                "y"
            } else {
                "x"
            };
            let token = question.token.replacen(&question.token[20..21], wrong, 1);
            let domain = question.domain.clone();
            Question { token, domain }
        })
        .filter(|question| Token::parse(&question.token).is_err())
        .collect();
    time("malformed (a typing error)", &mistyped, |decision| {
        is_denied(decision, DenialReason::MalformedToken)
    });
}

fn is_denied(decision: &Decision, reason: DenialReason) -> bool {
    matches!(decision, Decision::Denial(denial) if denial.reason == reason)
}
