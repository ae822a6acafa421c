//! The clients that ask for the keys that are changed.

use super::{AUTHORIZE_PAUSE, Load, changes::ChangingKey, pause};
use crate::support::{
    eventually,
    faults::{
        history::{KeyNumber, Violation},
        key_states::{AskedDomain, Decided, KeyState, may_be_gone, right_decisions},
    },
};
use keyservice::grpc::proto::{
    GetRequest, authorize_response::Decision, denial::Reason, get_request, scope,
};
use rand::{RngExt, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tonic::{Code, Response, Status};

impl Load {
    pub(super) async fn ask_for_changing_keys_until_stopped(
        self: Arc<Self>,
        replica: usize,
        mut random: StdRng,
    ) {
        while !self.stop.is_cancelled() {
            let recent = self.changing_keys.states.recent();
            if !recent.is_empty() {
                let key = self.changing_key(random.random_range(recent));
                let asked = AskedDomain::BOTH[random.random_range(0..2)];
                self.ask_for_key(replica, &key, asked).await;
            }
            pause(AUTHORIZE_PAUSE, &mut random).await;
        }
    }

    pub(super) fn ask_everywhere(self: &Arc<Self>, key: &Arc<ChangingKey>) {
        for (replica, asked) in every_question(self.replica_clients.len()) {
            let (load, key) = (self.clone(), key.clone());
            self.clients
                .spawn(async move { load.ask_for_key(replica, &key, asked).await });
        }
    }

    fn changing_key(&self, subject: usize) -> Arc<ChangingKey> {
        self.changing_keys.keys.lock().expect("unpoisoned")[subject].clone()
    }

    async fn ask_for_key(
        &self,
        replica: usize,
        key: &ChangingKey,
        asked: AskedDomain,
    ) -> Option<Decided> {
        let answer = self.ask(replica, KeyNumber::MAX, &key.token, asked.name());
        let (decision, (start, end)) = answer.await?;
        let decided = decided(&decision, key);
        let writes = self.changing_keys.states.writes(key.subject);
        let right = right_decisions(&writes, asked, start, end);
        if !decided.is_some_and(|decided| right.contains(&decided)) {
            self.history.record_wrong_answer(format!(
                "replica {replica} answers for key {} and its {asked:?} domain {decision:?}, \
                 from {start:?} to {end:?}: {writes:?}",
                key.key_id
            ));
        }
        let decided = decided?;
        self.count_decision(decided == Decided::Granted);
        let mut counts = self.changing_keys.decided.lock().expect("unpoisoned");
        *counts.entry(decided).or_default() += 1;
        Some(decided)
    }

    /// How often each decision was made about a key that is changed.
    pub fn decided(&self) -> BTreeMap<Decided, u64> {
        self.changing_keys
            .decided
            .lock()
            .expect("unpoisoned")
            .clone()
    }

    /// The store must have what was acknowledged, and all replicas must agree.
    pub(super) async fn key_violations_at_the_end(&self) -> Vec<Violation> {
        let states = &self.changing_keys.states;
        let mut violations = Vec::new();
        for (subject, state) in states.settled() {
            let key = self.changing_key(subject);
            if !self.is_stored(&key, state).await {
                let what = format!("the last write to key {} was lost", key.key_id);
                violations.push(Violation(what));
            }
        }
        for subject in 0..states.recent().end {
            let key = self.changing_key(subject);
            for asked in AskedDomain::BOTH {
                let mut answers = BTreeSet::new();
                for replica in 0..self.replica_clients.len() {
                    eventually("the replica answers", async || {
                        let answer = self.ask_for_key(replica, &key, asked).await;
                        answers.extend(answer);
                        answer.is_some()
                    })
                    .await;
                }
                if answers.contains(&Decided::UnknownToken) {
                    // A replica that has not let it go denies it, too.
                    answers.remove(&Decided::Revoked);
                    answers.remove(&Decided::Expired);
                }
                if answers.len() > 1 {
                    let what = format!(
                        "replicas do not agree about key {}: {answers:?}",
                        key.key_id
                    );
                    violations.push(Violation(what));
                }
            }
        }
        violations.extend(self.history.check());
        violations
    }

    async fn is_stored(&self, key: &ChangingKey, state: KeyState) -> bool {
        let request = GetRequest {
            target: Some(get_request::Target::KeyId(key.key_id.clone())),
            account_id: Some(key.account_id.clone()),
        };
        let got = self.replica_clients[0].get().0.get(request).await;
        let writes = self.changing_keys.states.writes(key.subject);
        if may_be_gone(&writes, self.history.now()) && is_not_found(&got) {
            return true;
        }
        let got = got.expect("all faults have ended").into_inner();
        let key = got.key.expect("a key");
        let kind = key.scope.and_then(|scope| scope.kind);
        key.revoke_time.is_some() == state.is_revoked
            && key.suspension.is_some() == state.is_suspended
            && key.expire_time.is_some() == state.expiry.is_some()
            && matches!(kind, Some(scope::Kind::AllDomains(_))) == state.is_wide
    }
}

/// Both domains, asked of each replica.
fn every_question(replicas: usize) -> impl Iterator<Item = (usize, AskedDomain)> {
    (0..replicas).flat_map(|replica| AskedDomain::BOTH.map(|asked| (replica, asked)))
}

fn is_not_found<T>(answer: &Result<Response<T>, Status>) -> bool {
    answer
        .as_ref()
        .is_err_and(|status| status.code() == Code::NotFound)
}

/// `None` for a decision that is never right.
fn decided(decision: &Decision, key: &ChangingKey) -> Option<Decided> {
    match decision {
        Decision::Grant(grant) => (grant.key_id == key.key_id).then_some(Decided::Granted),
        Decision::Denial(denial) => match denial.reason() {
            Reason::Revoked => Some(Decided::Revoked),
            Reason::Expired => Some(Decided::Expired),
            Reason::Suspended => Some(Decided::Suspended),
            Reason::DomainNotAllowed => Some(Decided::DomainNotAllowed),
            Reason::UnknownToken => Some(Decided::UnknownToken),
            _ => None,
        },
    }
}
