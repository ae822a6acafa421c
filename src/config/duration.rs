//! Reads the settings that are durations.

use std::time::Duration;

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|_| "give a number with a unit, such as 500ms or 20s".to_owned())?;
    let limits = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
    if limits.contains(&duration) {
        Ok(duration)
    } else {
        Err("must be from 1ms to 24h".to_owned())
    }
}

/// A duration that may be nothing.
pub(super) fn delay(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Ok(Duration::ZERO),
        _ => duration(text).map_err(|error| error.replace("from 1ms", "0s, or from 1ms")),
    }
}

pub(super) fn retention(text: &str) -> Result<Duration, String> {
    let retention = humantime::parse_duration(text)
        .map_err(|_| "give a number with a unit, such as 90days or 1year".to_owned())?;
    let limits = Duration::from_secs(24 * 3600)..=Duration::from_secs(100 * 365 * 24 * 3600);
    if limits.contains(&retention) {
        Ok(retention)
    } else {
        Err("must be from 1day to 100years".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_unit_and_a_sensible_size() {
        assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
        assert!(duration("20").is_err());
        assert!(duration("0s").is_err());
        assert!(duration("2days").is_err());
        assert_eq!(delay("0s"), Ok(Duration::ZERO));
        assert_eq!(
            delay("1us"),
            Err("must be 0s, or from 1ms to 24h".to_owned())
        );
    }
}
