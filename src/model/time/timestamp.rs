//! A point on the wall clock, in whole microseconds as PostgreSQL keeps them.
//!
//! Promises that a time reads the same after any store has kept it.
//! Must never decide whether a lease holds, because the clocks of two machines may differ. That is
//! what [`Moment`](super::Moment) is for.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A point in time from 1970 to 9999, in whole microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub(crate) const EPOCH: Self = Self(0);

    /// 9999-12-31T23:59:59.999999Z, the last time that `google.protobuf.Timestamp` can express.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// Reads the wall clock. A clock that is set before 1970 reads as 1970.
    #[must_use]
    pub fn now() -> Self {
        Self::from_system_time(SystemTime::now())
    }

    /// This time, or `None` if it is in the future. A stored time can be in the future because a clock was wrong, or
    /// because somebody falsified a row.
    pub(crate) fn if_past(self) -> Option<Self> {
        (self <= Self::now()).then_some(self)
    }

    /// Rounds down to microseconds. A time outside the years 1970 to 9999 becomes the nearest one
    /// inside.
    pub(crate) fn from_system_time(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_micros())
            .map_or(Self::MAX, |micros| Self(micros).min(Self::MAX))
    }

    /// Reads a time in UTC as RFC 3339 has it, which is within the range of these times.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let time = humantime::parse_rfc3339(text).ok()?;
        (time >= UNIX_EPOCH).then(|| Self::from_system_time(time))
    }

    /// The same time in the standard library's type.
    #[must_use]
    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.as_micros().unsigned_abs())
    }

    /// The time that is so much later, or the last one that there is.
    pub(crate) fn saturating_add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let later = Self::from_micros(self.as_micros().saturating_add(micros));
        later.unwrap_or(Self::MAX)
    }

    /// How far two times are apart.
    pub(crate) fn distance(self, other: Self) -> Duration {
        Duration::from_micros(self.0.abs_diff(other.0))
    }

    /// The time that is so much earlier, or 1970.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros).max(0))
    }

    /// Takes microseconds since the Unix epoch. Returns `None` for a time outside the years 1970 to
    /// 9999.
    #[must_use]
    pub fn from_micros(micros: i64) -> Option<Self> {
        (0..=Self::MAX.0).contains(&micros).then_some(Self(micros))
    }

    /// The same, but a time outside the years 1970 to 9999 becomes the nearest one inside.
    pub(crate) fn nearest_to_micros(micros: i64) -> Self {
        Self(micros.clamp(0, Self::MAX.0))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }
}

/// As RFC 3339 has it, to the microsecond.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_micros(self.to_system_time()).fmt(f)
    }
}
