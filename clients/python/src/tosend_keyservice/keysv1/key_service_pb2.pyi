from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateRequest(_message.Message):
    __slots__ = ("account_id", "name", "domain", "expire_time", "request_id", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    name: str
    domain: str
    expire_time: _timestamp_pb2.Timestamp
    request_id: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, account_id: _Optional[str] = ..., name: _Optional[str] = ..., domain: _Optional[str] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., request_id: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CreateResponse(_message.Message):
    __slots__ = ("token", "key")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    token: str
    key: Key
    def __init__(self, token: _Optional[str] = ..., key: _Optional[_Union[Key, _Mapping]] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("account_id", "page_size", "page_token", "status", "domain", "all_accounts", "labels", "name_prefix", "preview", "show_total_size", "unused_since")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    ALL_ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NAME_PREFIX_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    SHOW_TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    UNUSED_SINCE_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    page_size: int
    page_token: str
    status: Key.Status
    domain: str
    all_accounts: bool
    labels: _containers.ScalarMap[str, str]
    name_prefix: str
    preview: str
    show_total_size: bool
    unused_since: _timestamp_pb2.Timestamp
    def __init__(self, account_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., status: _Optional[_Union[Key.Status, str]] = ..., domain: _Optional[str] = ..., all_accounts: bool = ..., labels: _Optional[_Mapping[str, str]] = ..., name_prefix: _Optional[str] = ..., preview: _Optional[str] = ..., show_total_size: bool = ..., unused_since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("keys", "next_page_token", "total_size", "total_size_is_minimum")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_IS_MINIMUM_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[Key]
    next_page_token: str
    total_size: int
    total_size_is_minimum: bool
    def __init__(self, keys: _Optional[_Iterable[_Union[Key, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ..., total_size_is_minimum: bool = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("key_id", "token", "account_id")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    token: str
    account_id: str
    def __init__(self, key_id: _Optional[str] = ..., token: _Optional[str] = ..., account_id: _Optional[str] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: Key
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ...) -> None: ...

class UpdateRequest(_message.Message):
    __slots__ = ("key_id", "update_mask", "name", "scope", "expire_time", "etag", "account_id", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    update_mask: _field_mask_pb2.FieldMask
    name: str
    scope: Scope
    expire_time: _timestamp_pb2.Timestamp
    etag: str
    account_id: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, key_id: _Optional[str] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., name: _Optional[str] = ..., scope: _Optional[_Union[Scope, _Mapping]] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., account_id: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class UpdateResponse(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: Key
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ...) -> None: ...

class RotateRequest(_message.Message):
    __slots__ = ("key_id", "token", "account_id", "overlap", "expire_time", "request_id")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    token: str
    account_id: str
    overlap: _duration_pb2.Duration
    expire_time: _timestamp_pb2.Timestamp
    request_id: str
    def __init__(self, key_id: _Optional[str] = ..., token: _Optional[str] = ..., account_id: _Optional[str] = ..., overlap: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class RotateResponse(_message.Message):
    __slots__ = ("token", "key", "predecessor")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    PREDECESSOR_FIELD_NUMBER: _ClassVar[int]
    token: str
    key: Key
    predecessor: Key
    def __init__(self, token: _Optional[str] = ..., key: _Optional[_Union[Key, _Mapping]] = ..., predecessor: _Optional[_Union[Key, _Mapping]] = ...) -> None: ...

class SuspendRequest(_message.Message):
    __slots__ = ("key_id", "token", "account_id", "reason")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    token: str
    account_id: str
    reason: str
    def __init__(self, key_id: _Optional[str] = ..., token: _Optional[str] = ..., account_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SuspendResponse(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: Key
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ...) -> None: ...

class ResumeRequest(_message.Message):
    __slots__ = ("key_id", "account_id")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    account_id: str
    def __init__(self, key_id: _Optional[str] = ..., account_id: _Optional[str] = ...) -> None: ...

class ResumeResponse(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: Key
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ...) -> None: ...

class RevokeRequest(_message.Message):
    __slots__ = ("key_id", "token", "account_id")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    token: str
    account_id: str
    def __init__(self, key_id: _Optional[str] = ..., token: _Optional[str] = ..., account_id: _Optional[str] = ...) -> None: ...

class RevokeResponse(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: Key
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ...) -> None: ...

class BatchRevokeRequest(_message.Message):
    __slots__ = ("filter", "keys", "account_id", "reason", "dry_run")
    class Filter(_message.Message):
        __slots__ = ("domain", "labels", "create_time_before", "unused_since")
        class LabelsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: str
            def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
        DOMAIN_FIELD_NUMBER: _ClassVar[int]
        LABELS_FIELD_NUMBER: _ClassVar[int]
        CREATE_TIME_BEFORE_FIELD_NUMBER: _ClassVar[int]
        UNUSED_SINCE_FIELD_NUMBER: _ClassVar[int]
        domain: str
        labels: _containers.ScalarMap[str, str]
        create_time_before: _timestamp_pb2.Timestamp
        unused_since: _timestamp_pb2.Timestamp
        def __init__(self, domain: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., create_time_before: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., unused_since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    class Keys(_message.Message):
        __slots__ = ("key_ids", "tokens")
        KEY_IDS_FIELD_NUMBER: _ClassVar[int]
        TOKENS_FIELD_NUMBER: _ClassVar[int]
        key_ids: _containers.RepeatedScalarFieldContainer[str]
        tokens: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, key_ids: _Optional[_Iterable[str]] = ..., tokens: _Optional[_Iterable[str]] = ...) -> None: ...
    FILTER_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    filter: BatchRevokeRequest.Filter
    keys: BatchRevokeRequest.Keys
    account_id: str
    reason: str
    dry_run: bool
    def __init__(self, filter: _Optional[_Union[BatchRevokeRequest.Filter, _Mapping]] = ..., keys: _Optional[_Union[BatchRevokeRequest.Keys, _Mapping]] = ..., account_id: _Optional[str] = ..., reason: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class BatchRevokeResponse(_message.Message):
    __slots__ = ("revoked_count", "already_revoked_count", "not_found", "there_are_more")
    REVOKED_COUNT_FIELD_NUMBER: _ClassVar[int]
    ALREADY_REVOKED_COUNT_FIELD_NUMBER: _ClassVar[int]
    NOT_FOUND_FIELD_NUMBER: _ClassVar[int]
    THERE_ARE_MORE_FIELD_NUMBER: _ClassVar[int]
    revoked_count: int
    already_revoked_count: int
    not_found: _containers.RepeatedScalarFieldContainer[int]
    there_are_more: bool
    def __init__(self, revoked_count: _Optional[int] = ..., already_revoked_count: _Optional[int] = ..., not_found: _Optional[_Iterable[int]] = ..., there_are_more: bool = ...) -> None: ...

class AuthorizeRequest(_message.Message):
    __slots__ = ("token", "domain")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    token: str
    domain: str
    def __init__(self, token: _Optional[str] = ..., domain: _Optional[str] = ...) -> None: ...

class AuthorizeResponse(_message.Message):
    __slots__ = ("grant", "denial", "granted")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    DENIAL_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    grant: Grant
    denial: Denial
    granted: bool
    def __init__(self, grant: _Optional[_Union[Grant, _Mapping]] = ..., denial: _Optional[_Union[Denial, _Mapping]] = ..., granted: bool = ...) -> None: ...

class AuthorizeStreamRequest(_message.Message):
    __slots__ = ("id", "token", "domain")
    ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    id: int
    token: str
    domain: str
    def __init__(self, id: _Optional[int] = ..., token: _Optional[str] = ..., domain: _Optional[str] = ...) -> None: ...

class AuthorizeStreamResponse(_message.Message):
    __slots__ = ("id", "grant", "denial", "error", "granted")
    ID_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    DENIAL_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    id: int
    grant: Grant
    denial: Denial
    error: _status_pb2.Status
    granted: bool
    def __init__(self, id: _Optional[int] = ..., grant: _Optional[_Union[Grant, _Mapping]] = ..., denial: _Optional[_Union[Denial, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., granted: bool = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("key_id", "account_id", "scope")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    account_id: str
    scope: Scope
    def __init__(self, key_id: _Optional[str] = ..., account_id: _Optional[str] = ..., scope: _Optional[_Union[Scope, _Mapping]] = ...) -> None: ...

class Denial(_message.Message):
    __slots__ = ("reason", "key_id", "account_id")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Denial.Reason]
        REASON_MALFORMED_TOKEN: _ClassVar[Denial.Reason]
        REASON_UNKNOWN_TOKEN: _ClassVar[Denial.Reason]
        REASON_REVOKED: _ClassVar[Denial.Reason]
        REASON_EXPIRED: _ClassVar[Denial.Reason]
        REASON_SUSPENDED: _ClassVar[Denial.Reason]
        REASON_DOMAIN_NOT_ALLOWED: _ClassVar[Denial.Reason]
        REASON_DOMAIN_NOT_VERIFIED: _ClassVar[Denial.Reason]
    REASON_UNSPECIFIED: Denial.Reason
    REASON_MALFORMED_TOKEN: Denial.Reason
    REASON_UNKNOWN_TOKEN: Denial.Reason
    REASON_REVOKED: Denial.Reason
    REASON_EXPIRED: Denial.Reason
    REASON_SUSPENDED: Denial.Reason
    REASON_DOMAIN_NOT_ALLOWED: Denial.Reason
    REASON_DOMAIN_NOT_VERIFIED: Denial.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    reason: Denial.Reason
    key_id: str
    account_id: str
    def __init__(self, reason: _Optional[_Union[Denial.Reason, str]] = ..., key_id: _Optional[str] = ..., account_id: _Optional[str] = ...) -> None: ...

class Scope(_message.Message):
    __slots__ = ("all_domains", "domain")
    ALL_DOMAINS_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    all_domains: AllDomains
    domain: str
    def __init__(self, all_domains: _Optional[_Union[AllDomains, _Mapping]] = ..., domain: _Optional[str] = ...) -> None: ...

class AllDomains(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Key(_message.Message):
    __slots__ = ("key_id", "account_id", "name", "preview", "scope", "status", "create_time", "expire_time", "revoke_time", "suspension", "predecessor", "successor", "etag", "last_used_time", "labels", "revoke_reason")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[Key.Status]
        STATUS_ACTIVE: _ClassVar[Key.Status]
        STATUS_REVOKED: _ClassVar[Key.Status]
        STATUS_EXPIRED: _ClassVar[Key.Status]
        STATUS_SUSPENDED: _ClassVar[Key.Status]
    STATUS_UNSPECIFIED: Key.Status
    STATUS_ACTIVE: Key.Status
    STATUS_REVOKED: Key.Status
    STATUS_EXPIRED: Key.Status
    STATUS_SUSPENDED: Key.Status
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    REVOKE_TIME_FIELD_NUMBER: _ClassVar[int]
    SUSPENSION_FIELD_NUMBER: _ClassVar[int]
    PREDECESSOR_FIELD_NUMBER: _ClassVar[int]
    SUCCESSOR_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_TIME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REVOKE_REASON_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    account_id: str
    name: str
    preview: str
    scope: Scope
    status: Key.Status
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    revoke_time: _timestamp_pb2.Timestamp
    suspension: Suspension
    predecessor: str
    successor: str
    etag: str
    last_used_time: _timestamp_pb2.Timestamp
    labels: _containers.ScalarMap[str, str]
    revoke_reason: str
    def __init__(self, key_id: _Optional[str] = ..., account_id: _Optional[str] = ..., name: _Optional[str] = ..., preview: _Optional[str] = ..., scope: _Optional[_Union[Scope, _Mapping]] = ..., status: _Optional[_Union[Key.Status, str]] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., revoke_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., suspension: _Optional[_Union[Suspension, _Mapping]] = ..., predecessor: _Optional[str] = ..., successor: _Optional[str] = ..., etag: _Optional[str] = ..., last_used_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., revoke_reason: _Optional[str] = ...) -> None: ...

class Suspension(_message.Message):
    __slots__ = ("reason", "time")
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    reason: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, reason: _Optional[str] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
