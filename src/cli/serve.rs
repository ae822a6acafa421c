//! `keyservice serve`: runs the service until a signal ends it.

use crate::{
    config::{Settings, StoreAddress},
    observe::telemetry::Telemetry,
    serve::serve,
};
use std::{error::Error, sync::Arc, time::Duration};
use tokio::runtime::{Builder, Handle};

/// How long the process waits at its end for what hangs in the system, such as the read of a file on a
/// network.
const HANG_LIMIT: Duration = Duration::from_secs(1);

/// The threads on which the process works for itself. It renews its lease and reads changes, which
/// takes little. It needs them when the threads for clients are busy: the system then gives each thread
/// its turn, whereas a runtime lets the lease wait behind every connection.
const OWN_THREADS: usize = 2;

/// Runs the service, and sends the last traces.
pub(super) fn run(settings: Arc<Settings>) -> Result<(), Box<dyn Error>> {
    let own = Builder::new_multi_thread()
        .worker_threads(OWN_THREADS)
        .thread_name("own")
        .enable_all()
        .build()?;
    let for_clients = Builder::new_multi_thread()
        .thread_name("clients")
        .enable_all()
        .build()?;
    let served = own.block_on(serve_and_flush(settings, for_clients.handle()));
    for_clients.shutdown_background();
    own.shutdown_timeout(HANG_LIMIT);
    served
}

async fn serve_and_flush(
    settings: Arc<Settings>,
    for_clients: &Handle,
) -> Result<(), Box<dyn Error>> {
    let telemetry = Telemetry::start(&settings.logs)?;
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    if shows_password(&settings.store.address, arguments) {
        tracing::warn!(
            "the password of the store stands in the arguments of this process, which every user of this \
             machine can see: give the address in KEYSERVICE_STORE, and change the password"
        );
    }
    let served = serve(settings, for_clients).await;
    tokio::task::spawn_blocking(|| telemetry.flush()).await?;
    Ok(served?)
}

/// Whether one of these arguments is the address of the store, or ends in it, with a password.
fn shows_password(address: &StoreAddress, mut arguments: impl Iterator<Item = String>) -> bool {
    let StoreAddress::Postgres(address) = address else {
        return false;
    };
    let address = address.expose();
    let user = address.split_once("://").map_or("", |(_, rest)| rest);
    let user = user.rsplit_once('@').map_or("", |(user, _)| user);
    let has_password = user.contains(':') || address.contains("password=");
    has_password && arguments.any(|argument| argument.trim_end().ends_with(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_found_in_the_arguments_and_nowhere_else() {
        for (address, has_password) in [
            ("postgres://me:sesame@db/keys", true),
            ("postgres://me@db/keys?password=sesame", true),
            ("postgres://me@db:5432/keys", false),
        ] {
            let store: StoreAddress = address.parse().expect("an address");
            let shows = |argument: &str| shows_password(&store, [argument.to_owned()].into_iter());
            assert_eq!(shows(address), has_password, "{address}");
            assert_eq!(shows(&format!("--store={address}")), has_password);
            assert!(!shows("--store-in-the-environment"), "{address}");
        }
        let sqlite = "sqlite:keys.db".parse().expect("an address");
        assert!(!shows_password(
            &sqlite,
            ["sqlite:keys.db".to_owned()].into_iter()
        ));
    }
}
