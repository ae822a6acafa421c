//! Counts answers by the faults that were present at the time.

use std::{collections::BTreeMap, fmt, sync::Mutex, time::Duration};

/// The row of calls that ended while no fault was present.
const NO_FAULT: &str = "no fault";

#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub faults: u64,
    pub grants: u64,
    pub denials: u64,
    /// The decisions among these that were asked for on a stream.
    pub on_streams: u64,
    /// Authorizes without a decision.
    pub unavailable: u64,
    /// The unavailable ones that a replica refused because its lease had lapsed.
    pub lapsed: u64,
    /// Creates and Revokes that returned OK.
    pub writes: u64,
    pub writes_in_doubt: u64,
    pub longest_create: Duration,
    pub longest_revoke: Duration,
}

impl Counts {
    pub fn calls(&self) -> u64 {
        self.grants + self.denials + self.unavailable + self.writes + self.writes_in_doubt
    }
}

#[derive(Default)]
pub struct Tally(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    /// The faults that are present now.
    present: Vec<&'static str>,
    by_fault: BTreeMap<&'static str, Counts>,
    all: Counts,
    longest_recovery: Duration,
}

impl Tally {
    pub fn start_fault(&self, fault: &'static str) {
        let mut rows = self.0.lock().expect("unpoisoned");
        rows.present.push(fault);
        rows.by_fault.entry(fault).or_default().faults += 1;
        rows.all.faults += 1;
    }

    pub fn end_fault(&self, fault: &'static str) {
        let mut rows = self.0.lock().expect("unpoisoned");
        let at = rows.present.iter().position(|present| *present == fault);
        rows.present.swap_remove(at.expect("it began"));
    }

    /// Counts in the row of each fault that is present.
    pub fn count(&self, add: impl Fn(&mut Counts)) {
        let mut rows = self.0.lock().expect("unpoisoned");
        add(&mut rows.all);
        let mut present = rows.present.clone();
        present.sort_unstable();
        present.dedup();
        if present.is_empty() {
            present.push(NO_FAULT);
        }
        for fault in present {
            add(rows.by_fault.entry(fault).or_default());
        }
    }

    /// Records the time from the end of all faults until every replica served.
    pub fn record_recovery(&self, took: Duration) {
        let longest = &mut self.0.lock().expect("unpoisoned").longest_recovery;
        *longest = took.max(*longest);
    }

    pub fn all(&self) -> Counts {
        self.0.lock().expect("unpoisoned").all
    }

    pub fn of(&self, fault: &str) -> Counts {
        let rows = self.0.lock().expect("unpoisoned");
        rows.by_fault.get(fault).copied().unwrap_or_default()
    }
}

/// Writes a Markdown table. A call during several faults is counted in the row of each.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.0.lock().expect("unpoisoned");
        writeln!(
            f,
            "| fault | times | calls | grants | denials | unavailable | of these lapsed | writes | writes in doubt | longest Create | longest Revoke |\n\
             | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |"
        )?;
        let by_fault = rows.by_fault.iter().map(|(fault, counts)| (*fault, counts));
        for (fault, counts) in by_fault.chain([("all", &rows.all)]) {
            writeln!(
                f,
                "| {fault} | {} | {} | {} | {} | {} | {} | {} | {} | {:.2} s | {:.2} s |",
                counts.faults,
                counts.calls(),
                counts.grants,
                counts.denials,
                counts.unavailable,
                counts.lapsed,
                counts.writes,
                counts.writes_in_doubt,
                counts.longest_create.as_secs_f64(),
                counts.longest_revoke.as_secs_f64(),
            )?;
        }
        let recovery = rows.longest_recovery.as_secs_f64();
        writeln!(
            f,
            "\nAll replicas served again at most {recovery:.2} s after the last fault's end."
        )
    }
}
