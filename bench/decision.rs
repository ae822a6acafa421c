//! Measures how long one decision takes, with the tokens of a keyring in random order.
//!
//! `cargo bench --bench decision -- [KEYS [SEED]]`

use keyservice::{
    authorize::{
        Authorizer,
        decision::{Decision, DenialReason},
    },
    model::{
        account::{AccountId, Accounts},
        domain::Domain,
        key::{KeyId, KeyState, Scope},
        time::{Moment, Timestamp},
        token::{Digester, Token},
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{hint::black_box, time::Instant};

const FEW_KEYS: usize = 1000;
const DECISIONS: usize = 1_000_000;
const PASSES: usize = 7;

fn main() {
    // Skips `--bench`, which Cargo adds.
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let many_keys = numbers.next().map_or(1_000_000, |keys: u64| keys);
    let seed = numbers.next().unwrap_or_else(rand::random);
    println!("seed {seed}");
    println!("\n| keys | tokens | ns a decision | passes |");
    println!("|---:|---|---:|---:|");
    let mut rng = StdRng::seed_from_u64(seed);
    for keys in [FEW_KEYS, usize::try_from(many_keys).expect("fits")] {
        measure(keys, &mut rng);
    }
}

fn measure(keys: usize, rng: &mut StdRng) {
    let authorizer = Authorizer::new(Digester::new(None));
    let now = Timestamp::now();
    let domain = Domain::parse("mail.example.com".to_owned()).expect("a domain");
    let held: Vec<Token> = (0..keys)
        .map(|_| {
            let token = Token::generate(rng);
            authorizer.keyring().apply(&KeyState {
                digest: authorizer.digester().digest(&token),
                id: KeyId::new(now, &rng.random()),
                account_id: AccountId::from_stored(format!(
                    "account-{}",
                    rng.random_range(0..100_000)
                )),
                scope: Scope::from_domain(rng.random_bool(0.5).then(|| domain.clone())),
                expire_time: None,
                revoked: false,
            });
            token
        })
        .collect();
    authorizer.lease().extend(Moment::LATEST);

    let tokens: Vec<String> = (0..DECISIONS)
        .map(|_| held[rng.random_range(0..keys)].expose().to_owned())
        .collect();
    let time = |kind, tokens: &[String], is_expected: fn(&Decision) -> bool| {
        let mut nanos: Vec<_> = (0..PASSES)
            .map(|_| {
                let started = Instant::now();
                for token in tokens {
                    // A call brings a new text, and a grant takes it along. The copy costs the
                    // same.
                    let domain = domain.clone();
                    let decision = authorizer
                        .authorize(black_box(token), domain, &Accounts::All, now)
                        .expect("the lease holds");
                    assert!(is_expected(&decision), "{decision:?}");
                }
                started.elapsed().as_nanos() / tokens.len() as u128
            })
            .collect();
        nanos.sort_unstable();
        let (fastest, median, slowest) = (nanos[0], nanos[PASSES / 2], nanos[PASSES - 1]);
        println!("| {keys} | {kind} | {median} | {fastest}–{slowest} |");
    };

    time("granted", &tokens, |decision| {
        matches!(decision, Decision::Grant(_))
    });
    let unknown: Vec<String> = (0..DECISIONS)
        .map(|_| Token::generate(rng).expose().to_owned())
        .collect();
    time("unknown", &unknown, |decision| {
        *decision == Decision::Denial(DenialReason::UnknownToken)
    });
    let mistyped: Vec<String> = tokens
        .iter()
        .map(|token| {
            token.replacen(
                &token[20..21],
                if &token[20..21] == "x" { "y" } else { "x" },
                1,
            )
        })
        .filter(|token| Token::parse(token).is_err())
        .collect();
    time("malformed (a typing error)", &mistyped, |decision| {
        *decision == Decision::Denial(DenialReason::MalformedToken)
    });
}
