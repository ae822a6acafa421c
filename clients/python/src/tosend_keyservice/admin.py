"""The admin calls: one method for each call on keys, domains and accounts.

`key_service.proto`, `domain_service.proto` and `account_service.proto` say what each call
does. Here stands what the library adds.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from .errors import Misused
from .keysv1 import account_service_pb2 as accounts
from .keysv1 import domain_service_pb2 as domains
from .keysv1 import key_service_pb2 as keys
from .token import CreatedKey, RotatedKey, Token

R = TypeVar("R", bound=Message)
Target = TypeVar(
    "Target", keys.GetRequest, keys.RotateRequest, keys.SuspendRequest, keys.RevokeRequest
)


class Keep(Enum):
    """The type of KEEP."""

    KEEP = "KEEP"


KEEP: Final = Keep.KEEP
"""Leaves something as it is, in update_key()."""


class AdminCalls(ABC):
    """The admin calls.

    A `key` is given by its id, a str, or by its token, a `Token`. Times have a time zone.
    `deadline` is in seconds, and by default that of the client. With an `account_id`, the
    key must belong to that account.

    Every call raises Unavailable, Misused or Refused. After Unavailable, the change may or
    may not have been made: to call again does no harm. What is returned is a message of
    `tosend_keyservice.keysv1`. A field of it that is a message is always true: ask
    `key.HasField("expire_time")`.
    """

    @abstractmethod
    async def _call(
        self,
        path: str,
        request: Message,
        response: type[R],
        deadline: float | None,
        *,
        repeatable: bool = True,
    ) -> R:
        """Makes an admin call. If not repeatable, an attempt that may have had an effect is
        the last one."""

    async def create_key(
        self,
        account_id: str,
        name: str,
        *,
        domain: str | None = None,
        expire_time: datetime | None = None,
        labels: Mapping[str, str] | None = None,
        request_id: str | None = None,
        deadline: float | None = None,
    ) -> CreatedKey:
        """Creates a key, for one domain or by default for all of its account.

        No attempt makes a second key, because all have one `request_id`. If the answer to the
        first was lost, the call ends with Refused: `code` is ALREADY_EXISTS, and `resource`
        the key's id. Revoke that key, whose token can't be shown, and create another.
        """
        request = keys.CreateRequest(
            account_id=account_id,
            name=name,
            domain=domain,
            expire_time=_timestamp(expire_time),
            labels=labels,
            request_id=request_id or str(uuid.uuid4()),
        )
        response = await self._call("KeyService/Create", request, keys.CreateResponse, deadline)
        return CreatedKey(Token(response.token), response.key)

    async def list_keys(
        self,
        account_id: str = "",
        *,
        all_accounts: bool = False,
        status: keys.Key.Status = keys.Key.STATUS_UNSPECIFIED,
        domain: str | None = None,
        labels: Mapping[str, str] | None = None,
        name_prefix: str = "",
        preview: str = "",
        unused_since: datetime | None = None,
        show_total_size: bool = False,
        page_size: int = 0,
        page_token: str = "",
        deadline: float | None = None,
    ) -> keys.ListResponse:
        """Lists one page of keys, newest first. The last page has no `next_page_token`."""
        request = keys.ListRequest(
            account_id=account_id,
            all_accounts=all_accounts,
            status=status,
            domain=domain,
            labels=labels,
            name_prefix=name_prefix,
            preview=preview,
            unused_since=_timestamp(unused_since),
            show_total_size=show_total_size,
            page_size=page_size,
            page_token=page_token,
        )
        return await self._call("KeyService/List", request, keys.ListResponse, deadline)

    async def get_key(
        self, key: str | Token, *, account_id: str | None = None, deadline: float | None = None
    ) -> keys.Key:
        """Gets a key. By a token that was found, it tells whose it is."""
        request = _select(keys.GetRequest(account_id=account_id), key)
        return (await self._call("KeyService/Get", request, keys.GetResponse, deadline)).key

    async def update_key(
        self,
        key_id: str,
        *,
        name: str | Keep = KEEP,
        domain: str | None | Keep = KEEP,
        expire_time: datetime | None | Keep = KEEP,
        labels: Mapping[str, str] | Keep = KEEP,
        etag: str | None = None,
        account_id: str | None = None,
        deadline: float | None = None,
    ) -> keys.Key:
        """Changes what is given, and keeps the rest.

        `domain=None` lets the key send for every domain of its account, and
        `expire_time=None` lets it never expire.

        With an etag, the key is changed only if nobody else has changed it since. Then no
        attempt follows one that may have changed the key, as it would be refused for this
        call's own change. After Unavailable, get_key() shows whether the change was made. To
        call again instead may end with Refused, with the reason ETAG_MISMATCH.
        """
        request = keys.UpdateRequest(key_id=key_id, etag=etag, account_id=account_id)
        changed = request.update_mask.paths
        if not isinstance(name, Keep):
            changed.append("name")
            request.name = name
        if not isinstance(domain, Keep):
            changed.append("scope")
            request.scope.CopyFrom(_scope(domain))
        if not isinstance(expire_time, Keep):
            changed.append("expire_time")
            if time := _timestamp(expire_time):
                request.expire_time.CopyFrom(time)
        if not isinstance(labels, Keep):
            changed.append("labels")
            request.labels.update(labels)
        response = await self._call(
            "KeyService/Update", request, keys.UpdateResponse, deadline, repeatable=etag is None
        )
        return response.key

    async def rotate_key(
        self,
        key: str | Token,
        *,
        overlap: timedelta | None = None,
        expire_time: datetime | None = None,
        request_id: str | None = None,
        account_id: str | None = None,
        deadline: float | None = None,
    ) -> RotatedKey:
        """Replaces a key. The old one goes on working for the overlap, by default 24 hours.

        As in create_key(), the answer may be lost. Then `resource` is the successor's id:
        rotate that, with an overlap of 0.
        """
        request = keys.RotateRequest(
            account_id=account_id,
            expire_time=_timestamp(expire_time),
            request_id=request_id or str(uuid.uuid4()),
        )
        if overlap is not None:
            request.overlap.FromTimedelta(overlap)
        response = await self._call(
            "KeyService/Rotate", _select(request, key), keys.RotateResponse, deadline
        )
        return RotatedKey(Token(response.token), response.key, response.predecessor)

    async def suspend_key(
        self,
        key: str | Token,
        reason: str,
        *,
        account_id: str | None = None,
        deadline: float | None = None,
    ) -> keys.Key:
        """Suspends a key until resume_key()."""
        request = _select(keys.SuspendRequest(reason=reason, account_id=account_id), key)
        return (await self._call("KeyService/Suspend", request, keys.SuspendResponse, deadline)).key

    async def resume_key(
        self, key_id: str, *, account_id: str | None = None, deadline: float | None = None
    ) -> keys.Key:
        """Ends the suspension of a key."""
        request = keys.ResumeRequest(key_id=key_id, account_id=account_id)
        return (await self._call("KeyService/Resume", request, keys.ResumeResponse, deadline)).key

    async def revoke_key(
        self, key: str | Token, *, account_id: str | None = None, deadline: float | None = None
    ) -> keys.Key:
        """Revokes a key for good. When this returns, no replica allows it any more."""
        request = _select(keys.RevokeRequest(account_id=account_id), key)
        return (await self._call("KeyService/Revoke", request, keys.RevokeResponse, deadline)).key

    async def batch_revoke(
        self,
        which: Sequence[str | Token] | keys.BatchRevokeRequest.Filter,
        reason: str,
        *,
        account_id: str | None = None,
        dry_run: bool = False,
        deadline: float | None = None,
    ) -> keys.BatchRevokeResponse:
        """Revokes up to 10,000 keys: the given ones, or those of an account that pass a filter.

        An empty filter selects all keys of the account. Where the answer to an attempt was
        lost, the counts are those of the last attempt. In `not_found`, the places of the key
        ids come before those of the tokens.
        """
        request = keys.BatchRevokeRequest(account_id=account_id, reason=reason, dry_run=dry_run)
        if isinstance(which, keys.BatchRevokeRequest.Filter):
            request.filter.CopyFrom(which)
        else:
            tokens = [key.reveal() for key in which if isinstance(key, Token)]
            key_ids = [key for key in which if not isinstance(key, Token)]
            request.keys.CopyFrom(keys.BatchRevokeRequest.Keys(key_ids=key_ids, tokens=tokens))
        return await self._call(
            "KeyService/BatchRevoke", request, keys.BatchRevokeResponse, deadline
        )

    async def add_domain(
        self,
        account_id: str,
        domain: str,
        *,
        include_subdomains: bool = False,
        deadline: float | None = None,
    ) -> domains.AddDomainResponse:
        """Says that a domain is verified for an account."""
        request = domains.AddDomainRequest(
            account_id=account_id, domain=domain, include_subdomains=include_subdomains
        )
        return await self._call(
            "DomainService/AddDomain", request, domains.AddDomainResponse, deadline
        )

    async def remove_domain(
        self, account_id: str, domain: str, *, deadline: float | None = None
    ) -> domains.RemoveDomainResponse:
        """Takes a domain from an account. See `still_verified_by` of what this returns."""
        request = domains.RemoveDomainRequest(account_id=account_id, domain=domain)
        return await self._call(
            "DomainService/RemoveDomain", request, domains.RemoveDomainResponse, deadline
        )

    async def list_domains(
        self,
        account_id: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        deadline: float | None = None,
    ) -> domains.ListDomainsResponse:
        """Lists one page of an account's domains. The last page has no `next_page_token`."""
        request = domains.ListDomainsRequest(
            account_id=account_id, page_size=page_size, page_token=page_token
        )
        return await self._call(
            "DomainService/ListDomains", request, domains.ListDomainsResponse, deadline
        )

    async def suspend_account(
        self, account_id: str, reason: str, *, deadline: float | None = None
    ) -> keys.Suspension:
        """Denies all keys of an account until resume_account()."""
        request = accounts.SuspendAccountRequest(account_id=account_id, reason=reason)
        response = await self._call(
            "AccountService/SuspendAccount", request, accounts.SuspendAccountResponse, deadline
        )
        return response.suspension

    async def resume_account(self, account_id: str, *, deadline: float | None = None) -> None:
        """Ends the suspension of an account."""
        request = accounts.ResumeAccountRequest(account_id=account_id)
        await self._call(
            "AccountService/ResumeAccount", request, accounts.ResumeAccountResponse, deadline
        )

    async def get_account(
        self, account_id: str, *, deadline: float | None = None
    ) -> accounts.Account:
        """Says whether an account is suspended, and what it has."""
        request = accounts.GetAccountRequest(account_id=account_id)
        response = await self._call(
            "AccountService/GetAccount", request, accounts.GetAccountResponse, deadline
        )
        return response.account


def _select(request: Target, key: str | Token) -> Target:
    if isinstance(key, Token):
        request.token = key.reveal()
    else:
        request.key_id = key
    return request


def _scope(domain: str | None) -> keys.Scope:
    return (
        keys.Scope(all_domains=keys.AllDomains()) if domain is None else keys.Scope(domain=domain)
    )


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    if time.tzinfo is None:
        raise Misused(f"the time {time} has no time zone")
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp
