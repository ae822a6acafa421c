//! Finds the password of the store where every user of the machine can see it.

use crate::config::StoreAddress;

/// The warning about such a password.
pub(super) const PASSWORD_IN_ARGUMENTS: &str = "the password of the store stands in the arguments of this process, which every user of this \
     machine can see: give the address in KEYSERVICE_STORE, and change the password";

/// Whether this process was given the password of the store as an argument.
pub(super) fn stands_in_arguments(address: &StoreAddress) -> bool {
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    shows_password(address, arguments)
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
