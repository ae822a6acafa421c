//! Owns how times are kept: whole microseconds, as PostgreSQL keeps them.
//! Promises that a time reads the same after any store has kept it.
//! Must never compare two machines' clocks where an answer depends on it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time, in whole microseconds since the Unix epoch, never before it.
///
/// Microseconds because that is what PostgreSQL keeps; 63 bits of them last for 292 thousand
/// years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first moment there is.
    pub const EPOCH: Self = Self(0);

    /// 9999-12-31T23:59:59.999999Z, the last moment of `google.protobuf.Timestamp`.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// The wall clock's time. A clock set before 1970 reads as 1970.
    #[must_use]
    pub fn now() -> Self {
        Self::from_system_time(SystemTime::now())
    }

    /// From the system's type, cut to microseconds and to 1970..=9999.
    #[must_use]
    pub fn from_system_time(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_micros())
            .map_or(Self::MAX, |micros| Self(micros).min(Self::MAX))
    }

    /// To the system's type, exactly.
    #[must_use]
    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.as_micros().unsigned_abs())
    }

    /// From microseconds since the epoch; none if outside 1970..=9999.
    #[must_use]
    pub fn from_micros(micros: i64) -> Option<Self> {
        (0..=Self::MAX.0).contains(&micros).then_some(Self(micros))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }
}
