//! The answer to an HTTP request that may pass.
//!
//! Promises the bytes that prost would write, in one buffer.
//! Must never leave to the request a header that an upstream could take for this service's word.

use crate::{
    authorize::decision::Grant,
    grpc::authorize::{field_size, put_bytes, put_frame, put_prefix},
    model::domain::Domain,
};
use bytes::{BufMut, Bytes, BytesMut};

// Only this service gives these headers, so an upstream may rely on them.

/// The account that owns the key.
pub(super) const ACCOUNT_ID: &str = "x-keyservice-account-id";
/// The id of the key.
pub(super) const KEY_ID: &str = "x-keyservice-key-id";
/// The domain for which the key was granted, in normal form. It is absent if only the token was judged.
pub(super) const DOMAIN: &str = "x-keyservice-domain";
/// `true`, or `false` if only the token was judged.
pub(super) const DOMAIN_CHECKED: &str = "x-keyservice-domain-checked";

// The keys of fields.
const STATUS: u8 = 1 << 3 | 2;
const OK_RESPONSE: u8 = 3 << 3 | 2;
const HEADERS: u8 = 2 << 3 | 2;
const HEADERS_TO_REMOVE: u8 = 5 << 3 | 2;
const HEADER: u8 = 1 << 3 | 2;
const APPEND_ACTION: u8 = 3 << 3;
const KEY: u8 = 1 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;

const OVERWRITE_IF_EXISTS_OR_ADD: u8 = 2;

/// A status without a field, which is OK.
const OK_STATUS: [u8; 2] = [STATUS, 0];

/// Lets a request pass by this grant, for this domain if one was judged. As a message of gRPC.
pub(super) fn allowed(grant: &Grant, domain: Option<&Domain>) -> Bytes {
    let key_id = grant.key_id.to_ascii();
    let is_checked: &str = if domain.is_some() { "true" } else { "false" };
    let set: [(&str, &[u8]); 3] = [
        (ACCOUNT_ID, grant.account_id.as_str().as_bytes()),
        (KEY_ID, &key_id),
        (DOMAIN_CHECKED, is_checked.as_bytes()),
    ];
    let domain = domain.map(|domain| (DOMAIN, domain.as_str().as_bytes()));
    let set = || set.iter().copied().chain(domain);
    // A header that is set replaces all values of its name.
    let removed = domain.is_none().then_some(DOMAIN);

    let of_set: usize = set().map(|it| field_size(option_size(it))).sum();
    let of_removed = removed.map_or(0, |name| field_size(name.len()));
    let size = of_set + of_removed;
    let message = OK_STATUS.len() + field_size(size);
    let mut answer = BytesMut::with_capacity(5 + message);
    put_frame(&mut answer, message);
    answer.put_slice(&OK_STATUS);
    put_prefix(&mut answer, OK_RESPONSE, size);
    for header in set() {
        put_option(&mut answer, header);
    }
    if let Some(name) = removed {
        put_bytes(&mut answer, HEADERS_TO_REMOVE, name.as_bytes());
    }
    answer.freeze()
}

fn header_size((name, value): (&str, &[u8])) -> usize {
    field_size(name.len()) + field_size(value.len())
}

fn option_size(header: (&str, &[u8])) -> usize {
    field_size(header_size(header)) + 2
}

fn put_option(answer: &mut BytesMut, header: (&str, &[u8])) {
    put_prefix(answer, HEADERS, option_size(header));
    put_prefix(answer, HEADER, header_size(header));
    put_bytes(answer, KEY, header.0.as_bytes());
    put_bytes(answer, VALUE, header.1);
    answer.put_slice(&[APPEND_ACTION, OVERWRITE_IF_EXISTS_OR_ADD]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        grpc::envoy::{
            config::core::v3::{
                HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
            },
            service::auth::v3::{CheckResponse, OkHttpResponse, check_response::HttpResponse},
        },
        model::{
            account::AccountId,
            key::{KeyId, Scope},
            time::Timestamp,
        },
    };
    use proptest::prelude::*;
    use prost::Message;

    fn option(key: &str, value: &str) -> HeaderValueOption {
        HeaderValueOption {
            header: Some(HeaderValue {
                key: key.to_owned(),
                value: value.to_owned(),
                raw_value: Vec::new(),
            }),
            append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        }
    }

    proptest! {
        #[test]
        fn an_answer_is_written_as_prost_writes_it(
            account in "[a-z]{1,128}",
            label in prop::option::of("[a-z]{1,60}"),
        ) {
            let domain = label.map(|it| Domain::from_stored([&*it; 4].join(".")));
            let grant = Grant {
                key_id: KeyId::new(Timestamp::MAX, &[7; 10]),
                account_id: AccountId::from_stored(account.clone()),
                scope: Scope::AllDomains,
            };
            let mut headers = vec![
                option(ACCOUNT_ID, &account),
                option(KEY_ID, &grant.key_id.to_string()),
                option(DOMAIN_CHECKED, if domain.is_some() { "true" } else { "false" }),
            ];
            let mut headers_to_remove = Vec::new();
            match &domain {
                Some(domain) => headers.push(option(DOMAIN, domain.as_str())),
                None => headers_to_remove.push(DOMAIN.to_owned()),
            }
            let ok = OkHttpResponse { headers, headers_to_remove };
            let expected = CheckResponse {
                status: Some(tonic_types::Status::default()),
                http_response: Some(HttpResponse::OkResponse(ok)),
            };
            let answer = allowed(&grant, domain.as_ref());
            let (prefix, message) = answer.split_at(5);
            prop_assert_eq!(prefix[0], 0);
            let length = u32::from_be_bytes(prefix[1..].try_into().expect("four"));
            prop_assert_eq!(length as usize, message.len());
            prop_assert_eq!(message, &*expected.encode_to_vec());
        }
    }
}
