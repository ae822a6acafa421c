//! The setting `--store` of commands that work on a store without a service.

use super::client::{Failure, service_in_use};
use crate::config::{StoreAddress, StoreSetting};
use clap::{ArgMatches, Args, FromArgMatches, parser::ValueSource};

/// The store that a command works on, and whether a flag or a variable named it.
#[derive(Debug)]
pub(super) struct NamedStore {
    pub(super) address: StoreAddress,
    pub(super) is_named: bool,
}

impl NamedStore {
    /// Whoever works with a service means its store, and not a file that happens to be here.
    pub(super) fn refuse_service(&self) -> Result<(), Failure> {
        match service_in_use() {
            Some(service) if !self.is_named => Err(Failure::Misused(format!(
                "this command works on a store itself, and asks no service, so {service} does not say which store \
                 is meant: run it where the store is, and name that by --store (KEYSERVICE_STORE)"
            ))),
            _ => Ok(()),
        }
    }
}

impl Args for NamedStore {
    fn augment_args(command: clap::Command) -> clap::Command {
        StoreSetting::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        StoreSetting::augment_args_for_update(command)
    }
}

impl FromArgMatches for NamedStore {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self {
            address: StoreSetting::from_arg_matches(matches)?.address,
            is_named: matches.value_source("store") != Some(ValueSource::DefaultValue),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
