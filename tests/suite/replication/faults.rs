//! No answer contradicts a write that returned, whatever faults the replicas, the network and the
//! database have.

use crate::support::{
    faults::{
        deployment::Deployment,
        fault::{Deck, Kind, Step},
        history::Violation,
        kept::LetGo,
        key_states::Decided,
        load::Load,
    },
    postgres::proxy::Effects,
};
use futures::FutureExt;
use rand::{SeedableRng, rngs::StdRng};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{
    task::block_in_place,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

const REPLICAS: usize = 3;

/// Short, so that a short run contains many lapses.
const LEASE: Duration = Duration::from_secs(1);

/// The time without a fault before each round of faults.
const CALM: Duration = Duration::from_millis(300);

/// Short enough that the whole test takes less than 90 s while other tests run.
const SHORT_RUN: Duration = Duration::from_secs(40);

/// How much longer a run may take until enough has happened, on a slow machine. A fault may also have no effect together
/// with another: a stopped database sends no notification that could be dropped.
const LONGEST_EXTENSION: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_contradicts_a_returned_write_whatever_fails() {
    run(SHORT_RUN, rand::random(), too_little).await;
}

/// What did not happen often enough to say that the promise was tried.
fn too_little(load: &Load, let_go: &LetGo) -> Vec<String> {
    let all = load.tally.all();
    let decided = load.decided();
    let of_changed_keys = Decided::OF_KEPT_KEYS.into_iter().map(|decision| {
        let count = decided.get(&decision).copied().unwrap_or_default();
        (format!("{decision:?} of changed keys"), count, 20)
    });
    [
        ("writes", all.writes, 100),
        ("grants", all.grants, 2000),
        ("decisions on streams", all.on_streams, 500),
        (
            "denials after a Revoke",
            load.history.denials_after_revoke(),
            200,
        ),
        ("keys let go", let_go.keys.load(Ordering::Relaxed), 50),
        ("answers without a lease", all.lapsed, 10),
    ]
    .map(|(what, count, least)| (what.to_owned(), count, least))
    .into_iter()
    .chain(of_changed_keys)
    .filter(|(_, count, least)| count < least)
    .map(|(what, count, least)| format!("{count} {what}, not {least}"))
    .collect()
}

/// `tests/faults --minutes N --seed S`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/faults runs it and sets its length"]
async fn no_answer_contradicts_a_returned_write_during_a_long_run() {
    let minutes: f64 = setting("KEYSERVICE_FAULTS_MINUTES").expect("tests/faults sets it");
    let seed = setting("KEYSERVICE_FAULTS_SEED").unwrap_or_else(rand::random);
    let length = Duration::from_secs_f64(60.0 * minutes);
    run(length, seed, |_, _| Vec::new()).await;
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Inflicts faults for this long, or longer until each kind has had an effect and nothing is missing.
async fn run(length: Duration, seed: u64, too_little: impl Fn(&Load, &LetGo) -> Vec<String>) {
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut deployment = Deployment::start(REPLICAS, LEASE, &mut random).await;
    let began = SystemTime::now();
    let load = Load::start(deployment.replica_clients(), &mut random).await;

    let let_go = Arc::<LetGo>::default();
    let (counts, address) = (let_go.clone(), deployment.database_address());
    let letting_go = AbortOnDropHandle::new(tokio::spawn(async move { counts.run(address).await }));

    let missing = |deployment: &Deployment| -> Vec<String> {
        let kinds = kinds_without_effect(deployment, &load).into_iter();
        let kinds = kinds.map(|kind| format!("no effect of: {kind}"));
        kinds.chain(too_little(&load, &let_go)).collect()
    };
    let run = inflict_faults(&mut deployment, &load, length, &missing, &mut random);
    let ended = AssertUnwindSafe(run).catch_unwind().await;
    let denied = load.history.denials_after_revoke();
    println!("{}", load.tally);
    println!(
        "Decisions about keys that are changed: {:?}",
        load.decided()
    );
    drop(letting_go);
    println!("{let_go:?}");
    println!("{denied} Authorizes were denied because a Revoke had returned before they started.");
    if let Err(panic) = ended {
        println!("The history began at {began:?}\n{}", deployment.log_tails());
        // Again, since the end of a long output is what one sees first.
        println!("seed {seed}: {}", message(&*panic));
        resume_unwind(panic);
    }
    println!("No violation was found.");
    assert_eq!(missing(&deployment), Vec::<String>::new());
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a text")
}

async fn inflict_faults(
    deployment: &mut Deployment,
    load: &Load,
    length: Duration,
    missing: &impl Fn(&Deployment) -> Vec<String>,
    random: &mut StdRng,
) {
    let mut deck = Deck::default();
    let end = Instant::now() + length;
    let last_end = end + LONGEST_EXTENSION;
    while Instant::now() < end || Instant::now() < last_end && !missing(deployment).is_empty() {
        tokio::time::sleep(CALM).await;
        let steps = deck.draw_round(REPLICAS, LEASE, random);
        run_round(steps, deployment, load, random).await;
        let ended = Instant::now();
        deployment.wait_until_all_serve().await;
        load.tally.record_recovery(ended.elapsed());
        block_in_place(|| deployment.database.add_standby());
        assert_no_violation(&load.history.check());
    }
    load.stop().await;
    assert_no_violation(&load.history.check());
    if !load.violations_at_the_end().await.is_empty() {
        // A write whose caller gave up may have been committed just now.
        assert_no_violation(&load.violations_at_the_end().await);
    }
}

async fn run_round(
    steps: Vec<(Duration, Step)>,
    deployment: &mut Deployment,
    load: &Load,
    random: &mut StdRng,
) {
    let begin = Instant::now();
    for (at, step) in steps {
        sleep_until(begin + at).await;
        println!("{:?}: {step:?}", load.history.now());
        match step {
            Step::Begin(fault) => {
                load.tally.start_fault(fault.kind.name());
                deployment.begin(fault, LEASE, random).await;
            }
            Step::End(fault) => {
                deployment.end(fault);
                load.tally.end_fault(fault.kind.name());
            }
        }
    }
}

/// Shows the first ten violations.
fn assert_no_violation(violations: &[Violation]) {
    let shown: Vec<_> = violations
        .iter()
        .take(10)
        .map(Violation::to_string)
        .collect();
    let count = violations.len();
    assert!(count == 0, "{count} violations:\n{}", shown.join("\n"));
}

/// The kinds of fault that had no effect so far.
fn kinds_without_effect(deployment: &Deployment, load: &Load) -> Vec<&'static str> {
    let sum = |effect: fn(&Effects) -> &AtomicU64| -> u64 {
        let proxies = deployment.replicas.iter().map(|replica| &replica.proxy);
        let counts = proxies.map(|proxy| effect(proxy.effects()).load(Ordering::Relaxed));
        counts.sum()
    };
    let has_effect = |kind: Kind| match kind {
        Kind::ConnectionsCut => sum(|effects| &effects.connections_reset) > 0,
        Kind::ConnectionsHalfOpen => sum(|effects| &effects.packets_dropped) > 0,
        Kind::PacketsHeld => sum(|effects| &effects.packets_held) > 0,
        Kind::PacketsDelayed => sum(|effects| &effects.packets_delayed) > 0,
        Kind::NotificationsLost => sum(|effects| &effects.notifications_dropped) > 0,
        kind => load.tally.of(kind.name()).faults > 0,
    };
    let kinds = Kind::ALL.into_iter().filter(|kind| !has_effect(*kind));
    kinds.map(Kind::name).collect()
}
