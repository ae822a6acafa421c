//! The clients that add and remove domains, and ask for them.

use super::{ACCOUNT, AUTHORIZE_PAUSE, LONG_PAUSE, Load, pause, with_random_timeout};
use crate::support::{
    eventually,
    faults::{
        domains::{Asked, name, right_answers},
        history::{KeyNumber, Violation},
    },
};
use keyservice::grpc::proto::{
    AddDomainRequest, RemoveDomainRequest, authorize_response::Decision, denial::Reason,
};
use keyservice::model::verified_domain::Coverage;
use rand::{RngExt, rngs::StdRng};
use std::{collections::HashMap, sync::Arc};

impl Load {
    pub(super) async fn ask_for_domains_until_stopped(
        self: Arc<Self>,
        replica: usize,
        mut random: StdRng,
    ) {
        while !self.stop.is_cancelled() {
            let recent = self.domains.recent();
            if !recent.is_empty() {
                let domain = random.random_range(recent);
                let asked = Asked::BOTH[random.random_range(0..2)];
                self.ask_for_domain(replica, domain, asked).await;
            }
            pause(AUTHORIZE_PAUSE, &mut random).await;
        }
    }

    pub(super) async fn write_domains_until_stopped(self: Arc<Self>, mut random: StdRng) {
        while !self.stop.is_cancelled() {
            // A write that fails at once must not be followed by the next one at once: each has a domain of its
            // own, and at the end every replica is asked for each.
            pause(LONG_PAUSE, &mut random).await;
            let domain = self.domains.new_subject();
            let mut coverage = other_coverage(Coverage::Removed, &mut random);
            while self.write_domain(domain, coverage, &mut random).await
                && !self.stop.is_cancelled()
                && random.random_bool(0.95)
            {
                coverage = other_coverage(coverage, &mut random);
                for (replica, asked) in every_question(self.replica_clients.len()) {
                    let load = self.clone();
                    let ask = async move { load.ask_for_domain(replica, domain, asked).await };
                    self.clients.spawn(ask);
                }
                pause(LONG_PAUSE, &mut random).await;
            }
        }
    }

    /// Adds, widens, narrows or removes a domain, once. Tells whether the call returned OK.
    async fn write_domain(&self, domain: usize, coverage: Coverage, random: &mut StdRng) -> bool {
        let replica = random.random_range(0..self.replica_clients.len());
        let mut client = self.replica_clients[replica].domains().0;
        let (account_id, own_name) = (ACCOUNT.to_owned(), name(domain));
        let now = self.history.now();
        self.domains.start_write(domain, coverage, now);
        let answer = if coverage == Coverage::Removed {
            let domain = own_name;
            let request = with_random_timeout(RemoveDomainRequest { account_id, domain }, random);
            client.remove_domain(request).await.map(drop)
        } else {
            let request = AddDomainRequest {
                account_id,
                domain: own_name,
                include_subdomains: coverage == Coverage::DomainAndSubdomains,
            };
            let request = with_random_timeout(request, random);
            client.add_domain(request).await.map(drop)
        };
        let written = self.count_write("a write to a domain", replica, answer);
        if written.is_some() {
            self.domains.finish_write(domain, self.history.now());
        }
        written.is_some()
    }

    async fn ask_for_domain(&self, replica: usize, domain: usize, asked: Asked) -> Option<bool> {
        let (key, name) = (&self.unrestricted, asked.name(domain));
        let answer = self.ask(replica, KeyNumber::MAX, &key.token, &name);
        let (decision, (start, end)) = answer.await?;
        let is_granted = match &decision {
            Decision::Grant(grant) if grant.key_id == key.key_id => true,
            Decision::Denial(denial) if denial.reason() == Reason::DomainNotVerified => false,
            _ => {
                let what = format!("replica {replica} answers for {name} {decision:?}");
                self.history.record_wrong_answer(what);
                return None;
            }
        };
        self.count_decision(is_granted);
        let writes = self.domains.writes(domain);
        if !right_answers(&writes, asked, start, end).contains(&is_granted) {
            self.history.record_wrong_answer(format!(
                "on replica {replica}, {name} is granted: {is_granted}, from {start:?} to {end:?}: {writes:?}"
            ));
        }
        Some(is_granted)
    }

    /// Every replica must know what was acknowledged, and they must agree about the rest.
    pub(super) async fn domain_violations_at_the_end(&self) -> Vec<Violation> {
        let settled: HashMap<_, _> = self.domains.settled().into_iter().collect();
        let listed = self.replica_clients[0].domains().coverages(ACCOUNT).await;
        let listed = listed.expect("all faults have ended");
        let mut violations = Vec::new();
        for domain in 0..self.domains.recent().end {
            let coverage = listed.get(&name(domain)).copied();
            let coverage = coverage.unwrap_or(Coverage::Removed);
            if settled.get(&domain).is_some_and(|known| *known != coverage) {
                violations.push(Violation(format!(
                    "the last write to domain {domain} was lost"
                )));
            }
            for (replica, asked) in every_question(self.replica_clients.len()) {
                let mut answer = None;
                eventually("the replica answers", async || {
                    answer = self.ask_for_domain(replica, domain, asked).await;
                    answer.is_some()
                })
                .await;
                if answer != Some(asked.is_verified_by(coverage)) {
                    let name = asked.name(domain);
                    let what = format!("replica {replica} does not decide by the store: {name}");
                    violations.push(Violation(what));
                }
            }
        }
        violations
    }
}

/// Both names, asked of each replica.
fn every_question(replicas: usize) -> impl Iterator<Item = (usize, Asked)> {
    (0..replicas).flat_map(|replica| Asked::BOTH.map(|asked| (replica, asked)))
}

/// What a domain may become by its next write.
fn other_coverage(now: Coverage, random: &mut StdRng) -> Coverage {
    use Coverage::{Domain, DomainAndSubdomains, Removed};
    let others = match now {
        Removed => [Domain, DomainAndSubdomains],
        Domain => [Removed, DomainAndSubdomains],
        DomainAndSubdomains => [Removed, Domain],
    };
    others[random.random_range(0..2)]
}
