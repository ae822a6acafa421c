//! Reads the times that commands take: points in time, and distances from now.

use crate::model::time::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time, or how long ago it is.
pub(super) fn past(text: &str) -> Result<Timestamp, String> {
    let before_now = |ago| SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH);
    let example = "or how long ago, such as 36h or 7days";
    point_or_distance(text, before_now, example)
}

/// A point in time, or in how long it will be.
pub(super) fn future(text: &str) -> Result<Timestamp, String> {
    let end = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let after_now = |ahead| SystemTime::now().checked_add(ahead).unwrap_or(end).min(end);
    let example = "or in how long, such as 36h or 90days";
    point_or_distance(text, after_now, example)
}

/// How long something takes.
pub(super) fn distance(text: &str) -> Result<Duration, String> {
    refuse_months(text)?;
    humantime::parse_duration(text)
        .map_err(|_| "give a number with a unit, such as 24h or 90days".to_owned())
}

/// To humantime, a month has 30.44 days, which nobody means.
fn refuse_months(text: &str) -> Result<(), String> {
    let mut units = text.split(|letter: char| !letter.is_ascii_alphabetic());
    if text.starts_with(|first: char| first.is_ascii_digit())
        && units.any(|unit| ["M", "month", "months"].contains(&unit))
    {
        return Err("months differ in length: give days, such as 90days".to_owned());
    }
    Ok(())
}

fn point_or_distance(
    text: &str,
    from_now: impl FnOnce(Duration) -> SystemTime,
    example: &str,
) -> Result<Timestamp, String> {
    refuse_months(text)?;
    if let Ok(distance) = distance(text) {
        return Ok(Timestamp::from_system_time(from_now(distance)));
    }
    let midnight = format!("{text}T00:00:00Z");
    [text, &midnight]
        .into_iter()
        .find_map(|text| humantime::parse_rfc3339(text).ok())
        .map(Timestamp::from_system_time)
        .ok_or_else(|| {
            format!("give a time in UTC, such as 2030-01-31 or 2030-01-31T15:00:00Z, {example}")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_point_or_a_distance_from_now() {
        for time in [past, future] {
            let micros = |text| time(text).map(Timestamp::as_micros);
            assert_eq!(micros("1970-01-02"), Ok(86_400_000_000));
            assert_eq!(micros("1970-01-01T00:00:01.5Z"), Ok(1_500_000));
            for wrong in [
                "",
                "yesterday",
                "2030-13-01",
                "15:00",
                "-1h",
                "7",
                "3months",
                "1M",
                "1h 2month",
            ] {
                let advice = time(wrong).expect_err("wrong");
                assert!(advice.contains("days"), "{wrong}");
            }
        }
        assert_eq!(distance("24h"), Ok(Duration::from_secs(86_400)));
        let advice = distance("24").expect_err("no unit");
        assert!(advice.contains("24h"), "{advice}");
        let now = Timestamp::now().as_micros();
        let micros = |time: Result<Timestamp, _>| time.expect("a time").as_micros();
        let ago = now - micros(past("1h"));
        assert!((3_590_000_000..=3_600_000_000).contains(&ago), "{ago}");
        let ahead = micros(future("1h")) - now;
        assert!((3_600_000_000..3_610_000_000).contains(&ahead), "{ahead}");
        assert_eq!(micros(past("1000years")), 0);
        assert_eq!(micros(future("100000years")), 253_402_300_799_000_000);
    }
}
