//! Checks that the settings of the lease fit one another.

use crate::{config::PostgresSettings, model::time::LeaseTerm};
use std::time::Duration;

/// How long leases last and how often they are renewed: values that fit one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeaseTiming {
    pub(super) term: LeaseTerm,
    pub(super) renewal_interval: Duration,
}

/// `--lease` and `--renewal-interval` do not fit one another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "--renewal-interval {} is more than 0.45 × --lease {term}: a replica may use a lease for 0.9 × \
     --lease, so one late renewal would let it lapse; give at most {}, or a longer --lease",
    humantime::format_duration(*renewal_interval),
    humantime::format_duration(term.usable() / 2)
)]
pub(crate) struct LeaseTimingError {
    term: LeaseTerm,
    renewal_interval: Duration,
}

impl LeaseTiming {
    pub(super) fn new(settings: &PostgresSettings) -> Result<Self, LeaseTimingError> {
        let term = LeaseTerm::new(settings.lease);
        let renewal_interval = settings.renewal_interval.unwrap_or(term.length() / 4);
        if renewal_interval > term.usable() / 2 {
            return Err(LeaseTimingError {
                term,
                renewal_interval,
            });
        }
        Ok(Self {
            term,
            renewal_interval,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn a_renewal_interval_fits_the_lease_or_is_refused_by_both_their_names() {
        let timing = |arguments: &[&str]| {
            let settings = Settings::parse_from(arguments).expect("well formed");
            LeaseTiming::new(&settings.postgres)
        };
        let interval = |arguments: &[&str]| timing(arguments).expect("fits").renewal_interval;
        let millis = Duration::from_millis;
        assert_eq!(interval(&[]), millis(500));
        assert_eq!(interval(&["--lease", "10s"]), millis(2500));
        assert_eq!(interval(&["--renewal-interval", "900ms"]), millis(900));
        let refused = timing(&["--renewal-interval", "901ms"]).expect_err("does not fit");
        let refused = refused.to_string();
        assert!(refused.contains("--renewal-interval 901ms"), "{refused}");
        assert!(refused.contains("--lease 2s"), "{refused}");
        assert!(refused.contains("at most 900ms"), "{refused}");
    }
}
