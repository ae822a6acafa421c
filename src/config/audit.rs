//! Owns the settings of `keyservice audit`: which records, and how they are printed.
//! Promises that what is left out restricts nothing.
//! Must never hold anything that a service is served with.

use super::StoreSetting;
use crate::model::{
    account::AccountId, audit_record::AuditQuery, caller_name::CallerName, key::KeyId,
    time::Timestamp,
};
use clap::{Args, ValueEnum};

/// Every setting of `keyservice audit`.
#[derive(Debug, Args)]
pub struct AuditSettings {
    /// Which store.
    #[command(flatten)]
    pub store: StoreSetting,

    /// Only what came at this time or later: a time in UTC, such as 2030-01-31 or
    /// 2030-01-31T15:00:00Z, or how long ago, such as 36h or 7days.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<Timestamp>,

    /// Only what came before this time, given in the same way.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<Timestamp>,

    /// Only what is known to be about this account.
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    pub account: Option<AccountId>,

    /// Only what is known to be about this key.
    #[arg(long, value_name = "KEY_ID", value_parser = KeyId::parse)]
    pub key: Option<KeyId>,

    /// Only what this caller did: a name of the credentials file, `anyone` where nobody was asked
    /// who he is, or `keyservice` for the service itself.
    #[arg(long, value_name = "NAME")]
    pub caller: Option<String>,

    /// Only so many records, the newest.
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<u32>,

    /// How to print: `auto` is a table on a terminal and JSON otherwise.
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub format: AuditFormat,
}

/// How records are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditFormat {
    /// A table on a terminal, JSON otherwise.
    Auto,
    /// Columns for people.
    Table,
    /// A JSON object a line.
    Json,
}

impl AuditSettings {
    /// Which records are asked for.
    #[must_use]
    pub fn query(&self) -> AuditQuery {
        AuditQuery {
            since: self.since.unwrap_or(Timestamp::EPOCH),
            until: self.until,
            account_id: self.account.clone(),
            key_id: self.key,
            // Any text, since the names that stand in no credentials file are names here too.
            caller: self.caller.clone().map(CallerName::from_stored),
            limit: self.limit,
        }
    }
}

/// Reads a point in time, or a distance from now into the past.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        let now = Timestamp::now().to_system_time();
        let time = now.checked_sub(ago).unwrap_or(std::time::UNIX_EPOCH);
        return Ok(Timestamp::from_system_time(time));
    }
    let midnight = format!("{text}T00:00:00Z");
    [text, &midnight]
        .into_iter()
        .find_map(|text| humantime::parse_rfc3339(text).ok())
        .map(Timestamp::from_system_time)
        .ok_or_else(|| {
            "give a time in UTC, such as 2030-01-31 or 2030-01-31T15:00:00Z, or how long ago, such \
             as 36h or 7days"
                .to_owned()
        })
}

fn account(text: &str) -> Result<AccountId, String> {
    AccountId::parse(text.to_owned()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_point_or_a_distance_into_the_past() {
        let micros = |text| time(text).map(Timestamp::as_micros);
        assert_eq!(micros("1970-01-02"), Ok(86_400_000_000));
        assert_eq!(micros("1970-01-01T00:00:01.5Z"), Ok(1_500_000));
        let hour_ago = time("1h").expect("a time");
        let since = Timestamp::now().as_micros() - hour_ago.as_micros();
        assert!((3_600_000_000..3_610_000_000).contains(&since), "{since}");
        assert_eq!(micros("1000years"), Ok(0));
        for wrong in ["", "yesterday", "2030-13-01", "15:00", "-1h", "7"] {
            let advice = time(wrong).expect_err("wrong");
            assert!(advice.contains("7days"), "{wrong}");
        }
    }
}
