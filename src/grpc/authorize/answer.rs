//! An answer, written where HTTP/2 takes it.
//!
//! Promises the bytes that prost would write.
//! Must never be larger than [`MAX_ANSWER`], whatever was asked.

use crate::{
    authorize::{
        decision::{Decision, Denial, DenialReason, Grant},
        lease::NoLease,
    },
    grpc::{errors::unavailable, proto::denial::Reason},
    model::key::Scope,
};
use bytes::{BufMut, BytesMut};
use prost::{
    Message,
    encoding::{encode_varint, encoded_len_varint},
};
use tonic::Status;

/// Size in bytes of the largest answer: a grant with the longest account id and domain takes 452, and denials
/// and errors less.
pub(super) const MAX_ANSWER: usize = 512;

/// Size in bytes of most answers.
pub(super) const USUAL_ANSWER: usize = 128;

/// The answer to one question: the decision, or why there is none.
pub(super) type Answer = Result<Decision, Status>;

// The keys of fields: their numbers, and that they are numbers themselves or have a length.
const ID: u8 = 1 << 3;
const ERROR: u8 = 4 << 3 | 2;
const KEY_ID: u8 = 1 << 3 | 2;
const ACCOUNT_ID: u8 = 2 << 3 | 2;
const SCOPE: u8 = 3 << 3 | 2;
const ALL_DOMAINS: u8 = 1 << 3 | 2;
const DOMAIN: u8 = 2 << 3 | 2;
const REASON: u8 = 1 << 3;
const DENIED_KEY_ID: u8 = 2 << 3 | 2;
const DENIED_ACCOUNT_ID: u8 = 3 << 3 | 2;

/// A message that answers, by the keys of those fields that stand elsewhere in the other one.
#[derive(Clone, Copy)]
struct Fields {
    grant: u8,
    denial: u8,
    granted: u8,
}

impl Fields {
    /// An `AuthorizeResponse`.
    const OF_CALL: Self = Self {
        grant: 1 << 3 | 2,
        denial: 2 << 3 | 2,
        granted: 3 << 3,
    };

    /// An `AuthorizeStreamResponse`.
    const OF_STREAM: Self = Self {
        grant: 2 << 3 | 2,
        denial: 3 << 3 | 2,
        granted: 5 << 3,
    };
}

/// This replica cannot prove that its memory is current.
pub(in crate::grpc) fn no_lease(why: NoLease) -> Status {
    unavailable(
        why.into(),
        format!("{why}; try again, or ask another replica"),
    )
}

/// Writes the answer to a call, as a message of gRPC.
pub(super) fn put_decision(answers: &mut BytesMut, decision: &Decision) {
    put_decision_as(Fields::OF_CALL, answers, 0, decision);
}

/// Writes the answer to a question on a stream, as a message of gRPC.
pub(super) fn put(answers: &mut BytesMut, id: u64, answer: &Answer) {
    match answer {
        Ok(decision) => put_decision_as(Fields::OF_STREAM, answers, id, decision),
        Err(status) => {
            let error = encoded(status);
            begin(answers, id, ERROR, error.len(), 0);
            answers.put_slice(&error);
        }
    }
}

fn put_decision_as(fields: Fields, answers: &mut BytesMut, id: u64, decision: &Decision) {
    match decision {
        Decision::Grant(grant) => {
            put_grant(fields, answers, id, grant);
            answers.put_slice(&[fields.granted, 1]);
        }
        Decision::Denial(denial) => put_denial(fields.denial, answers, id, denial),
    }
}

/// Writes all that stands before the inner message: its length, and the answer's own, to which belong so many
/// bytes behind the inner message.
fn begin(answers: &mut BytesMut, id: u64, field: u8, length: usize, behind: usize) {
    let id_size = if id == 0 {
        0
    } else {
        1 + encoded_len_varint(id)
    };
    let size = id_size + field_size(length) + behind;
    answers.reserve(5 + size);
    put_frame(answers, size);
    if id != 0 {
        answers.put_u8(ID);
        encode_varint(id, answers);
    }
    put_prefix(answers, field, length);
}

fn put_grant(fields: Fields, answers: &mut BytesMut, id: u64, grant: &Grant) {
    let (key_id, account_id) = (grant.key_id.to_ascii(), grant.account_id.as_str());
    let scope = match &grant.scope {
        Scope::AllDomains => (ALL_DOMAINS, ""),
        Scope::Domain(domain) => (DOMAIN, domain.as_str()),
    };
    let scope_size = field_size(scope.1.len());
    let size = field_size(key_id.len()) + text_size(account_id) + field_size(scope_size);
    begin(answers, id, fields.grant, size, 2);
    put_bytes(answers, KEY_ID, &key_id);
    put_text(answers, ACCOUNT_ID, account_id);
    put_prefix(answers, SCOPE, scope_size);
    put_bytes(answers, scope.0, scope.1.as_bytes());
}

fn put_denial(field: u8, answers: &mut BytesMut, id: u64, denial: &Denial) {
    let reason = [REASON, denial_reason(denial.reason) as u8];
    let Some(key) = &denial.key else {
        begin(answers, id, field, reason.len(), 0);
        answers.put_slice(&reason);
        return;
    };
    let (key_id, account_id) = (key.id.to_ascii(), key.account_id.as_str());
    let size = reason.len() + field_size(key_id.len()) + text_size(account_id);
    begin(answers, id, field, size, 0);
    answers.put_slice(&reason);
    put_bytes(answers, DENIED_KEY_ID, &key_id);
    put_text(answers, DENIED_ACCOUNT_ID, account_id);
}

fn denial_reason(reason: DenialReason) -> Reason {
    match reason {
        DenialReason::MalformedToken => Reason::MalformedToken,
        DenialReason::UnknownToken => Reason::UnknownToken,
        DenialReason::Revoked => Reason::Revoked,
        DenialReason::Expired => Reason::Expired,
        DenialReason::Suspended => Reason::Suspended,
        DenialReason::DomainNotAllowed => Reason::DomainNotAllowed,
        DenialReason::DomainNotVerified => Reason::DomainNotVerified,
    }
}

/// Writes what gRPC has before a message of this size: that it is not compressed, and its size.
pub(in crate::grpc) fn put_frame(answers: &mut BytesMut, size: usize) {
    answers.put_u8(0);
    answers.put_u32(u32::try_from(size).expect("an answer is small"));
}

/// The size of a field that has a length.
pub(in crate::grpc) fn field_size(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

/// Writes the key of a field that has a length, and this length.
pub(in crate::grpc) fn put_prefix(answers: &mut BytesMut, field: u8, length: usize) {
    answers.put_u8(field);
    encode_varint(length as u64, answers);
}

/// Writes a field of bytes or text.
pub(in crate::grpc) fn put_bytes(answers: &mut BytesMut, field: u8, bytes: &[u8]) {
    put_prefix(answers, field, bytes.len());
    answers.put_slice(bytes);
}

/// The size of a field with a text, which is not written if it is empty.
fn text_size(text: &str) -> usize {
    match text.len() {
        0 => 0,
        length => field_size(length),
    }
}

fn put_text(answers: &mut BytesMut, field: u8, text: &str) {
    if !text.is_empty() {
        put_bytes(answers, field, text.as_bytes());
    }
}

/// A status as a `google.rpc.Status`.
fn encoded(status: &Status) -> Vec<u8> {
    // The details of a status are the whole of it.
    if !status.details().is_empty() {
        return status.details().to_vec();
    }
    let status = tonic_types::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    };
    status.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        authorize::decision::DeniedKey,
        grpc::{errors, fields, keys, proto},
        model::{account::AccountId, domain::Domain, key::KeyId, time::Timestamp},
    };
    use proptest::prelude::*;
    use proto::authorize_stream_response::Answer as ProtoAnswer;
    use strum::VariantArray;

    /// The message that was written, as gRPC frames it.
    fn read<M: Message + Default>(bytes: &[u8]) -> M {
        let (prefix, message) = bytes.split_at(5);
        let length = u32::try_from(message.len()).expect("short").to_be_bytes();
        assert_eq!(prefix, [&[0], &length[..]].concat());
        let read = M::decode(message).expect("it is a message");
        assert_eq!(read.encode_to_vec(), message, "as prost writes it");
        read
    }

    /// The answer on a stream as a client reads it, and its size.
    fn written(id: u64, answer: &Answer) -> (proto::AuthorizeStreamResponse, usize) {
        let mut bytes = BytesMut::new();
        put(&mut bytes, id, answer);
        (read(&bytes), bytes.len())
    }

    fn message(decision: Decision) -> proto::authorize_response::Decision {
        use proto::authorize_response::Decision::{Denial, Grant};
        match decision {
            Decision::Grant(grant) => Grant(proto::Grant {
                key_id: grant.key_id.to_string(),
                account_id: grant.account_id.into_string(),
                scope: Some(keys::scope(grant.scope)),
            }),
            Decision::Denial(denial) => {
                let key = denial.key;
                let ids = key.map(|key| (key.id.to_string(), key.account_id.into_string()));
                let (key_id, account_id) = ids.unwrap_or_default();
                Denial(proto::Denial {
                    reason: denial_reason(denial.reason).into(),
                    key_id,
                    account_id,
                })
            }
        }
    }

    proptest! {
        #[test]
        fn a_decision_is_written_as_a_client_reads_it(
            id: u64,
            account in "[a-z:]{0,128}",
            domain in prop::option::of("[a-z]{1,60}(\\.[a-z]{1,60}){0,3}"),
            random: [u8; 10],
        ) {
            let domain = domain.map(|domain| Domain::parse(domain).expect("a domain"));
            let (key_id, account_id) = (
                KeyId::new(Timestamp::MAX, &random),
                AccountId::from_stored(account),
            );
            let key = DeniedKey { id: key_id, account_id: account_id.clone() };
            let grant = Decision::Grant(Grant {
                key_id,
                account_id,
                scope: Scope::from_domain(domain),
            });
            let denials = DenialReason::VARIANTS.iter().flat_map(|&reason| {
                [None, Some(key.clone())].map(|key| Decision::Denial(super::Denial { reason, key }))
            });
            for decision in denials.chain([grant]) {
                let is_grant = matches!(decision, Decision::Grant(_));
                let (read, size) = written(id, &Ok(decision.clone()));
                prop_assert!(size <= MAX_ANSWER);
                prop_assert_eq!(read.id, id);
                let mut of_call = BytesMut::new();
                put_decision(&mut of_call, &decision);
                let of_call: proto::AuthorizeResponse = self::read(&of_call);
                prop_assert_eq!((of_call.granted, read.granted), (is_grant, is_grant));
                let expected = message(decision);
                prop_assert_eq!(of_call.decision.as_ref(), Some(&expected));
                let told = match read.answer.expect("an answer") {
                    ProtoAnswer::Grant(grant) => proto::authorize_response::Decision::Grant(grant),
                    ProtoAnswer::Denial(denial) => proto::authorize_response::Decision::Denial(denial),
                    ProtoAnswer::Error(error) => panic!("{error:?}"),
                };
                prop_assert_eq!(told, expected);
            }
        }
    }

    #[test]
    fn an_error_is_written_as_the_status_of_an_authorize_with_its_details() {
        let invalid = [
            "",
            "a@b.example",
            "*.a.example",
            "1.2.3.4",
            "a b",
            &"a".repeat(2000),
        ];
        let invalid = invalid.map(|text| fields::domain(text.to_owned()).expect_err("invalid"));
        let no_lease = NoLease::VARIANTS.iter().copied().map(no_lease);
        let others = [errors::unauthenticated(), errors::not_permitted()];
        for status in invalid.into_iter().chain(no_lease).chain(others) {
            let (read, size) = written(u64::MAX, &Err(status.clone()));
            assert!(size <= MAX_ANSWER, "{size} {status}");
            let Some(ProtoAnswer::Error(error)) = read.answer else {
                panic!("no error: {read:?}");
            };
            assert!(!read.granted);
            assert_eq!(error.code, i32::from(status.code()));
            assert_eq!(error.message, status.message());
            assert_eq!(error.details.is_empty(), status.details().is_empty());
        }
    }
}
