//! A key that is used, and what of a replica notes uses and stores them.

use crate::support::{new_key, stores::Stores};
use keyservice::{
    authorize::{
        Authorizer,
        decision::{Decision, DomainRule},
    },
    model::{
        account::Accounts,
        domain::Domain,
        key::KeyId,
        time::{LeaseTerm, Moment, TRUSTED_AFTER, Timestamp},
        token::{Digester, Token},
    },
    replication::{
        acknowledgement::Acknowledgements,
        loading,
        retention::Retention,
        uses::{UseCounts, UseRecorder},
    },
    store::{KeyLookup, KeyTarget, ReplicaId, Store},
};
use std::time::Duration;

/// A minute of the clock, counted from a whole hour.
pub fn minute(number: i64) -> Timestamp {
    let hour = Timestamp::from_micros(1_699_200_000_000_000).expect("in range");
    seconds_after(hour, number * 60)
}

pub fn seconds_after(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_micros(time.as_micros() + seconds * 1_000_000).expect("in range")
}

/// A key of the account `acme`.
pub struct Used {
    pub token: Token,
    pub id: KeyId,
}

impl Used {
    pub async fn create(stores: &Stores) -> Self {
        let (token, new) = new_key("acme", "used");
        let created = stores.first.keys.create(&new).await.expect("answered");
        assert!(created.is_ok());
        Self {
            token,
            id: new.key.id,
        }
    }

    /// The last use that the store knows.
    pub async fn stored(&self, stores: &Stores) -> Option<Timestamp> {
        let lookup = KeyLookup {
            target: KeyTarget::Id(self.id),
            accounts: Accounts::All,
        };
        let found = stores.second.keys.get(&lookup).await.expect("answered");
        found.expect("it is there").last_used_time
    }
}

/// What of a replica notes uses, and stores them.
pub struct Replica {
    authorizer: Authorizer,
    store: Store,
    counts: UseCounts,
    acknowledgements: Acknowledgements,
}

impl Replica {
    pub async fn start(stores: &Stores, store: &Store) -> Self {
        let authorizer = Authorizer::new(Digester::new(None), DomainRule::Any);
        authorizer.lease().extend(Moment::LATEST);
        let loaded = loading::load(&*stores.first.changes).await;
        let (keyring, position) = loaded.expect("it loads");
        authorizer.keyring().replace_with(keyring);
        let id = ReplicaId::from_uuid(uuid::Uuid::nil());
        let acknowledgements = Acknowledgements::new(None, id, LeaseTerm::LONGEST);
        acknowledgements.set_applied(position.revision);
        Self {
            authorizer,
            store: store.clone(),
            counts: UseCounts::default(),
            acknowledgements,
        }
    }

    pub fn decide(&self, key: &Used, now: Timestamp) -> Decision {
        let domain = Domain::parse("example.com".to_owned()).expect("a domain");
        let all = Accounts::All;
        let decision = self
            .authorizer
            .authorize(key.token.expose(), domain, &all, now);
        decision.expect("a lease")
    }

    pub fn grant(&self, key: &Used, now: Timestamp) {
        let granted = self.decide(key, now);
        assert!(matches!(granted, Decision::Grant(_)), "{granted:?}");
    }

    pub fn recorder(&self) -> UseRecorder<'_> {
        UseRecorder {
            keyring: self.authorizer.keyring(),
            store: &*self.store.uses,
            counts: &self.counts,
        }
    }

    pub async fn store_due(&self, now: Timestamp) {
        self.recorder().store_due(now).await.expect("stored");
    }

    pub async fn store_all(&self) {
        self.recorder().store_all().await.expect("stored");
    }

    pub async fn let_go(&self, limit: Option<Duration>) {
        // The clock has gone on for so long that it is trusted.
        for passed in [Duration::ZERO, TRUSTED_AFTER] {
            let now = Timestamp::now();
            let trusted = self.store.retention.agreed_time(now, passed).await;
            trusted.expect("answered");
        }
        let now = Timestamp::now();
        self.let_go_at(now, Duration::ZERO, limit).await;
    }

    /// By a clock that says this, so long after it was last looked at.
    pub async fn let_go_by(&self, now: Timestamp, passed: Duration, limit: Duration) {
        self.let_go_at(now, passed, Some(limit)).await;
    }

    async fn let_go_at(&self, now: Timestamp, passed: Duration, limit: Option<Duration>) {
        let retention = Retention {
            keyring: self.authorizer.keyring(),
            store: &*self.store.retention,
            acknowledgements: &self.acknowledgements,
            limit,
        };
        retention.let_go(now, passed).await.expect("let go");
    }
}
