//! What a person is told to look at first who has reached no service.

use super::{
    context::Context,
    trust::{Distrust, is_out_of_time},
};
use std::net::IpAddr;

/// What to look at first, because of this. `without_plaintext` says how not to call in plain text any more, and
/// `accepts` finds out whether an address accepts connections.
pub(super) fn advice(
    context: &Context,
    has_secret: bool,
    without_plaintext: &str,
    why: &str,
    accepts: impl FnOnce(&str) -> bool,
) -> Option<String> {
    let distrust = Distrust::of(why);
    let speaks_tls = why.contains("certificate");
    let advice = match &context.server {
        None => Some("start a service by `keyservice serve`, or name one by --server"),
        Some(_) if is_out_of_time(why) => Some(OUT_OF_TIME),
        Some(_) if distrust.is_some() => {
            distrust.map(|distrust| of_certificates(context, distrust))
        }
        // A wrong name is explained already.
        Some(_) if why.contains("no address was found") => None,
        Some(_) if why.contains("refused") => {
            Some("nothing listens there: check the port, and whether the service runs")
        }
        Some(server) if why.contains("no answer within") => {
            let or_plaintext = if is_plaintext_likely(context, server) && !context.plaintext {
                "; a service without TLS needs --plaintext"
            } else {
                ""
            };
            return Some(if accepts(server) {
                format!("{HANGS}{or_plaintext}")
            } else {
                NOT_ACCEPTED.to_owned()
            });
        }
        Some(_) if context.plaintext => {
            let may_have_tls = why.contains("frame") || why.contains("broken pipe");
            return may_have_tls.then(|| format!("if the service has TLS, {without_plaintext}"));
        }
        Some(_) if speaks_tls => None,
        Some(server) if is_plaintext_likely(context, server) && !has_secret => {
            Some("a service without TLS needs --plaintext")
        }
        // Whoever breaks the connection must not get a token or a secret for it.
        Some(_) => Some("check the address, and that the service has TLS there"),
    };
    advice.map(str::to_owned)
}

fn of_certificates(context: &Context, distrust: Distrust) -> &'static str {
    match distrust {
        Distrust::Issuer => {
            "give the file of the authority that issued the service's certificate by --ca"
        }
        Distrust::Name => "give a name of the service's certificate by --server-name",
        Distrust::Service => "whoever runs the service must give it another certificate",
        Distrust::Caller if context.client_cert.is_some() => {
            "the service refuses the certificate of --client-cert: renew it, at an authority that the service accepts"
        }
        Distrust::Caller => {
            "the service wants a certificate of the caller: give it by --client-cert and --client-key"
        }
    }
}

const OUT_OF_TIME: &str = "whoever runs the service must renew its certificate; if that is valid now, the clock of this \
    machine is wrong";

const HANGS: &str = "connections are accepted there, but calls are not answered: the service hangs or is overloaded, \
    as its log may say, or another program listens there";

const NOT_ACCEPTED: &str = "nobody accepts a connection there: check the address, and whether a firewall drops what is \
    sent to it";

/// Whether the service is on this machine, and no setting belongs to TLS.
fn is_plaintext_likely(context: &Context, server: &str) -> bool {
    let says_tls = context.ca.is_some() || context.server_name.is_some() || context.says_who();
    let is_local = |address: &str| {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let ip = host.trim_matches(['[', ']']).parse();
        host == "localhost" || ip.is_ok_and(|ip: IpAddr| ip.is_loopback())
    };
    !says_tls && server.split(',').map(str::trim).all(is_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reaches_no_service_is_told_what_to_look_at() {
        let context = |server: Option<&str>, plaintext| Context {
            server: server.map(str::to_owned),
            plaintext,
            ..Context::default()
        };
        let far = Some("keys.example.org:50051");
        let near = Some("localhost:1, [::1]:2");
        let by_secret = Context {
            secret_file: Some("secret".into()),
            ..context(near, false)
        };
        for (context, why, said) in [
            (context(None, false), "refused", Some("keyservice serve")),
            (
                context(far, false),
                "Connection refused",
                Some("nothing listens there"),
            ),
            (
                context(far, false),
                "invalid peer certificate: UnknownIssuer",
                Some("--ca"),
            ),
            (
                context(far, false),
                "invalid peer certificate: certificate not valid for name \"a\"",
                Some("--server-name"),
            ),
            (
                context(far, false),
                "received fatal alert: CertificateRequired",
                Some("--client-cert"),
            ),
            (
                context(far, false),
                "invalid peer certificate: certificate expired: verification time 1",
                Some("must renew"),
            ),
            (context(near, false), "no answer", Some("--plaintext")),
            (context(far, false), "no answer", Some("has TLS there")),
            (by_secret, "no answer", Some("has TLS there")),
            (
                context(far, true),
                "frame with invalid size",
                Some("leave out --plaintext"),
            ),
            (context(far, true), "no answer", None),
            (context(far, true), "no answer within 1 s", Some("hangs")),
            (context(near, false), "no answer within 1 s", Some("hangs")),
            (
                context(near, false),
                "no answer within 1 s",
                Some("--plaintext"),
            ),
            (
                context(far, true),
                "no answer within 1 s, dropped",
                Some("a firewall"),
            ),
            (context(far, false), "no address was found", None),
        ] {
            let hangs = |_: &str| !why.contains("dropped");
            let advice = advice(&context, false, "leave out --plaintext", why, hangs);
            let is_right = advice.is_some() == said.is_some()
                && said
                    .is_none_or(|said| advice.as_ref().is_some_and(|advice| advice.contains(said)));
            assert!(is_right, "{why}: {advice:?}");
        }
    }
}
