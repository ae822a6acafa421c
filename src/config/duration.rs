//! Reads the settings that are durations.

use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A duration from 1 ms to a day.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let is_valid = |duration: &Duration| (MILLISECOND..=DAY).contains(duration);
    parse(text, "500ms or 20s", is_valid, "from 1ms to 24h")
}

/// A duration that may be nothing.
pub(super) fn delay(text: &str) -> Result<Duration, String> {
    let is_valid = |delay: &Duration| delay.is_zero() || (MILLISECOND..=DAY).contains(delay);
    parse(text, "500ms or 20s", is_valid, "0s, or from 1ms to 24h")
}

pub(super) fn retention(text: &str) -> Result<Duration, String> {
    let is_valid = |retention: &Duration| (DAY..=DAY * 365 * 100).contains(retention);
    parse(text, "90days or 1year", is_valid, "from 1day to 100years")
}

/// Reads a duration. The error for another text gives these examples, and that for a duration which is not valid
/// says which ones are.
fn parse(
    text: &str,
    examples: &str,
    is_valid: impl FnOnce(&Duration) -> bool,
    valid: &str,
) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|_| format!("give a number with a unit, such as {examples}"))?;
    if is_valid(&duration) {
        Ok(duration)
    } else {
        Err(format!("must be {valid}"))
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
