//! What Envoy asks about an HTTP request.

use super::assert_hides_canary;
use keyservice::{
    authorize::{Authorizer, decision::DomainRule},
    grpc::{
        envoy::service::auth::v3::{CheckRequest, CheckResponse, check_response::HttpResponse},
        gateway::{
            check,
            request::{Part, read},
        },
    },
    model::{account::Accounts, time::Moment, token::Digester},
};
use prost::Message;
use std::sync::LazyLock;
use tonic::Code;

/// It knows no key.
static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(|| {
    let authorizer = Authorizer::new(Digester::new(None), DomainRule::Verified);
    authorizer.lease().extend(Moment::LATEST);
    authorizer
});

/// A message is read as prost reads it. No request passes without a key, and no answer repeats anything.
pub fn gateway(message: &[u8]) {
    let mut parts = Vec::new();
    let is_read = read(message, &mut |part| parts.push(part)).is_ok();
    if let Ok(request) = CheckRequest::decode(message) {
        assert!(is_read);
        assert_has_parts(&parts, request);
    }
    match check(&AUTHORIZER, &Accounts::All, message) {
        Ok(answer) => {
            let (prefix, answer) = answer.split_at(5);
            assert_eq!(
                prefix[1..],
                u32::try_from(answer.len()).expect("short").to_be_bytes()
            );
            let answer = CheckResponse::decode(answer).expect("it is one");
            assert_hides_canary(&format!("{answer:?}"));
            let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else {
                panic!("a request passes");
            };
            assert!(answer.status.is_some_and(|status| status.code != 0));
            assert!((400..=503).contains(&denied.status.expect("it has one").code));
            assert_hides_canary(&denied.body);
        }
        Err(status) => {
            assert!(!is_read);
            assert_eq!(status.code(), Code::InvalidArgument);
            assert_hides_canary(&format!("{status:?}"));
        }
    }
}

fn assert_has_parts(parts: &[Part<'_>], request: CheckRequest) {
    let attributes = request.attributes.unwrap_or_default();
    for (name, value) in &attributes.context_extensions {
        assert!(parts.contains(&Part::Extension(name, value)));
    }
    let http = attributes.request.unwrap_or_default().http;
    assert_eq!(parts.contains(&Part::Http), http.is_some());
    let http = http.unwrap_or_default();
    for (name, value) in &http.headers {
        assert!(parts.contains(&Part::Header(name, value.as_bytes())));
    }
    for header in &http.header_map.unwrap_or_default().headers {
        let value = match &header.raw_value[..] {
            [] => header.value.as_bytes(),
            raw => raw,
        };
        assert!(parts.contains(&Part::Header(&header.key, value)));
    }
    let raw = &*http.raw_body;
    assert!(raw.is_empty() || parts.contains(&Part::Body(raw)));
    let text = &*http.body;
    assert!(text.is_empty() || parts.contains(&Part::TextBody(text)));
}
