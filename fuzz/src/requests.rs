//! Whole requests in protobuf's encoding, the page token of a List, and the deadline of any call.

use super::{BEARER_CANARY, CANARY, assert_hides_canary, text};
use keyservice::{
    authorize::decision::DomainRule,
    callers::Caller,
    grpc::{
        authorize::question::{self, NoQuestion},
        domains::request as domain_requests,
        fields,
        keys::{
            batch_request as batch_requests, change_requests, page_token as page_tokens,
            request as requests,
        },
        layers::patience,
        proto,
        writer::Writer,
    },
    model::{
        account::AccountId,
        key::{KeyId, filter::KeyFilter},
        text::refuse_secrets,
        time::Timestamp,
        token::{Digester, Token},
    },
    store::StillAllowed,
};
use prost::Message;
use rand::{SeedableRng, rngs::StdRng};
use std::time::Duration;
use tonic::{Code, Status, metadata::MetadataMap};

/// A page token has only one spelling, and is accepted only for its own list.
pub fn page_token(bytes: &[u8]) {
    let list = |account: &str| KeyFilter {
        account_id: AccountId::parse(account.to_owned()).ok(),
        ..KeyFilter::default()
    };
    if let Some(text) = text(bytes)
        && let Ok(id) = page_tokens::decode(&list("acme"), text)
    {
        assert_eq!(page_tokens::encode(&list("acme"), id), text);
        assert!(page_tokens::decode(&list("globex"), text).is_err());
    }
    if let Some(random) = bytes.first_chunk() {
        let id = KeyId::new(Timestamp::MAX, random);
        let text = page_tokens::encode(&list("acme"), id);
        assert_eq!(page_tokens::decode(&list("acme"), &text), Ok(id));
        assert!(page_tokens::decode(&list("globex"), &text).is_err());
    }
}

/// A message is turned into values, or refused with a status that repeats nothing of it. The first
/// byte says which message it is.
pub fn request(bytes: &[u8]) {
    let Some((kind, message)) = bytes.split_first() else {
        return;
    };
    let refused = match kind % 9 {
        0 => create(message),
        1 => list(message),
        2 => revoke(message),
        3 => add_domain(message),
        4 => remove_domain(message),
        5 => list_domains(message),
        6 => update(message),
        7 => batch_revoke(message),
        _ => authorize(message),
    };
    if let Err(status) = refused {
        assert_eq!(status.code(), Code::InvalidArgument);
        let said = format!("{status:?}");
        assert_hides_canary(&said);
        assert_eq!(refuse_secrets(&said), Ok(()), "{said}");
    }
}

fn writer(caller: &Caller, now: Timestamp) -> Writer<'_> {
    Writer {
        caller,
        still_allowed: StillAllowed::always(),
        now,
    }
}

fn create(message: &[u8]) -> Result<(), Status> {
    let Ok(mut request) = proto::CreateRequest::decode(message) else {
        return Ok(());
    };
    let token = Token::generate(&mut StdRng::seed_from_u64(1));
    let (caller, digester) = (Caller::anyone(), Digester::new(None));
    let now = Timestamp::from_micros(1).expect("in range");
    let new = |request| {
        let (writer, rule) = (writer(&caller, now), DomainRule::Verified);
        requests::new_key(request, writer, &token, &digester, &[0; 10], rule, 1)
    };
    let read = new(request.clone())?;
    let key = &read.as_ref().key;
    assert_eq!(key.account_id.as_str(), request.account_id);
    assert_eq!(key.scope.domain().is_some(), request.domain.is_some());
    assert!(key.expire_time.is_none_or(|time| time > now));
    for canary in [CANARY, BEARER_CANARY] {
        let fields: [fn(&mut proto::CreateRequest, &str); 6] = [
            |request, canary| canary.clone_into(&mut request.account_id),
            |request, canary| canary.clone_into(&mut request.name),
            |request, canary| request.domain = Some(canary.to_owned()),
            |request, canary| request.request_id = Some(canary.to_owned()),
            |request, canary| request.labels = [(canary.to_owned(), String::new())].into(),
            |request, canary| request.labels = [("a".to_owned(), canary.to_owned())].into(),
        ];
        for set in fields {
            let mut request = request.clone();
            set(&mut request, canary);
            let status = new(request).expect_err("no field contains a secret");
            assert_hides_canary(&format!("{status:?}"));
        }
    }
    CANARY.clone_into(&mut request.name);
    Err(new(request).expect_err("a name contains no token"))
}

fn list(message: &[u8]) -> Result<(), Status> {
    let Ok(mut request) = proto::ListRequest::decode(message) else {
        return Ok(());
    };
    let read = requests::list_query(request.clone(), Timestamp::MAX)?;
    let query = read.as_ref();
    assert!((1..=1000).contains(&query.limit));
    assert_eq!(query.after.is_some(), !request.page_token.is_empty());
    let fields: [fn(&mut proto::ListRequest); 4] = [
        |request| CANARY.clone_into(&mut request.name_prefix),
        |request| CANARY.clone_into(&mut request.preview),
        |request| request.labels = [("a".to_owned(), CANARY.to_owned())].into(),
        |request| CANARY.clone_into(&mut request.page_token),
    ];
    for set in fields {
        let mut request = request.clone();
        set(&mut request);
        let status = requests::list_query(request, Timestamp::MAX);
        let status = status.expect_err("no filter contains a secret");
        assert_hides_canary(&format!("{status:?}"));
    }
    CANARY.clone_into(&mut request.page_token);
    let status = requests::list_query(request, Timestamp::MAX);
    Err(status.expect_err("this is not a page token"))
}

fn revoke(message: &[u8]) -> Result<(), Status> {
    use proto::revoke_request::Target;
    let Ok(mut request) = proto::RevokeRequest::decode(message) else {
        return Ok(());
    };
    let (caller, digester) = (Caller::anyone(), Digester::new(None));
    let read = |request| requests::revocation(request, writer(&caller, Timestamp::MAX), &digester);
    read(request.clone())?;
    request.target = Some(Target::KeyId(CANARY.to_owned()));
    Err(read(request).expect_err("a token is no key id"))
}

fn update(message: &[u8]) -> Result<(), Status> {
    let Ok(mut request) = proto::UpdateRequest::decode(message) else {
        return Ok(());
    };
    let (caller, now) = (
        Caller::anyone(),
        Timestamp::from_micros(1).expect("in range"),
    );
    let rule = DomainRule::Verified;
    let paths = request.update_mask.clone().unwrap_or_default().paths;
    change_requests::update(request.clone(), writer(&caller, now), rule)?;
    assert!(!paths.is_empty());
    let known = |path: &String| ["name", "scope", "expire_time", "labels"].contains(&path.as_str());
    assert!(paths.iter().all(known));
    request
        .update_mask
        .get_or_insert_default()
        .paths
        .push(CANARY.to_owned());
    let read = change_requests::update(request, writer(&caller, now), rule).map(|_| ());
    Err(read.expect_err("a token is no path"))
}

fn batch_revoke(message: &[u8]) -> Result<(), Status> {
    use proto::batch_revoke_request::Selection;
    let Ok(mut request) = proto::BatchRevokeRequest::decode(message) else {
        return Ok(());
    };
    let (caller, digester) = (Caller::anyone(), Digester::new(None));
    let read = batch_requests::batch(request.clone(), &caller, &digester)?;
    assert_eq!(read.is_dry_run, request.dry_run);
    match request.selection.as_mut().expect("it is required") {
        Selection::Filter(filter) => filter.domain = Some(CANARY.to_owned()),
        Selection::Keys(keys) => keys.key_ids.push(CANARY.to_owned()),
    }
    let read = batch_requests::batch(request, &caller, &digester);
    Err(read.expect_err("a token is no domain and no key id"))
}

fn add_domain(message: &[u8]) -> Result<(), Status> {
    let Ok(mut request) = proto::AddDomainRequest::decode(message) else {
        return Ok(());
    };
    let caller = Caller::anyone();
    let read = domain_requests::addition(request.clone(), writer(&caller, Timestamp::MAX))?;
    assert_eq!(read.as_ref().include_subdomains, request.include_subdomains);
    assert!(read.as_ref().domain.parents().next().is_some() || !request.include_subdomains);
    CANARY.clone_into(&mut request.domain);
    let read = domain_requests::addition(request, writer(&caller, Timestamp::MAX));
    Err(read.expect_err("a token is no domain"))
}

fn remove_domain(message: &[u8]) -> Result<(), Status> {
    let Ok(mut request) = proto::RemoveDomainRequest::decode(message) else {
        return Ok(());
    };
    let caller = Caller::anyone();
    domain_requests::removal(request.clone(), writer(&caller, Timestamp::MAX))?;
    CANARY.clone_into(&mut request.account_id);
    let read = domain_requests::removal(request, writer(&caller, Timestamp::MAX));
    Err(read.expect_err("a token is no account id"))
}

fn list_domains(message: &[u8]) -> Result<(), Status> {
    let Ok(mut request) = proto::ListDomainsRequest::decode(message) else {
        return Ok(());
    };
    let read = domain_requests::query(&request, Timestamp::MAX)?;
    assert!((1..=1000).contains(&read.as_ref().limit));
    CANARY.clone_into(&mut request.page_token);
    let read = domain_requests::query(&request, Timestamp::MAX);
    Err(read.expect_err("this is not a page token"))
}

fn authorize(message: &[u8]) -> Result<(), Status> {
    let Ok(request) = proto::AuthorizeRequest::decode(message) else {
        return Ok(());
    };
    let domain = fields::domain(request.domain)?;
    let again = fields::domain(domain.as_str().to_owned())?;
    assert_eq!(again, domain);
    Ok(())
}

/// The bytes of a stream are read as prost reads each message, wherever they are cut. The first byte says
/// where.
pub fn questions(bytes: &[u8]) {
    const MAX_SIZE: u32 = 100;
    let Some((cut, stream)) = bytes.split_first() else {
        return;
    };
    let whole = read_questions(&[stream], MAX_SIZE);
    let cut = usize::from(*cut).min(stream.len());
    let (begin, end) = stream.split_at(cut);
    assert_eq!(read_questions(&[begin, end], MAX_SIZE), whole);
    let mut rest = stream;
    for read in whole.0 {
        let size = u32::from_be_bytes(rest[1..5].try_into().expect("four"));
        assert!(rest[0] == 0 && size <= MAX_SIZE);
        let (message, behind) = rest[5..].split_at(size as usize);
        assert_eq!(proto::AuthorizeStreamRequest::decode(message), Ok(read));
        rest = behind;
    }
    match whole.1 {
        None => assert!(rest.len() < 5 + MAX_SIZE as usize),
        Some(NoQuestion::Compressed) => assert_eq!(rest[0], 1),
        Some(NoQuestion::NoFrame) => assert!(rest[0] > 1),
        Some(NoQuestion::TooLarge(size)) => {
            assert!(size > MAX_SIZE && rest[1..5] == size.to_be_bytes());
        }
        Some(NoQuestion::NoProtobuf) => {
            let size = u32::from_be_bytes(rest[1..5].try_into().expect("four"));
            let message = &rest[5..][..size as usize];
            proto::AuthorizeStreamRequest::decode(message).expect_err("prost refuses it, too");
        }
    }
}

/// Reads questions from pieces that come one after the other, until there is something else.
fn read_questions(
    pieces: &[&[u8]],
    max_size: u32,
) -> (Vec<proto::AuthorizeStreamRequest>, Option<NoQuestion>) {
    let (mut bytes, mut questions) = (Vec::new(), Vec::new());
    for piece in pieces {
        bytes.extend_from_slice(piece);
        loop {
            let rest = match question::first(&bytes, max_size) {
                Ok(Some((question, rest))) => {
                    questions.push(proto::AuthorizeStreamRequest {
                        id: question.id,
                        token: question.token.to_owned(),
                        domain: question.domain.to_owned(),
                    });
                    rest.to_vec()
                }
                Ok(None) => break,
                Err(why) => return (questions, Some(why)),
            };
            bytes = rest;
        }
    }
    (questions, None)
}

/// A time-out is accepted exactly as gRPC writes it: up to 8 digits and a unit.
pub fn grpc_timeout(bytes: &[u8]) {
    let Some(patience) = patience_of(bytes) else {
        return;
    };
    let (unit, digits) = bytes.split_last().expect("it was accepted");
    assert!((1..=8).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit));
    assert!(b"HMSmun".contains(unit));
    assert!(patience <= Duration::from_secs(99_999_999 * 3600));
    assert_eq!(patience_of(digits), None);
    let with_zero = [b"0", bytes].concat();
    let is_too_long = digits.len() == 8;
    let expected = (!is_too_long).then_some(patience);
    assert_eq!(patience_of(&with_zero), expected);
}

fn patience_of(bytes: &[u8]) -> Option<Duration> {
    let mut metadata = MetadataMap::new();
    metadata.insert("grpc-timeout", bytes.try_into().ok()?);
    patience(&metadata.into_headers())
}
