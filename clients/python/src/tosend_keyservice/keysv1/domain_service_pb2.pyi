from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AddDomainRequest(_message.Message):
    __slots__ = ("account_id", "domain", "include_subdomains")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_SUBDOMAINS_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    domain: str
    include_subdomains: bool
    def __init__(self, account_id: _Optional[str] = ..., domain: _Optional[str] = ..., include_subdomains: bool = ...) -> None: ...

class AddDomainResponse(_message.Message):
    __slots__ = ("domain", "shared")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    domain: VerifiedDomain
    shared: bool
    def __init__(self, domain: _Optional[_Union[VerifiedDomain, _Mapping]] = ..., shared: bool = ...) -> None: ...

class RemoveDomainRequest(_message.Message):
    __slots__ = ("account_id", "domain")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    domain: str
    def __init__(self, account_id: _Optional[str] = ..., domain: _Optional[str] = ...) -> None: ...

class RemoveDomainResponse(_message.Message):
    __slots__ = ("active_key_count", "active_key_count_is_minimum", "still_verified_by")
    ACTIVE_KEY_COUNT_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_KEY_COUNT_IS_MINIMUM_FIELD_NUMBER: _ClassVar[int]
    STILL_VERIFIED_BY_FIELD_NUMBER: _ClassVar[int]
    active_key_count: int
    active_key_count_is_minimum: bool
    still_verified_by: str
    def __init__(self, active_key_count: _Optional[int] = ..., active_key_count_is_minimum: bool = ..., still_verified_by: _Optional[str] = ...) -> None: ...

class ListDomainsRequest(_message.Message):
    __slots__ = ("account_id", "page_size", "page_token")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    page_size: int
    page_token: str
    def __init__(self, account_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDomainsResponse(_message.Message):
    __slots__ = ("domains", "next_page_token")
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    domains: _containers.RepeatedCompositeFieldContainer[VerifiedDomain]
    next_page_token: str
    def __init__(self, domains: _Optional[_Iterable[_Union[VerifiedDomain, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class VerifiedDomain(_message.Message):
    __slots__ = ("account_id", "domain", "include_subdomains", "create_time", "verify_time", "active_key_count", "active_key_count_is_minimum")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_SUBDOMAINS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    VERIFY_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_KEY_COUNT_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_KEY_COUNT_IS_MINIMUM_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    domain: str
    include_subdomains: bool
    create_time: _timestamp_pb2.Timestamp
    verify_time: _timestamp_pb2.Timestamp
    active_key_count: int
    active_key_count_is_minimum: bool
    def __init__(self, account_id: _Optional[str] = ..., domain: _Optional[str] = ..., include_subdomains: bool = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., verify_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., active_key_count: _Optional[int] = ..., active_key_count_is_minimum: bool = ...) -> None: ...
