//! Which accounts of the keys that are shown are suspended. A key keeps its own status then, and is denied.

use crate::cli::client::accounts;
use std::collections::HashMap;
use tosend_keyservice::{
    Admin,
    proto::{Key, Suspension, key::Status},
};

/// How many accounts are looked up for one list. Each look is a call, and is on record.
const MOST: usize = 20;

/// What was found out about accounts, each of which is looked up once.
#[derive(Default)]
pub(super) struct SuspendedAccounts {
    known: HashMap<String, Option<Suspension>>,
    left_out: bool,
}

impl SuspendedAccounts {
    /// Looks up the accounts of keys that are not denied for good.
    pub(super) async fn look_up(&mut self, admin: &Admin, keys: &[Key]) {
        for key in keys.iter().filter(|key| may_be_granted(key)) {
            if self.known.contains_key(&key.account_id) {
                continue;
            }
            if self.known.len() == MOST {
                self.left_out = true;
                return;
            }
            // The key is shown even if this cannot be found out.
            let account = accounts::get(admin, &key.account_id).await.ok();
            let suspension = account.and_then(|account| account.suspension);
            self.known.insert(key.account_id.clone(), suspension);
        }
    }

    /// Why the account of a key is suspended, unless the key is denied for good anyway.
    pub(super) fn of(&self, key: &Key) -> Option<&Suspension> {
        let suspension = self.known.get(&key.account_id)?.as_ref();
        suspension.filter(|_| may_be_granted(key))
    }

    /// Whether there were too many accounts to look at each.
    pub(super) fn have_more(&self) -> bool {
        self.left_out
    }
}

/// Whether it may be granted, now or after a resume.
pub(super) fn may_be_granted(key: &Key) -> bool {
    matches!(key.status(), Status::Active | Status::Suspended)
}
