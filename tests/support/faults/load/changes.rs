//! The clients that change, suspend and rotate keys and suspend their accounts.

use super::{LONG_PAUSE, Load, pause, with_random_timeout};
use crate::support::faults::key_states::{AskedDomain, Expiry, KeyState};
use keyservice::grpc::proto::{
    AddDomainRequest, AllDomains, BatchRevokeRequest, CreateRequest, Key, ResumeAccountRequest,
    ResumeRequest, RevokeRequest, RotateRequest, RotateResponse, Scope, SuspendAccountRequest,
    SuspendRequest, UpdateRequest, batch_revoke_request, revoke_request, rotate_request, scope,
    suspend_request,
};
use prost_types::{FieldMask, Timestamp};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tonic::{Code, Status};

/// How long a key works on that is to expire, or was rotated.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// More than the two clocks differ by, and than the microsecond to which times are rounded.
const CLOCK_ERROR: Duration = Duration::from_millis(2);

const NEW: KeyState = KeyState {
    is_revoked: false,
    is_suspended: false,
    is_account_suspended: false,
    is_wide: true,
    expiry: None,
    has_predecessor: false,
};

/// A key whose account has no other keys except its predecessors.
pub(super) struct ChangingKey {
    pub(super) subject: usize,
    pub(super) account_id: String,
    pub(super) key_id: String,
    pub(super) token: String,
}

#[derive(Debug, Clone, Copy, strum::IntoStaticStr)]
enum Change {
    Rename,
    Rescope,
    SuspendOrResume,
    SuspendOrResumeAccount,
    Shorten,
    Prolong,
    Rotate { overlap: Duration },
    Revoke,
    BatchRevoke,
}

impl Change {
    /// The clients choose each of them with the same probability.
    const ALL: [Self; 10] = [
        Self::Rename,
        Self::Rescope,
        Self::SuspendOrResume,
        Self::SuspendOrResumeAccount,
        Self::Shorten,
        Self::Prolong,
        Self::Rotate {
            overlap: Duration::ZERO,
        },
        Self::Rotate {
            overlap: SHORT_LIFE,
        },
        Self::Revoke,
        Self::BatchRevoke,
    ];

    /// What it makes of the key, if it is sent now.
    fn made_of(self, now: KeyState, at: Duration) -> KeyState {
        let (mut next, end) = (now, at + SHORT_LIFE);
        match self {
            Self::Rename => {}
            Self::Rescope => next.is_wide = !now.is_wide,
            Self::SuspendOrResume => next.is_suspended = !now.is_suspended,
            Self::SuspendOrResumeAccount => next.is_account_suspended = !now.is_account_suspended,
            Self::Prolong => next.expiry = None,
            Self::Revoke
            | Self::BatchRevoke
            | Self::Rotate {
                overlap: Duration::ZERO,
            } => next.is_revoked = true,
            Self::Shorten => {
                next.expiry = Some(Expiry {
                    earliest: end - CLOCK_ERROR,
                    latest: end + CLOCK_ERROR,
                });
            }
            // The overlap begins at some moment of the call.
            Self::Rotate { .. } => {
                next.expiry = Some(Expiry {
                    earliest: end - CLOCK_ERROR,
                    latest: Duration::MAX,
                });
            }
        }
        next
    }

    /// Only a key that works is rotated, and it does not expire while the call is under way. An account is
    /// changed only while one of its keys may work, because each key's history has the account's state.
    fn is_possible(self, now: KeyState) -> bool {
        match self {
            Self::Rotate { .. } => !now.is_suspended && now.expiry.is_none(),
            Self::SuspendOrResumeAccount => !now.has_predecessor,
            _ => true,
        }
    }
}

impl Load {
    pub(super) async fn change_keys_until_stopped(self: Arc<Self>, mut random: StdRng) {
        while !self.stop.is_cancelled() {
            let Some(mut key) = self.create_to_change(&mut random).await else {
                pause(LONG_PAUSE, &mut random).await;
                continue;
            };
            let mut state = NEW;
            while !self.stop.is_cancelled() {
                let possible = Change::ALL.into_iter();
                let possible: Vec<_> = possible.filter(|it| it.is_possible(state)).collect();
                let change = *possible.choose(&mut random).expect("it can be renamed");
                let Some(sent) = self.change(&key, &mut state, change, &mut random).await else {
                    break;
                };
                self.ask_everywhere(&key);
                if let Some(rotated) = sent {
                    state.has_predecessor |= !state.is_revoked;
                    (state.is_revoked, state.expiry) = (false, None);
                    key = self.add_key(rotated.token, rotated.key.expect("a key"), state);
                    self.ask_everywhere(&key);
                } else if state.is_revoked {
                    break;
                }
                pause(LONG_PAUSE, &mut random).await;
            }
        }
    }

    async fn create_to_change(&self, random: &mut StdRng) -> Option<Arc<ChangingKey>> {
        let replica = random.random_range(0..self.replica_clients.len());
        let account_id = format!("life-{}", random.random::<u64>());
        let mut domains = self.replica_clients[replica].domains().0;
        for domain in AskedDomain::BOTH {
            let request = AddDomainRequest {
                account_id: account_id.clone(),
                domain: domain.name().to_owned(),
                include_subdomains: false,
            };
            let added = domains
                .add_domain(with_random_timeout(request, random))
                .await;
            self.count_write("AddDomain", replica, added)?;
        }
        let request = CreateRequest {
            account_id,
            name: "to be changed".to_owned(),
            ..Default::default()
        };
        let request = with_random_timeout(request, random);
        let created = self.replica_clients[replica].get().0.create(request).await;
        let created = self.count_write("Create", replica, created)?.into_inner();
        Some(self.add_key(created.token, created.key.expect("a key"), NEW))
    }

    /// Nobody has asked for it before.
    fn add_key(&self, token: String, key: Key, state: KeyState) -> Arc<ChangingKey> {
        let mut keys = self.changing_keys.keys.lock().expect("unpoisoned");
        let states = &self.changing_keys.states;
        let key = Arc::new(ChangingKey {
            subject: states.new_subject(),
            account_id: key.account_id,
            key_id: key.key_id,
            token,
        });
        let now = self.history.now();
        states.start_write(key.subject, state, now);
        states.finish_write(key.subject, now);
        keys.push(key.clone());
        key
    }

    /// Makes a change, once. `None` if the call had no answer.
    async fn change(
        &self,
        key: &ChangingKey,
        state: &mut KeyState,
        change: Change,
        random: &mut StdRng,
    ) -> Option<Option<RotateResponse>> {
        let replica = random.random_range(0..self.replica_clients.len());
        let (before, now) = (*state, self.history.now());
        *state = change.made_of(before, now);
        let states = &self.changing_keys.states;
        states.start_write(key.subject, *state, now);
        let sent = self.send(key, before, change, replica, random).await;
        if let (Change::Shorten, Err(status)) = (change, &sent)
            && status.code() == Code::InvalidArgument
            && self.history.now() > now + SHORT_LIFE
        {
            // The call waited until the end that it asked for was over, and changed nothing.
            return None;
        }
        let sent = self.count_write(change.into(), replica, sent)?;
        let predecessor = sent.as_ref().and_then(|sent| sent.predecessor.as_ref());
        if let Some(end) = predecessor.and_then(|key| key.expire_time) {
            state.expiry = Some(self.expiry(end));
            states.correct_last(key.subject, *state);
        }
        states.finish_write(key.subject, self.history.now());
        Some(sent)
    }

    async fn send(
        &self,
        key: &ChangingKey,
        now: KeyState,
        change: Change,
        replica: usize,
        random: &mut StdRng,
    ) -> Result<Option<RotateResponse>, Status> {
        let client = &self.replica_clients[replica];
        let (mut keys, mut accounts) = (client.get().0, client.accounts());
        let (key_id, account_id) = (key.key_id.clone(), key.account_id.clone());
        let reason = "under faults".to_owned();
        match change {
            Change::Rename | Change::Rescope | Change::Shorten | Change::Prolong => {
                let request = with_random_timeout(update(key_id, now, change), random);
                keys.update(request).await.map(|_| None)
            }
            Change::SuspendOrResume if now.is_suspended => {
                let account_id = None;
                let request = ResumeRequest { key_id, account_id };
                let request = with_random_timeout(request, random);
                keys.resume(request).await.map(|_| None)
            }
            Change::SuspendOrResume => {
                let request = SuspendRequest {
                    target: Some(suspend_request::Target::KeyId(key_id)),
                    account_id: None,
                    reason,
                };
                let request = with_random_timeout(request, random);
                keys.suspend(request).await.map(|_| None)
            }
            Change::SuspendOrResumeAccount if now.is_account_suspended => {
                let request = with_random_timeout(ResumeAccountRequest { account_id }, random);
                accounts.resume_account(request).await.map(|_| None)
            }
            Change::SuspendOrResumeAccount => {
                let request = SuspendAccountRequest { account_id, reason };
                let request = with_random_timeout(request, random);
                accounts.suspend_account(request).await.map(|_| None)
            }
            Change::Rotate { overlap } => {
                let request = RotateRequest {
                    target: Some(rotate_request::Target::KeyId(key_id)),
                    overlap: Some(overlap.try_into().expect("short")),
                    ..RotateRequest::default()
                };
                let request = with_random_timeout(request, random);
                keys.rotate(request)
                    .await
                    .map(|rotated| Some(rotated.into_inner()))
            }
            Change::Revoke => {
                let request = RevokeRequest {
                    target: Some(revoke_request::Target::KeyId(key_id)),
                    account_id: None,
                };
                let request = with_random_timeout(request, random);
                keys.revoke(request).await.map(|_| None)
            }
            Change::BatchRevoke => {
                let keys_of = batch_revoke_request::Keys {
                    key_ids: vec![key_id],
                    tokens: vec![],
                };
                let request = BatchRevokeRequest {
                    selection: Some(batch_revoke_request::Selection::Keys(keys_of)),
                    account_id: Some(account_id),
                    reason,
                    dry_run: false,
                };
                let request = with_random_timeout(request, random);
                keys.batch_revoke(request).await.map(|_| None)
            }
        }
    }

    /// The end of a key's life, on the clock of the history.
    fn expiry(&self, end: Timestamp) -> Expiry {
        let end = SystemTime::try_from(end).expect("in range");
        let (now, on_the_clock) = (self.history.now(), SystemTime::now());
        let end = match end.duration_since(on_the_clock) {
            Ok(left) => now + left,
            // The answer came late.
            Err(over) => now.saturating_sub(over.duration()),
        };
        Expiry {
            earliest: end.saturating_sub(CLOCK_ERROR),
            latest: end + CLOCK_ERROR,
        }
    }
}

fn update(key_id: String, now: KeyState, change: Change) -> UpdateRequest {
    let mut update = UpdateRequest {
        key_id,
        name: "renamed under faults".to_owned(),
        ..UpdateRequest::default()
    };
    let path = match change {
        Change::Rename => "name",
        Change::Rescope => {
            let kind = if now.is_wide {
                scope::Kind::Domain(AskedDomain::First.name().to_owned())
            } else {
                scope::Kind::AllDomains(AllDomains {})
            };
            update.scope = Some(Scope { kind: Some(kind) });
            "scope"
        }
        Change::Shorten => {
            update.expire_time = Some((SystemTime::now() + SHORT_LIFE).into());
            "expire_time"
        }
        _ => "expire_time",
    };
    update.update_mask = Some(FieldMask {
        paths: vec![path.to_owned()],
    });
    update
}
