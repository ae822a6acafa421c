"""The admin calls: what they send, which statuses are tried again, and how they end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue
from grpc import StatusCode
from replicas import (
    NOT_SERVING,
    SERVING,
    Failure,
    Replica,
    error_info,
    failing,
    resource_info,
)

from tosend_keyservice import KEEP, Client, Misused, Refused, Token, Unavailable
from tosend_keyservice.keysv1 import account_service_pb2 as accounts
from tosend_keyservice.keysv1 import domain_service_pb2 as domains
from tosend_keyservice.keysv1 import key_service_pb2 as keys

NOON = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)
NOON_STAMP = Timestamp(seconds=1_893_499_200)
KEY = keys.Key(key_id="key_1")
TOKEN = Token("tsend_A")
ALL_DOMAINS = keys.Scope(all_domains=keys.AllDomains())
FILTER = keys.BatchRevokeRequest.Filter(domain="a.test")

CALLS: list[tuple[str, Callable[[Client], Any], Message, Message, Any]] = [
    (
        "KeyService/List",
        lambda c: c.list_keys("acme", status=keys.Key.STATUS_ACTIVE, labels={"a": "b"}),
        keys.ListRequest(account_id="acme", status=keys.Key.STATUS_ACTIVE, labels={"a": "b"}),
        keys.ListResponse(keys=[KEY]),
        keys.ListResponse(keys=[KEY]),
    ),
    (
        "KeyService/Get",
        lambda c: c.get_key("key_1", account_id="acme"),
        keys.GetRequest(key_id="key_1", account_id="acme"),
        keys.GetResponse(key=KEY),
        KEY,
    ),
    (
        "KeyService/Get",
        lambda c: c.get_key(TOKEN),
        keys.GetRequest(token="tsend_A"),
        keys.GetResponse(key=KEY),
        KEY,
    ),
    (
        "KeyService/Update",
        lambda c: c.update_key("key_1", name="new", domain=None, expire_time=None, labels=KEEP),
        keys.UpdateRequest(
            key_id="key_1",
            update_mask={"paths": ["name", "scope", "expire_time"]},
            name="new",
            scope=ALL_DOMAINS,
        ),
        keys.UpdateResponse(key=KEY),
        KEY,
    ),
    (
        "KeyService/Update",
        lambda c: c.update_key("key_1", domain="a.test", expire_time=NOON, labels={}, etag="e"),
        keys.UpdateRequest(
            key_id="key_1",
            update_mask={"paths": ["scope", "expire_time", "labels"]},
            scope=keys.Scope(domain="a.test"),
            expire_time=NOON_STAMP,
            etag="e",
        ),
        keys.UpdateResponse(key=KEY),
        KEY,
    ),
    (
        "KeyService/Suspend",
        lambda c: c.suspend_key("key_1", "why"),
        keys.SuspendRequest(key_id="key_1", reason="why"),
        keys.SuspendResponse(key=KEY),
        KEY,
    ),
    (
        "KeyService/Resume",
        lambda c: c.resume_key("key_1"),
        keys.ResumeRequest(key_id="key_1"),
        keys.ResumeResponse(key=KEY),
        KEY,
    ),
    (
        "KeyService/Revoke",
        lambda c: c.revoke_key(TOKEN, account_id="acme"),
        keys.RevokeRequest(token="tsend_A", account_id="acme"),
        keys.RevokeResponse(key=KEY),
        KEY,
    ),
    (
        "KeyService/BatchRevoke",
        lambda c: c.batch_revoke(["key_1", TOKEN, "key_2"], "leak"),
        keys.BatchRevokeRequest(
            keys=keys.BatchRevokeRequest.Keys(key_ids=["key_1", "key_2"], tokens=["tsend_A"]),
            reason="leak",
        ),
        keys.BatchRevokeResponse(revoked_count=3),
        keys.BatchRevokeResponse(revoked_count=3),
    ),
    (
        "KeyService/BatchRevoke",
        lambda c: c.batch_revoke(FILTER, "leak", account_id="acme", dry_run=True),
        keys.BatchRevokeRequest(filter=FILTER, reason="leak", account_id="acme", dry_run=True),
        keys.BatchRevokeResponse(),
        keys.BatchRevokeResponse(),
    ),
    (
        "DomainService/AddDomain",
        lambda c: c.add_domain("acme", "a.test", include_subdomains=True),
        domains.AddDomainRequest(account_id="acme", domain="a.test", include_subdomains=True),
        domains.AddDomainResponse(shared=True),
        domains.AddDomainResponse(shared=True),
    ),
    (
        "DomainService/RemoveDomain",
        lambda c: c.remove_domain("acme", "a.test"),
        domains.RemoveDomainRequest(account_id="acme", domain="a.test"),
        domains.RemoveDomainResponse(active_key_count=1),
        domains.RemoveDomainResponse(active_key_count=1),
    ),
    (
        "DomainService/ListDomains",
        lambda c: c.list_domains("acme", page_size=2, page_token="p"),
        domains.ListDomainsRequest(account_id="acme", page_size=2, page_token="p"),
        domains.ListDomainsResponse(next_page_token="q"),
        domains.ListDomainsResponse(next_page_token="q"),
    ),
    (
        "AccountService/SuspendAccount",
        lambda c: c.suspend_account("acme", "why"),
        accounts.SuspendAccountRequest(account_id="acme", reason="why"),
        accounts.SuspendAccountResponse(suspension=keys.Suspension(reason="why")),
        keys.Suspension(reason="why"),
    ),
    (
        "AccountService/ResumeAccount",
        lambda c: c.resume_account("acme"),
        accounts.ResumeAccountRequest(account_id="acme"),
        accounts.ResumeAccountResponse(),
        None,
    ),
    (
        "AccountService/GetAccount",
        lambda c: c.get_account("acme"),
        accounts.GetAccountRequest(account_id="acme"),
        accounts.GetAccountResponse(account=accounts.Account(domain_count=1)),
        accounts.Account(domain_count=1),
    ),
]


@pytest.mark.parametrize(("path", "call", "request_", "response", "result"), CALLS)
def test_each_call_sends_what_it_was_given(
    client: Client,
    replica: Replica,
    path: str,
    call: Callable[[Client], Any],
    request_: Message,
    response: Message,
    result: Any,
) -> None:
    replica.answer = lambda *_: response
    assert call(client) == result
    [(sent_path, sent)] = replica.requests
    assert (sent_path, type(request_).FromString(sent)) == (path, request_)


def test_create_has_one_request_id_for_all_attempts(client: Client, replica: Replica) -> None:
    created = keys.CreateResponse(token="tsend_secret", key=KEY)
    replica.answer = failing(StatusCode.UNAVAILABLE, then=created)
    result = client.create_key("acme", "name", domain="a.test", expire_time=NOON)
    assert (result.token, result.key) == (Token("tsend_secret"), KEY)
    assert "tsend_" not in f"{result} {result!r}"
    first, second = (keys.CreateRequest.FromString(sent) for _, sent in replica.requests)
    assert first == second
    assert len(first.request_id) == 36
    assert (first.name, first.domain, first.expire_time) == ("name", "a.test", NOON_STAMP)


def test_rotate_has_one_request_id_for_all_attempts(client: Client, replica: Replica) -> None:
    rotated = keys.RotateResponse(token="tsend_secret", key=KEY, predecessor=KEY)
    replica.answer = failing(StatusCode.INTERNAL, then=rotated)
    result = client.rotate_key(TOKEN, overlap=timedelta(0))
    assert (result.token, result.predecessor) == (Token("tsend_secret"), KEY)
    assert "tsend_" not in f"{result} {result!r}"
    first, second = (keys.RotateRequest.FromString(sent) for _, sent in replica.requests)
    assert first == second
    assert len(first.request_id) == 36
    assert first.HasField("overlap")
    assert not first.HasField("expire_time")


def test_a_key_that_a_lost_attempt_made_is_named(client: Client, replica: Replica) -> None:
    lost = Failure(StatusCode.UNAVAILABLE, "lost", (error_info("UNACKNOWLEDGED"),))
    exists = Failure(StatusCode.ALREADY_EXISTS, "it exists", (resource_info("key_1"),))
    replica.answer = failing(lost, exists, then=keys.CreateResponse())
    with pytest.raises(Refused, match=r"ALREADY_EXISTS: it exists \(key_1\)") as raised:
        client.create_key("acme", "name")
    assert (raised.value.code, raised.value.resource) == ("ALREADY_EXISTS", "key_1")


@pytest.mark.parametrize(
    "code",
    [
        StatusCode.CANCELLED,
        StatusCode.UNKNOWN,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.INTERNAL,
        StatusCode.UNAVAILABLE,
    ],
)
def test_a_temporary_status_is_followed_by_another_attempt(
    client: Client, replica: Replica, code: StatusCode
) -> None:
    replica.answer = failing(code, then=keys.RevokeResponse(key=KEY))
    assert client.revoke_key("key_1") == KEY
    assert replica.calls == 2


@pytest.mark.parametrize(
    "code",
    [
        StatusCode.NOT_FOUND,
        StatusCode.ALREADY_EXISTS,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.ABORTED,
        StatusCode.OUT_OF_RANGE,
        StatusCode.UNIMPLEMENTED,
        StatusCode.DATA_LOSS,
    ],
)
def test_any_other_status_is_a_refusal(client: Client, replica: Replica, code: StatusCode) -> None:
    failure = Failure(code, "no", (error_info("KEY_REVOKED"),))
    replica.answer = failing(failure, then=keys.RevokeResponse(key=KEY))
    with pytest.raises(Refused) as raised:
        client.revoke_key("key_1")
    refusal = raised.value
    assert (refusal.code, refusal.message, refusal.reason) == (code.name, "no", "KEY_REVOKED")
    assert replica.calls == 1


def test_too_many_keys_is_a_refusal(client: Client, replica: Replica) -> None:
    failure = Failure(StatusCode.RESOURCE_EXHAUSTED, "full", (error_info("TOO_MANY_KEYS"),))
    replica.answer = failing(failure, then=keys.CreateResponse())
    with pytest.raises(Refused, match="TOO_MANY_KEYS"):
        client.create_key("acme", "name")


@pytest.mark.parametrize(
    "code",
    [StatusCode.INVALID_ARGUMENT, StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED],
)
def test_a_wrong_call_is_misused(client: Client, replica: Replica, code: StatusCode) -> None:
    replica.answer = failing(code, then=keys.RevokeResponse())
    with pytest.raises(Misused, match=code.name):
        client.revoke_key("key_1")


def test_an_update_with_an_etag_does_not_follow_itself(client: Client, replica: Replica) -> None:
    updated = keys.UpdateResponse(key=KEY)
    replica.answer = failing(StatusCode.UNAVAILABLE, then=updated)
    with pytest.raises(Unavailable):
        client.update_key("key_1", name="new", etag="e")
    assert replica.calls == 1
    replica.answer = lambda *_: StringValue(value="\x07")  # not a key
    with pytest.raises(Unavailable, match="cannot be read"):
        client.update_key("key_1", name="new", etag="e")
    assert replica.calls == 2
    older = Failure(StatusCode.UNAVAILABLE, "older", (error_info("OLDER_REPLICA"),))
    replica.answer = failing(StatusCode.RESOURCE_EXHAUSTED, older, then=updated)
    assert client.update_key("key_1", name="new", etag="e") == KEY


def test_each_attempt_and_each_wait_takes_half_of_what_is_left(
    client: Client, replica: Replica
) -> None:
    replica.hang()
    with pytest.raises(Unavailable, match="DEADLINE_EXCEEDED"):
        client.get_key("key_1", deadline=1.6)
    assert replica.calls == 3


def test_a_call_waits_for_a_lone_replica_that_restarts(client: Client, replica: Replica) -> None:
    replica.kill()
    restarted: list[Replica] = []
    restart = threading.Timer(0.5, lambda: restarted.append(Replica(replica.port)))
    restart.start()
    try:
        client.resume_account("acme")
    finally:
        restart.join()
        restarted[0].kill()


def test_a_call_waits_for_a_replica_to_be_ready_before_it_asks_again(
    client: Client, replica: Replica
) -> None:
    is_away = True

    def answer(method: str, request: bytes) -> Message:
        if is_away:
            raise Failure(StatusCode.UNAVAILABLE)
        return keys.GetResponse(key=KEY)

    def come_back() -> None:
        nonlocal is_away
        is_away = False
        replica.set_health(SERVING)

    replica.answer = answer
    replica.set_health(NOT_SERVING)
    with pytest.raises(Unavailable):
        client.authorize(TOKEN, "a.test")  # does not wait
    coming = threading.Timer(0.5, come_back)
    coming.start()
    assert client.get_key("key_1") == KEY


def test_a_time_needs_a_zone(client: Client) -> None:
    with pytest.raises(Misused, match="time zone"):
        client.create_key("acme", "name", expire_time=datetime(2030, 1, 1))
