//! One connection, to the first host of an address that accepts it.
//!
//! Promises that each host is tried, whatever the hosts before it do, and that the error is the one that says most.
//! Must never connect with other parameters than the address has.

use super::{
    errors::{refuses_for_lack_of_room, said},
    tls::Connector,
};
use rand::seq::SliceRandom;
use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::time::timeout;
use tokio_postgres::{
    Client, Config, Connection, Error, Socket,
    config::{ChannelBinding, Host, LoadBalanceHosts, SslMode},
    error::SqlState,
    tls::MakeTlsConnect,
};

/// Both parts of a connection: one for its user, and one for the task that drives it.
pub(super) type Connected = (
    Client,
    Connection<Socket, <Connector as MakeTlsConnect<Socket>>::Stream>,
);

/// The hosts of an address, of which there is at least one. tokio-postgres would try them in turn
/// itself, but a host that does not answer could then use up the whole time limit.
pub(super) struct Hosts {
    configs: Vec<Config>,
    /// The host to try first: the one that accepted the last connection, or the one after a host
    /// that did not. It is only a hint, so its memory ordering does not matter.
    first: AtomicUsize,
}

impl Hosts {
    pub(super) fn of(address: &Config) -> Result<Self, &'static str> {
        let configs = one_for_each_host(address)?;
        let first = AtomicUsize::new(0);
        Ok(Self { configs, first })
    }

    pub(super) fn are_several(&self) -> bool {
        self.configs.len() > 1
    }

    /// Connects. Each host but the last gets a share of the time limit. The last one has no limit
    /// here: the caller bounds the whole.
    pub(super) async fn connect(
        &self,
        tls: &Connector,
        limit: Duration,
    ) -> Result<Connected, Error> {
        let started = Instant::now();
        let in_turn = self.in_turn();
        let (last, others) = in_turn.split_last().expect("an address names a host");
        let mut most_telling: Option<Error> = None;
        for (tried, host) in others.iter().enumerate() {
            let hosts_left = u32::try_from(in_turn.len() - tried).unwrap_or(u32::MAX);
            let share = limit.saturating_sub(started.elapsed()) / hosts_left;
            match timeout(share, self.connect_to(*host, tls)).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => {
                    tracing::debug!("trying the next host: {}", said(&error));
                    most_telling = Some(most_telling_of(most_telling, error));
                }
                Err(_) => tracing::debug!("trying the next host: no answer within {share:?}"),
            }
        }
        let connected = self.connect_to(*last, tls).await;
        connected.map_err(|error| most_telling_of(most_telling, error))
    }

    fn in_turn(&self) -> Vec<usize> {
        let count = self.configs.len();
        let first = self.first.load(Relaxed);
        let mut hosts: Vec<_> = (0..count).map(|tried| (first + tried) % count).collect();
        let balance = |config: &Config| config.get_load_balance_hosts();
        if self.configs.first().map(balance) == Some(LoadBalanceHosts::Random) {
            hosts.shuffle(&mut rand::rng());
        }
        hosts
    }

    async fn connect_to(&self, host: usize, tls: &Connector) -> Result<Connected, Error> {
        // Set beforehand, since a caller that gives up waiting drops this future.
        self.first.store(host + 1, Relaxed);
        let config = &self.configs[host];
        let connected = match config.connect(tls.clone()).await {
            Err(error) if may_do_without_tls(config, &error) => {
                tracing::debug!("trying without TLS: {}", said(&error));
                let mut plain = config.clone();
                plain.ssl_mode(SslMode::Disable);
                let connected = plain.connect(tls.clone()).await;
                connected.map_err(|without| more_telling(error, without))?
            }
            connected => connected?,
        };
        self.first.store(host, Relaxed);
        Ok(connected)
    }
}

/// Whether the address prefers TLS, and the host has none that works or lets nobody in with it. libpq
/// connects without TLS then.
fn may_do_without_tls(config: &Config, error: &Error) -> bool {
    let is_preferred = config.get_ssl_mode() == SslMode::Prefer
        && config.get_channel_binding() != ChannelBinding::Require;
    let is_about_tls = match error.code() {
        Some(_) => lets_nobody_in(error),
        None => error
            .to_string()
            .starts_with("error performing TLS handshake"),
    };
    is_preferred && is_about_tls
}

/// Whether `pg_hba.conf` has no entry for such a connection, whatever the password.
fn lets_nobody_in(error: &Error) -> bool {
    error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

/// Of the errors of a connection with TLS and of one without, the one that says what to mend: that of
/// the second, unless the server lets nobody in without TLS. libpq shows both, but this error's type
/// holds one.
fn more_telling(with_tls: Error, without: Error) -> Error {
    if lets_nobody_in(&without) {
        tracing::debug!("without TLS: {}", said(&without));
        with_tls
    } else {
        without
    }
}

/// Of the errors of two hosts, the one to act on; of two alike, the later one. The hosts of an address are a primary
/// and its standbys, and what a standby says hides what is wrong with the primary: whoever waits for room there must
/// learn that it has none.
fn most_telling_of(earlier: Option<Error>, later: Error) -> Error {
    let rank = |error: &Error| match error.code() {
        _ if refuses_for_lack_of_room(error) => 2,
        // A server has let nobody in, or is not ready.
        Some(_) => 1,
        // Nothing is there, or it takes no writes.
        None => 0,
    };
    match earlier {
        Some(earlier) if rank(&earlier) > rank(&later) => earlier,
        _ => later,
    }
}

/// A config for each host of `all`.
fn one_for_each_host(all: &Config) -> Result<Vec<Config>, &'static str> {
    let (hosts, addresses, ports) = (all.get_hosts(), all.get_hostaddrs(), all.get_ports());
    let count = hosts.len().max(addresses.len());
    let fits = |length: usize| length == 0 || length == count;
    if count == 0 {
        return Err("it names no host");
    }
    if !fits(hosts.len()) || !fits(addresses.len()) || !(fits(ports.len()) || ports.len() == 1) {
        return Err("give as many of host, hostaddr and port");
    }
    let of = |at: usize| {
        let mut one = without_hosts(all);
        let address = addresses.get(at);
        match (hosts.get(at), address) {
            (Some(Host::Tcp(name)), _) => _ = one.host(name),
            (Some(Host::Unix(path)), address) => {
                one.host_path(path);
                if address.is_none() {
                    // As libpq's manual says, sslmode means nothing for a Unix socket. No server
                    // encrypts one.
                    one.ssl_mode(SslMode::Disable);
                }
            }
            // Without any name, tokio-postgres does not encrypt.
            (None, Some(address)) => _ = one.host(address.to_string()),
            (None, None) => {}
        }
        if let Some(address) = address {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(at).or(ports.first()) {
            one.port(*port);
        }
        one
    };
    Ok((0..count).map(of).collect())
}

fn without_hosts(all: &Config) -> Config {
    let mut config = Config::new();
    config
        .ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .keepalives(all.get_keepalives())
        .keepalives_idle(all.get_keepalives_idle())
        .target_session_attrs(all.get_target_session_attrs())
        .channel_binding(all.get_channel_binding())
        .load_balance_hosts(all.get_load_balance_hosts());
    all.get_user().map(|user| config.user(user));
    all.get_password().map(|password| config.password(password));
    all.get_dbname().map(|name| config.dbname(name));
    all.get_options().map(|options| config.options(options));
    all.get_application_name()
        .map(|name| config.application_name(name));
    all.get_connect_timeout()
        .map(|limit| config.connect_timeout(*limit));
    all.get_tcp_user_timeout()
        .map(|limit| config.tcp_user_timeout(*limit));
    all.get_keepalives_interval()
        .map(|interval| config.keepalives_interval(interval));
    all.get_keepalives_retries()
        .map(|retries| config.keepalives_retries(retries));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_each(text: &str) -> Result<Vec<Config>, &'static str> {
        one_for_each_host(&text.parse().expect("an address"))
    }

    #[test]
    fn every_parameter_is_kept_for_every_host() {
        let address = |hosts| {
            format!(
                "postgres://kate:secret@{hosts}/keys?options=-c%20x%3Dy&application_name=a\
                 &sslmode=require&sslnegotiation=direct&connect_timeout=7&tcp_user_timeout=8\
                 &keepalives=1&keepalives_idle=9&keepalives_interval=10&keepalives_retries=11\
                 &target_session_attrs=read-write&channel_binding=require&load_balance_hosts=random"
            )
        };
        let split = one_each(&address("db1:1,[::1]:2,%2Ftmp:3")).expect("three hosts");
        let alone = ["db1:1", "[::1]:2", "%2Ftmp:3"].map(address);
        for (config, alone) in split.iter().zip(&alone) {
            let mut alone: Config = alone.parse().expect("an address");
            if matches!(alone.get_hosts(), [Host::Unix(_)]) {
                alone.ssl_mode(SslMode::Disable);
            }
            assert_eq!(format!("{config:?}"), format!("{alone:?}"));
            assert_eq!(config.get_password(), alone.get_password());
        }
        assert_eq!(split.len(), alone.len());
    }

    #[test]
    fn a_host_that_is_given_only_by_its_network_address_is_named_by_it_for_tls() {
        let [config] = &one_each("postgres:///keys?hostaddr=127.0.0.1").expect("a host")[..] else {
            panic!("not one host");
        };
        assert_eq!(config.get_hosts(), [Host::Tcp("127.0.0.1".to_owned())]);
    }

    #[test]
    fn hosts_that_do_not_add_up_are_refused() {
        assert!(one_each("postgres:///keys").is_err());
        assert!(one_each("postgres://a,b/keys?hostaddr=127.0.0.1").is_err());
        assert!(one_each("postgres://a,b/keys?host=c").is_err());
        assert!(one_each("postgres://a/keys?host=b").is_ok());
    }
}
