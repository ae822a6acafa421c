//! The table of methods: every RPC that is served, and the rules for its calls.
//!
//! Owns who may call a method, whether its calls are recorded, and what a late caller is told. The
//! layers read this table and keep no list of their own.
//! Promises that a method without a row needs an admin, and that a service without a row does not
//! compile (see [`assert_has_rows`]).
//! Must never lack an RPC of a service that is served: a test compares it with the compiled protos.

use super::proto::{account_service_server, domain_service_server, key_service_server};
use crate::{
    callers::{Role, shares::LARGEST_BATCH},
    model::audit_record::AdminMethod,
};
use prost::Message;
use strum::VariantArray;
use tonic_health::pb::{HealthCheckRequest, health_server};
use tonic_reflection::pb::{
    self as reflection, v1::server_reflection_server as reflection_v1,
    v1alpha::server_reflection_server as reflection_v1alpha,
};

/// Envoy's service, for which tonic generates no trait: `gateway` reads its messages itself.
pub(super) const GATEWAY_SERVICE: &str = "envoy.service.auth.v3.Authorization";

/// An RPC that is served.
///
/// Paths are looked up in this order, so the method that is called most comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub(super) enum Method {
    /// Decides whether a token may be used for a domain.
    Authorize,
    /// Decides that for many questions on one stream.
    AuthorizeStream,
    /// Decides whether an HTTP request may pass Envoy.
    GatewayCheck,
    /// Makes a key.
    Create,
    /// Lists an account's keys.
    List,
    /// Revokes a key.
    Revoke,
    /// Revokes many keys.
    BatchRevoke,
    /// Gives one key.
    Get,
    /// Changes a key.
    Update,
    /// Replaces a key by a successor.
    Rotate,
    /// Suspends a key.
    Suspend,
    /// Resumes a key.
    Resume,
    /// Suspends an account.
    SuspendAccount,
    /// Resumes an account.
    ResumeAccount,
    /// Says what an account has.
    GetAccount,
    /// Adds a verified domain to an account.
    AddDomain,
    /// Removes one.
    RemoveDomain,
    /// Lists an account's verified domains.
    ListDomains,
    /// Says whether the server serves.
    HealthCheck,
    /// Streams that, whenever it changes.
    HealthWatch,
    /// Describes the services.
    Reflection,
    /// Describes the services to clients that know only v1alpha.
    ReflectionV1Alpha,
}

/// Every RPC that is served, as `SERVICE/METHOD`.
pub fn method_names() -> impl Iterator<Item = &'static str> {
    Method::VARIANTS.iter().map(|method| method.name())
}

/// A row of the table.
struct Rules {
    service: &'static str,
    /// `SERVICE/METHOD`. A request's path is this behind a slash.
    name: &'static str,
    /// Whether a call sends a stream of messages. Otherwise it sends one.
    streams_requests: bool,
    access: Access,
    /// The name under which each call is recorded. `None` if calls are not recorded.
    audit: Option<AdminMethod>,
    effect: Effect,
}

/// Whether bytes are a message of a method.
pub(super) type IsMessage = fn(&[u8]) -> bool;

fn decodes<M: Message + Default>(bytes: &[u8]) -> bool {
    M::decode(bytes).is_ok()
}

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everyone, with or without credentials.
    Open,
    /// Every caller that the server knows.
    AnyCaller,
    /// Callers with this role, or with a role that covers it.
    Needs(Role),
}

/// How large the messages of a method may be, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageSize {
    /// No message that this method understands is larger. `--max-message-size` can only lower it.
    AtMost(u32),
    /// This, whatever `--max-message-size` is. Those that are larger than usual take shares of batches.
    Large(u32),
    /// As `--max-message-size` says. Those that are larger than usual take shares of large questions.
    AsSet,
}

/// A Create with every field at its longest is smaller.
pub(super) const USUAL_MESSAGE: u32 = 8 * 1024;

/// The name of a service. The longest that is served has 25 bytes.
const OPEN_MESSAGE: u32 = 256;

/// What a call does to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Reads,
    /// A write that was begun goes on when its caller's deadline passes. `advice` tells the caller
    /// how to learn what became of it.
    Writes {
        advice: &'static str,
    },
}

// What a caller can do whose deadline has passed before the answer to a write.
const CREATE_AGAIN: &str = "the key may have been created all the same: call Create again with \
     the same request_id, and the answer names that key";
const REVOKE_AGAIN: &str = "the key may have been revoked all the same: call Revoke again, which \
     waits until every replica denies the key";
const BATCH_REVOKE_AGAIN: &str = "the keys may have been revoked all the same: call BatchRevoke again, \
     which waits until every replica denies them";
const UPDATE_AGAIN: &str = "the key may have been changed all the same: Get says whether it was";
const ROTATE_AGAIN: &str = "the key may have been rotated all the same: call Rotate again with the \
     same request_id, and the answer names the successor";
const SUSPEND_AGAIN: &str = "it may have been suspended all the same: call again, which waits until \
     every replica denies it";
const RESUME_AGAIN: &str = "it may have been resumed all the same: call again";
const ADD_DOMAIN_AGAIN: &str = "the domain may have been added all the same: call AddDomain again, \
     which waits until every replica knows the domain";
const REMOVE_DOMAIN_AGAIN: &str = "the domain may have been removed all the same: call RemoveDomain \
     again, which waits until no replica grants it";

impl Method {
    #[expect(clippy::too_many_lines, reason = "a table, with a row for each RPC")]
    const fn rules(self) -> &'static Rules {
        use Access::{AnyCaller, Needs, Open};
        use Effect::{Reads, Writes};
        match self {
            Self::Authorize => &Rules {
                service: key_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.KeyService/Authorize",
                streams_requests: false,
                access: Needs(Role::Authorizer),
                audit: None,
                effect: Reads,
            },
            Self::AuthorizeStream => &Rules {
                service: key_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.KeyService/AuthorizeStream",
                streams_requests: true,
                access: Needs(Role::Authorizer),
                audit: None,
                effect: Reads,
            },
            Self::GatewayCheck => &Rules {
                service: GATEWAY_SERVICE,
                name: "envoy.service.auth.v3.Authorization/Check",
                streams_requests: false,
                access: Needs(Role::Authorizer),
                audit: None,
                effect: Reads,
            },
            Self::Create => &Rules {
                service: key_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.KeyService/Create",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::Create),
                effect: Writes {
                    advice: CREATE_AGAIN,
                },
            },
            Self::List => &Rules {
                service: key_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.KeyService/List",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::List),
                effect: Reads,
            },
            Self::Revoke => &Rules {
                service: key_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.KeyService/Revoke",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::Revoke),
                effect: Writes {
                    advice: REVOKE_AGAIN,
                },
            },
            Self::BatchRevoke => &Rules {
                service: key_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.KeyService/BatchRevoke",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::BatchRevoke),
                effect: Writes {
                    advice: BATCH_REVOKE_AGAIN,
                },
            },
            Self::Get => &Rules {
                service: key_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.KeyService/Get",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::Get),
                effect: Reads,
            },
            Self::Update => &Rules {
                service: key_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.KeyService/Update",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::Update),
                effect: Writes {
                    advice: UPDATE_AGAIN,
                },
            },
            Self::Rotate => &Rules {
                service: key_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.KeyService/Rotate",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::Rotate),
                effect: Writes {
                    advice: ROTATE_AGAIN,
                },
            },
            Self::Suspend => &Rules {
                service: key_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.KeyService/Suspend",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::Suspend),
                effect: Writes {
                    advice: SUSPEND_AGAIN,
                },
            },
            Self::Resume => &Rules {
                service: key_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.KeyService/Resume",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::Resume),
                effect: Writes {
                    advice: RESUME_AGAIN,
                },
            },
            Self::SuspendAccount => &Rules {
                service: account_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.AccountService/SuspendAccount",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::SuspendAccount),
                effect: Writes {
                    advice: SUSPEND_AGAIN,
                },
            },
            Self::ResumeAccount => &Rules {
                service: account_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.AccountService/ResumeAccount",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::ResumeAccount),
                effect: Writes {
                    advice: RESUME_AGAIN,
                },
            },
            Self::GetAccount => &Rules {
                service: account_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.AccountService/GetAccount",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::GetAccount),
                effect: Reads,
            },
            Self::AddDomain => &Rules {
                service: domain_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.DomainService/AddDomain",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::AddDomain),
                effect: Writes {
                    advice: ADD_DOMAIN_AGAIN,
                },
            },
            Self::RemoveDomain => &Rules {
                service: domain_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.DomainService/RemoveDomain",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::RemoveDomain),
                effect: Writes {
                    advice: REMOVE_DOMAIN_AGAIN,
                },
            },
            Self::ListDomains => &Rules {
                service: domain_service_server::SERVICE_NAME,
                name: "tosend.keys.v1.DomainService/ListDomains",
                streams_requests: false,
                access: Needs(Role::Admin),
                audit: Some(AdminMethod::ListDomains),
                effect: Reads,
            },
            Self::HealthCheck => &Rules {
                service: health_server::SERVICE_NAME,
                name: "grpc.health.v1.Health/Check",
                streams_requests: false,
                access: Open,
                audit: None,
                effect: Reads,
            },
            Self::HealthWatch => &Rules {
                service: health_server::SERVICE_NAME,
                name: "grpc.health.v1.Health/Watch",
                streams_requests: false,
                access: Open,
                audit: None,
                effect: Reads,
            },
            Self::Reflection => &Rules {
                service: reflection_v1::SERVICE_NAME,
                name: "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                streams_requests: true,
                access: AnyCaller,
                audit: None,
                effect: Reads,
            },
            Self::ReflectionV1Alpha => &Rules {
                service: reflection_v1alpha::SERVICE_NAME,
                name: "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                streams_requests: true,
                access: AnyCaller,
                audit: None,
                effect: Reads,
            },
        }
    }

    /// The method that a request's path names. `None` if it is not served.
    ///
    /// There are few methods, and hardly two names have the same length, so comparing them all is
    /// faster than hashing the path.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        let name = path.strip_prefix('/')?;
        let mut methods = Self::VARIANTS.iter().copied();
        methods.find(|method| method.name() == name)
    }

    /// `SERVICE/METHOD`.
    pub(super) fn name(self) -> &'static str {
        self.rules().name
    }

    pub(super) fn service(self) -> &'static str {
        self.rules().service
    }

    /// Whether a call sends a stream of messages. Otherwise it sends one.
    pub(super) fn streams_requests(self) -> bool {
        self.rules().streams_requests
    }

    /// The name under which each call is recorded. `None` if calls are not recorded.
    pub(super) const fn audited_as(self) -> Option<AdminMethod> {
        self.rules().audit
    }

    /// What a message must pass before its service reads it. `None` for the services of this crate, which
    /// check their messages themselves. Those of other crates answer `INTERNAL` to a message that they cannot
    /// read, or nothing.
    pub(super) fn is_message(self) -> Option<IsMessage> {
        match self {
            Self::Authorize
            | Self::AuthorizeStream
            | Self::GatewayCheck
            | Self::Create
            | Self::List
            | Self::Revoke
            | Self::BatchRevoke
            | Self::Get
            | Self::Update
            | Self::Rotate
            | Self::Suspend
            | Self::Resume
            | Self::SuspendAccount
            | Self::ResumeAccount
            | Self::GetAccount
            | Self::AddDomain
            | Self::RemoveDomain
            | Self::ListDomains => None,
            Self::HealthCheck | Self::HealthWatch => Some(decodes::<HealthCheckRequest>),
            Self::Reflection => Some(decodes::<reflection::v1::ServerReflectionRequest>),
            Self::ReflectionV1Alpha => {
                Some(decodes::<reflection::v1alpha::ServerReflectionRequest>)
            }
        }
    }

    /// Whether only callers with some role may call it, as is so of this product's own services.
    pub(super) fn needs_role(self) -> bool {
        matches!(self.rules().access, Access::Needs(_))
    }

    /// How large its messages may be. Strangers send those of open methods.
    pub(super) const fn message_size(self) -> MessageSize {
        match (self, self.rules().access) {
            (Self::BatchRevoke, _) => MessageSize::Large(LARGEST_BATCH),
            // It holds the body of an HTTP request.
            (Self::GatewayCheck, _) => MessageSize::AsSet,
            (_, Access::Open) => MessageSize::AtMost(OPEN_MESSAGE),
            _ => MessageSize::AtMost(USUAL_MESSAGE),
        }
    }

    /// What a caller can do when its deadline passed before the answer.
    pub(super) fn advice_at_deadline(self) -> &'static str {
        match self.rules().effect {
            Effect::Reads => "try again",
            Effect::Writes { advice } => advice,
        }
    }
}

impl Access {
    /// Who may call a method. `None` stands for every method that is not served.
    pub(super) fn to(method: Option<Method>) -> Self {
        method.map_or(Self::Needs(Role::Admin), |method| method.rules().access)
    }
}

/// Fails, at compile time where it is called so, for a service without a row in the table.
pub(super) const fn assert_has_rows(service: &str) {
    let mut at = 0;
    while at < Method::VARIANTS.len() {
        let row = Method::VARIANTS[at].rules();
        if is_same(row.service.as_bytes(), service.as_bytes()) {
            return;
        }
        at += 1;
    }
    panic!("the service has no row in the table of methods");
}

/// `==`, which cannot be called at compile time.
const fn is_same(mut left: &[u8], mut right: &[u8]) -> bool {
    while let ([a, left_rest @ ..], [b, right_rest @ ..]) = (left, right) {
        if *a != *b {
            return false;
        }
        (left, right) = (left_rest, right_rest);
    }
    left.is_empty() && right.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::DESCRIPTOR_SETS;
    use prost_types::FileDescriptorSet;
    use std::collections::BTreeSet;

    /// Each method of the compiled protos: its service, its name, and whether it streams requests.
    fn compiled() -> BTreeSet<(String, String, bool)> {
        let sets = DESCRIPTOR_SETS.map(FileDescriptorSet::decode);
        let files = sets.into_iter().flat_map(|set| set.expect("valid").file);
        let mut methods = BTreeSet::new();
        for file in files {
            for service in &file.service {
                let service_name = format!("{}.{}", file.package(), service.name());
                for method in &service.method {
                    let name = format!("{service_name}/{}", method.name());
                    methods.insert((service_name.clone(), name, method.client_streaming()));
                }
            }
        }
        methods
    }

    #[test]
    fn the_table_has_a_row_for_each_rpc_in_the_protos_and_no_other() {
        let rows = Method::VARIANTS.iter().map(|method| method.rules());
        let rows = rows.map(|row| {
            let (service, name) = (row.service.to_owned(), row.name.to_owned());
            (service, name, row.streams_requests)
        });
        assert_eq!(rows.collect::<BTreeSet<_>>(), compiled());
        assert_eq!(Method::VARIANTS.len(), compiled().len(), "no row is double");
    }

    #[test]
    fn a_write_needs_an_admin_and_every_call_that_needs_an_admin_is_recorded() {
        for method in Method::VARIANTS {
            let row = method.rules();
            let needs_admin = row.access == Access::Needs(Role::Admin);
            assert!(needs_admin || row.effect == Effect::Reads, "{method:?}");
            assert_eq!(needs_admin, row.audit.is_some(), "{method:?}");
            if let Some(recorded) = row.audit {
                let name = format!("{}/{recorded}", row.service);
                assert_eq!(row.name, name, "it is recorded under its own name");
                assert_eq!(recorded.writes(), row.effect != Effect::Reads, "{method:?}");
            }
        }
    }

    #[test]
    fn the_messages_of_every_service_of_another_crate_are_checked() {
        for method in Method::VARIANTS {
            let is_by_other_crate = method.name().starts_with("grpc.");
            let is_checked = method.is_message().is_some();
            assert_eq!(is_checked, is_by_other_crate, "{method:?}");
        }
    }

    #[test]
    fn each_method_is_found_by_its_path_and_nothing_else_is() {
        for method in Method::VARIANTS {
            let path = format!("/{}", method.name());
            assert_eq!(Method::of_path(&path), Some(*method));
            for odd in [
                method.name().to_owned(),
                format!("/{path}"),
                format!("{path}/"),
                format!("{path}?"),
                path.to_lowercase(),
                path[..path.len() - 1].to_owned(),
            ] {
                assert_eq!(Method::of_path(&odd), None, "{odd}");
            }
        }
    }

    #[test]
    fn what_is_not_in_the_table_needs_an_admin_and_is_not_recorded() {
        for path in [
            "",
            "/",
            "//",
            "/tosend.keys.v1.KeyService",
            "/tosend.keys.v1.KeyService/",
            "/tosend.keys.v1.KeyService/Rename",
            "/tosend.keys.v1.KeyService/authorize",
            "/tosend.keys.v1.KeyServices/Authorize",
            "/tosend.keys.v2.KeyService/Authorize",
            "/grpc.health.v1.Health/List",
            "/grpc.health.v1.Healthy/Check",
            "/envoy.service.auth.v2.Authorization/Check",
            "/grpc.channelz.v1.Channelz/GetServers",
        ] {
            let method = Method::of_path(path);
            assert_eq!(method, None, "{path}");
            assert_eq!(Access::to(method), Access::Needs(Role::Admin));
        }
    }

    #[test]
    fn a_service_without_a_row_is_refused() {
        for method in Method::VARIANTS {
            assert_has_rows(method.service());
        }
        for unknown in ["", "tosend.keys.v1", "tosend.keys.v1.KeyServices"] {
            let checked = std::panic::catch_unwind(|| assert_has_rows(unknown));
            assert!(checked.is_err(), "{unknown}");
        }
    }
}
