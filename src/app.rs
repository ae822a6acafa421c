//! What the process is made of.
//!
//! `serve` puts it together once; services, metrics and the shutdown read it.

use crate::{
    audit::recorder::Recorder,
    authorize::Authorizer,
    callers::{Caller, admin_slots::AdminSlots, credentials::Credentials, store_turns::StoreTurns},
    model::audit_record::AdminMethod,
    net::{connection_counts::ConnectionCounts, reload::Reloaded, tls::Tls},
    observe::{call_counts::Calls, histogram::Histogram},
    replication::{acknowledgement::Acknowledgements, uses::UseCounts},
    store::{Store, observed::StoreErrors},
};
use std::sync::Arc;
use strum::{EnumCount, VariantArray};

/// The parts of the process that more than one of its tasks uses.
pub(crate) struct App {
    /// The source of truth. Its errors are counted.
    pub store: Store,
    /// Answers Authorize from memory.
    pub authorizer: Arc<Authorizer>,
    /// Knows which writes every replica has applied.
    pub acknowledgements: Arc<Acknowledgements>,
    /// Records the calls that wrote nothing.
    pub recorder: Arc<Recorder>,
    /// Who may call.
    pub callers: Callers,
    /// The certificate in use, where calls are taken over TLS.
    pub tls: Option<Arc<Reloaded<Tls>>>,
    /// Which admin calls may be in flight.
    pub admin_slots: Arc<AdminSlots>,
    /// For how many of them the store works at once.
    pub store_turns: StoreTurns,
    /// How many keys an account may have that are neither revoked nor expired.
    pub max_keys_per_account: u32,
    /// The connections that calls come on.
    pub connections: Arc<ConnectionCounts>,
    /// What is counted while calls run.
    pub counts: &'static Counts,
}

/// Who may call.
#[derive(Clone)]
pub(crate) enum Callers {
    /// Everybody who reaches the server, with every right.
    Anyone(Arc<Caller>),
    /// The callers in the credentials file, as it is now.
    Listed(Arc<Reloaded<Credentials>>),
}

impl Callers {
    /// The credentials file, if there is one.
    #[must_use]
    pub(crate) fn credentials(&self) -> Option<Arc<Reloaded<Credentials>>> {
        match self {
            Self::Anyone(_) => None,
            Self::Listed(credentials) => Some(credentials.clone()),
        }
    }
}

/// What is counted while calls run.
pub struct Counts {
    /// Every call.
    pub calls: Calls,
    /// How long writes waited for every replica, after their commit.
    pub write_waits: WriteWaits,
    /// The errors of the store.
    pub store_errors: StoreErrors,
    /// The uses of keys that the store was told.
    pub uses: UseCounts,
}

impl Counts {
    /// All else at zero.
    ///
    /// The counts live as long as the process, so that a call that counts does not have to count
    /// references to them as well.
    #[must_use]
    pub fn of_process(calls: Calls) -> &'static Self {
        Box::leak(Box::new(Self {
            calls,
            write_waits: WriteWaits::default(),
            store_errors: StoreErrors::default(),
            uses: UseCounts::default(),
        }))
    }
}

/// How long writes waited, by method.
#[derive(Default)]
pub struct WriteWaits([Histogram; AdminMethod::COUNT]);

impl WriteWaits {
    /// The waits of one method.
    #[must_use]
    pub fn of(&self, method: AdminMethod) -> &Histogram {
        &self.0[method as usize]
    }

    /// Each method that writes, with its waits.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        let methods = AdminMethod::VARIANTS.iter();
        let writes = methods.filter(|method| method.writes());
        writes.map(|method| (method.as_str(), self.of(*method)))
    }
}
