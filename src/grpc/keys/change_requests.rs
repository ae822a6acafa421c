//! Turns the requests that read or change one key into values.
//!
//! Promises that an invalid field is answered with INVALID_ARGUMENT, which names the field and says
//! what would be right.
//! Must never repeat a field's text in an error, because any field may contain a token by mistake.

use super::request::{Named, accounts, expire_time, key_id, labels, request_id, target};
use crate::{
    authorize::decision::DomainRule,
    callers::Caller,
    grpc::{
        fields::{domain, invalid},
        proto,
        writer::Writer,
    },
    model::{
        audit_record::AdminMethod,
        caller_name::CallerName,
        key::{
            Key, KeyId, KeyName, Reason, RequestId, Scope, Version,
            change::{KeyUpdate, Refusal},
        },
        time::Timestamp,
        token::{Digester, Preview, Token, TokenDigest},
    },
    store::{KeyLookup, KeyReplacement, KeySuspension, KeyTarget, NewKey, StillAllowed},
};
use std::time::Duration;
use tonic::Status;

/// How long a predecessor works where a Rotate does not say it.
const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest overlap that a Rotate may ask for.
const MAX_OVERLAP: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// A change of a key, as a request asks for it.
pub struct Change {
    /// The key.
    pub lookup: KeyLookup,
    kind: Kind,
    max_keys: Option<u32>,
    caller: CallerName,
    still_allowed: StillAllowed,
    now: Timestamp,
}

enum Kind {
    Update {
        update: KeyUpdate,
        etag: Option<String>,
        rule: DomainRule,
    },
    Suspend(Reason),
    Resume,
    Rotate(Rotation),
}

struct Rotation {
    overlap: Duration,
    expire_time: Option<Timestamp>,
    request_id: Option<RequestId>,
    successor: KeyId,
    digest: TokenDigest,
    preview: Preview,
}

impl Change {
    /// The next state of a key, to be stored.
    pub fn next(&self, key: &Key) -> Result<KeyReplacement, Refusal> {
        let next = match &self.kind {
            Kind::Update { update, etag, .. } => key.updated(update, etag.as_deref()),
            Kind::Suspend(reason) => key.suspended(reason, self.now),
            Kind::Resume => key.resumed(),
            Kind::Rotate(Rotation {
                successor, overlap, ..
            }) => key.rotated(*successor, *overlap, self.now),
        };
        Ok(self.replacement(next?, key))
    }

    /// The change, if it is a suspension or the end of one.
    pub(super) fn suspension(&self) -> Option<KeySuspension> {
        let reason = match &self.kind {
            Kind::Suspend(reason) => Some(reason.clone()),
            Kind::Resume => None,
            Kind::Update { .. } | Kind::Rotate(_) => return None,
        };
        Some(KeySuspension {
            target: self.lookup.target.clone(),
            accounts: self.lookup.accounts.clone(),
            reason,
            now: self.now,
            caller: self.caller.clone(),
            still_allowed: self.still_allowed.clone(),
        })
    }

    /// The change, as the store has made it of a key.
    pub(super) fn stored(&self, key: &Key) -> KeyReplacement {
        self.replacement(key.clone(), key)
    }

    /// For a key that cannot be rotated: what the store refuses, unless the request id was used before.
    /// Then an earlier call like this one may have rotated it.
    pub(super) fn repeated(&self, key: &Key) -> Option<KeyReplacement> {
        let Kind::Rotate(Rotation {
            request_id: Some(_),
            ..
        }) = &self.kind
        else {
            return None;
        };
        let unstored = Key {
            version: Version::NONE,
            ..key.clone()
        };
        Some(self.replacement(unstored, key))
    }

    /// The change, of a key whose account may have so many that are neither revoked nor expired.
    pub(super) fn limited_to(mut self, max_keys: u32) -> Self {
        self.max_keys = Some(max_keys);
        self
    }

    fn replacement(&self, next: Key, key: &Key) -> KeyReplacement {
        KeyReplacement {
            key: next,
            must_be_verified: match &self.kind {
                Kind::Update { update, rule, .. } => {
                    update.scope.is_some() && *rule == DomainRule::Verified
                }
                Kind::Suspend(_) | Kind::Resume | Kind::Rotate(_) => false,
            },
            max_keys: self.max_keys,
            successor: match &self.kind {
                Kind::Rotate(rotation) => Some(self.successor(rotation, key)),
                Kind::Update { .. } | Kind::Suspend(_) | Kind::Resume => None,
            },
            method: self.method(),
            now: self.now,
            caller: self.caller.clone(),
            still_allowed: self.still_allowed.clone(),
        }
    }

    fn successor(&self, rotation: &Rotation, key: &Key) -> NewKey {
        NewKey {
            key: Key {
                id: rotation.successor,
                account_id: key.account_id.clone(),
                name: key.name.clone(),
                preview: rotation.preview.clone(),
                scope: key.scope.clone(),
                labels: key.labels.clone(),
                create_time: self.now,
                expire_time: rotation.expire_time,
                revoke_time: None,
                revoke_reason: None,
                suspension: None,
                predecessor: Some(key.id),
                successor: None,
                version: Version::FIRST,
                last_used_time: None,
            },
            digest: rotation.digest,
            request_id: rotation.request_id.clone(),
            must_be_verified: false,
            max_keys: None,
            caller: self.caller.clone(),
            still_allowed: self.still_allowed.clone(),
        }
    }

    pub(super) fn method(&self) -> AdminMethod {
        match &self.kind {
            Kind::Update { .. } => AdminMethod::Update,
            Kind::Suspend(_) => AdminMethod::Suspend,
            Kind::Resume => AdminMethod::Resume,
            Kind::Rotate(_) => AdminMethod::Rotate,
        }
    }
}

/// Reads a Get.
pub fn lookup(
    request: proto::GetRequest,
    caller: &Caller,
    digester: &Digester,
) -> Result<KeyLookup, Status> {
    let named = request.target.map(|target| match target {
        proto::get_request::Target::KeyId(id) => Named::Id(id),
        proto::get_request::Target::Token(token) => Named::Token(token),
    });
    Ok(KeyLookup {
        target: target(named, digester)?,
        accounts: accounts(request.account_id, caller)?,
    })
}

/// Reads an Update.
pub fn update(
    request: proto::UpdateRequest,
    writer: Writer<'_>,
    rule: DomainRule,
) -> Result<Change, Status> {
    let now = writer.now;
    let key_id = key_id(&request.key_id)?;
    let mut update = KeyUpdate::default();
    for path in &masked_paths(request.update_mask)? {
        match path {
            Path::Name => {
                let name = KeyName::parse(&request.name);
                update.name = Some(name.map_err(|error| invalid("name", error))?);
            }
            Path::Scope => update.scope = Some(scope(request.scope.clone())?),
            Path::ExpireTime => {
                let time = request.expire_time.map(|time| expire_time(time, now));
                update.expire_time = Some(time.transpose()?);
            }
            Path::Labels => update.labels = Some(labels(request.labels.clone())?),
        }
    }
    let etag = request.etag;
    let kind = Kind::Update { update, etag, rule };
    change(KeyTarget::Id(key_id), request.account_id, kind, writer)
}

/// Reads a Suspend.
pub fn suspension(
    request: proto::SuspendRequest,
    writer: Writer<'_>,
    digester: &Digester,
) -> Result<Change, Status> {
    let named = request.target.map(|target| match target {
        proto::suspend_request::Target::KeyId(id) => Named::Id(id),
        proto::suspend_request::Target::Token(token) => Named::Token(token),
    });
    let target = target(named, digester)?;
    let kind = Kind::Suspend(reason(&request.reason)?);
    change(target, request.account_id, kind, writer)
}

/// Reads a Resume.
pub fn resumption(request: proto::ResumeRequest, writer: Writer<'_>) -> Result<Change, Status> {
    let target = KeyTarget::Id(key_id(&request.key_id)?);
    change(target, request.account_id, Kind::Resume, writer)
}

/// Reads a Rotate. The token and the random bits for the successor's id are arguments, so that this
/// function always gives the same result.
pub fn rotation(
    request: proto::RotateRequest,
    writer: Writer<'_>,
    token: &Token,
    digester: &Digester,
    id_bits: &[u8; 10],
) -> Result<Change, Status> {
    let now = writer.now;
    let named = request.target.map(|target| match target {
        proto::rotate_request::Target::KeyId(id) => Named::Id(id),
        proto::rotate_request::Target::Token(token) => Named::Token(token),
    });
    let target = target(named, digester)?;
    let expire_time = request.expire_time.map(|time| expire_time(time, now));
    let kind = Kind::Rotate(Rotation {
        overlap: overlap(request.overlap)?,
        expire_time: expire_time.transpose()?,
        request_id: request.request_id.map(request_id).transpose()?,
        successor: KeyId::new(now, id_bits),
        digest: digester.digest(token),
        preview: token.preview(),
    });
    change(target, request.account_id, kind, writer)
}

/// Reads the reason of a suspension, or of a revocation.
pub(in crate::grpc) fn reason(text: &str) -> Result<Reason, Status> {
    Reason::parse(text).map_err(|error| invalid("reason", error))
}

fn change(
    target: KeyTarget,
    account_id: Option<String>,
    kind: Kind,
    writer: Writer<'_>,
) -> Result<Change, Status> {
    let accounts = accounts(account_id, writer.caller)?;
    Ok(Change {
        lookup: KeyLookup { target, accounts },
        kind,
        max_keys: None,
        caller: writer.caller.name.clone(),
        still_allowed: writer.still_allowed,
        now: writer.now,
    })
}

/// A field that an Update can change.
#[derive(Clone, Copy)]
enum Path {
    Name,
    Scope,
    ExpireTime,
    Labels,
}

/// How many fields can be changed.
const ALL_PATHS: usize = 4;

fn masked_paths(mask: Option<prost_types::FieldMask>) -> Result<Vec<Path>, Status> {
    const ALLOWED: &str = "name, scope, expire_time and labels";
    let paths = mask.unwrap_or_default().paths;
    if paths.is_empty() {
        let advice = format!("is empty; name what to change: {ALLOWED} are allowed");
        return Err(invalid("update_mask", advice));
    }
    // Each path costs the parsing of its field.
    if paths.len() > ALL_PATHS {
        return Err(invalid("update_mask", "names a field more than once"));
    }
    let path = |text: String| match text.as_str() {
        "name" => Ok(Path::Name),
        "scope" => Ok(Path::Scope),
        "expire_time" => Ok(Path::ExpireTime),
        "labels" => Ok(Path::Labels),
        _ => {
            let advice = format!("has a path that cannot be changed; {ALLOWED} are allowed");
            Err(invalid("update_mask", advice))
        }
    };
    paths.into_iter().map(path).collect()
}

fn scope(scope: Option<proto::Scope>) -> Result<Scope, Status> {
    use proto::scope::Kind;
    match scope.and_then(|scope| scope.kind) {
        Some(Kind::AllDomains(_)) => Ok(Scope::AllDomains),
        Some(Kind::Domain(text)) => Ok(Scope::Domain(domain(text)?)),
        None => Err(invalid("scope", "is missing; give all_domains or domain")),
    }
}

fn overlap(overlap: Option<prost_types::Duration>) -> Result<Duration, Status> {
    let Some(overlap) = overlap else {
        return Ok(DEFAULT_OVERLAP);
    };
    let overlap = u64::try_from(overlap.seconds)
        .ok()
        .zip(u32::try_from(overlap.nanos).ok())
        .filter(|(_, nanos)| *nanos < 1_000_000_000)
        .map(|(seconds, nanos)| Duration::new(seconds, nanos));
    let advice = "must be from 0 to 90 days (7776000s)";
    overlap
        .filter(|overlap| *overlap <= MAX_OVERLAP)
        .ok_or_else(|| invalid("overlap", advice))
}
