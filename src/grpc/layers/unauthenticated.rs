//! The log's line about a call that was refused because nobody knows its caller.
//!
//! Must never repeat what the call has brought, but for the names in a certificate that was verified.

use crate::{
    callers::{certificate_name::CertificateName, credentials::Credentials},
    grpc::{errors::Unauthenticated, methods::Method},
    net::connection::Peer,
    observe::repeated_line::RepeatedLine,
};
use http::Request;
use std::{fmt, time::Instant};
use tonic::body::Body;

/// Says why a call was refused: its caller may lack a line in the credentials file by mistake, and many clients keep
/// the answer to themselves. A stranger may call at will.
pub(super) fn log_unauthenticated(
    why: Unauthenticated,
    method: Option<Method>,
    credentials: &Credentials,
    request: &Request<Body>,
) {
    static LINE: RepeatedLine = RepeatedLine::new();
    let Some(left_out) = LINE.admit(Instant::now()) else {
        return;
    };
    let method = method.map(Method::name);
    let names = request.extensions().get::<Peer>();
    let names = names.map_or(&[][..], |peer| &peer.names);
    match (why, credentials.find_by_certificate(names)) {
        (Unauthenticated::AmbiguousCertificate, Err(ambiguous)) => {
            tracing::warn!(left_out, method, "a call was refused: {ambiguous}");
        }
        (Unauthenticated::UnknownCertificate, _) => {
            let names = Names(names);
            tracing::warn!(left_out, method, %names, "a call was refused: {}", why.text());
        }
        _ => tracing::warn!(left_out, method, "a call was refused: {}", why.text()),
    }
}

/// The first names of a certificate, as the credentials file spells them.
struct Names<'a>(&'a [CertificateName]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 4;
        const MAX_LEN: usize = 200;
        for (number, name) in self.0.iter().take(MOST).enumerate() {
            let (CertificateName::Uri(text) | CertificateName::Dns(text)) = name;
            let text = text.chars().take(MAX_LEN).collect::<String>();
            let separator = if number == 0 { "" } else { " " };
            write!(f, "{separator}{}", text.escape_debug())?;
        }
        Ok(())
    }
}
