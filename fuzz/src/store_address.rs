//! The address of the store. It may contain a password, which must never be shown.

use super::text;
use keyservice::{config::StoreAddress, store::postgres::Address};
use std::time::Duration;

const PASSWORD: &str = "hunter2-8f3a";

/// An address is shown without its password, even if it is invalid.
pub fn store_address(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    // This option names a file, and parsing the address would read that file.
    if text.contains("sslrootcert") || text.contains(PASSWORD) {
        return;
    }
    if let Ok(address) = text.parse::<StoreAddress>()
        && let StoreAddress::Postgres(_) = address
    {
        assert_eq!(format!("{address:?}"), "postgres://…");
    }
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    for address in [
        text.to_owned(),
        format!("postgres://kate:{PASSWORD}@{rest}"),
        format!("postgres://{rest}?password={PASSWORD}"),
        format!("postgres://{rest}&password={PASSWORD}"),
    ] {
        let shown = match Address::parse(&address, Duration::from_secs(1)) {
            Ok(address) => address.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(!shown.contains(PASSWORD), "{address}: {shown}");
    }
}
