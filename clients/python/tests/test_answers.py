"""The four ends of authorize(), and that none can be taken for another."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from grpc import StatusCode
from replicas import GRANT, Failure, Replica, denial, failing

from tosend_keyservice import (
    Allowed,
    Client,
    Denied,
    Misused,
    Reason,
    Refused,
    Token,
    Unavailable,
)
from tosend_keyservice.keysv1 import key_service_pb2 as keys

TOKEN = "tsend_" + "A" * 49


def test_a_grant_is_allowed(client: Client, replica: Replica) -> None:
    assert client.authorize(TOKEN, "example.com") == Allowed("key_1", "acme", None)
    assert replica.requests == [
        (
            "KeyService/Authorize",
            keys.AuthorizeRequest(token=TOKEN, domain="example.com").SerializeToString(),
        )
    ]


def test_a_grant_names_the_only_domain_of_its_key(client: Client, replica: Replica) -> None:
    scope = keys.Scope(domain="example.com")
    response = keys.AuthorizeResponse(granted=True, grant=keys.Grant(key_id="key_1", scope=scope))
    replica.answer = lambda *_: response
    assert client.authorize(Token(TOKEN), "example.com") == Allowed("key_1", "", "example.com")


@pytest.mark.parametrize(
    ("number", "reason", "http_status"),
    [
        (1, Reason.MALFORMED_TOKEN, 401),
        (2, Reason.UNKNOWN_TOKEN, 401),
        (3, Reason.REVOKED, 401),
        (4, Reason.EXPIRED, 401),
        (7, Reason.SUSPENDED, 403),
        (5, Reason.DOMAIN_NOT_ALLOWED, 403),
        (6, Reason.DOMAIN_NOT_VERIFIED, 403),
        (99, "99", 403),
    ],
)
def test_a_denial_says_why(
    client: Client, replica: Replica, number: int, reason: str, http_status: int
) -> None:
    replica.answer = lambda *_: denial(number, "key_1", "acme")
    answer = client.authorize(TOKEN, "example.com")
    assert answer == Denied(reason, "key_1", "acme")
    assert answer.http_status == http_status


def test_what_is_not_known_of_a_denied_key_is_none(client: Client, replica: Replica) -> None:
    replica.answer = lambda *_: denial(2)
    assert client.authorize(TOKEN, "example.com") == Denied("UNKNOWN_TOKEN", None, None)


@pytest.mark.parametrize(
    "response",
    [
        keys.AuthorizeResponse(granted=True),
        # These contradict themselves.
        keys.AuthorizeResponse(granted=False, grant=GRANT.grant),
        keys.AuthorizeResponse(granted=True, denial=denial(3).denial),
        # A newer server may know other scopes.
        keys.AuthorizeResponse(granted=True, grant=keys.Grant(key_id="key_1")),
        keys.AuthorizeResponse(granted=True, grant=keys.Grant(scope=keys.Scope(domain=""))),
    ],
)
def test_an_answer_without_a_decision_is_unavailable(
    client: Client, replica: Replica, response: keys.AuthorizeResponse
) -> None:
    replica.answer = lambda *_: response
    with pytest.raises(Unavailable, match="holds no decision"):
        client.authorize(TOKEN, "example.com")
    assert replica.calls == 4


def test_another_replica_is_asked_after_an_answer_without_a_decision(
    client: Client, replica: Replica
) -> None:
    responses = [keys.AuthorizeResponse(), GRANT]
    replica.answer = lambda *_: responses.pop(0)
    assert isinstance(client.authorize(TOKEN, "example.com"), Allowed)


@pytest.mark.parametrize("answer", [Allowed("key_1", "acme", None), Denied("REVOKED", None, None)])
def test_an_answer_is_neither_true_nor_false(answer: Any) -> None:
    with pytest.raises(TypeError, match="write `isinstance"):
        bool(answer)
    with pytest.raises(TypeError):
        assert not answer


@pytest.mark.parametrize("answer", [Allowed("key_1", "acme", None), Denied("REVOKED", None, None)])
def test_an_answer_cannot_be_changed(answer: Any) -> None:
    with pytest.raises(AttributeError):
        answer.key_id = "key_2"


@pytest.mark.parametrize(
    "code",
    [StatusCode.INVALID_ARGUMENT, StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED],
)
def test_a_wrong_question_is_misused_at_once(
    client: Client, replica: Replica, code: StatusCode
) -> None:
    replica.answer = failing(Failure(code, "what is wrong"))
    with pytest.raises(Misused, match=r"what is wrong") as raised:
        client.authorize(TOKEN, "example.com")
    assert raised.value.code == code.name
    assert replica.calls == 1


@pytest.mark.parametrize(
    "code",
    [
        StatusCode.CANCELLED,
        StatusCode.UNKNOWN,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.NOT_FOUND,
        StatusCode.ALREADY_EXISTS,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.ABORTED,
        StatusCode.OUT_OF_RANGE,
        StatusCode.UNIMPLEMENTED,
        StatusCode.INTERNAL,
        StatusCode.UNAVAILABLE,
        StatusCode.DATA_LOSS,
    ],
)
def test_every_other_code_is_followed_by_another_attempt(
    client: Client, replica: Replica, code: StatusCode
) -> None:
    replica.answer = failing(code)
    assert isinstance(client.authorize(TOKEN, "example.com"), Allowed)
    assert replica.calls == 2


def test_the_text_of_others_is_one_line_without_secrets(client: Client, replica: Replica) -> None:
    text = f"no\r\n\x1b[31m\x9b1m\u202e: Bearer tsop_0aZ, {TOKEN}." + "x" * 1_000
    replica.answer = failing(Failure(StatusCode.PERMISSION_DENIED, text))
    with pytest.raises(Misused) as raised:
        client.authorize(TOKEN, "example.com")
    line = str(raised.value)
    assert "no [31m 1m : Bearer tsop_…, tsend_….x" in line
    assert len(line) < 600


def test_unavailable_says_what_happened_to_each_attempt(client: Client, replica: Replica) -> None:
    codes = [StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.INTERNAL]
    replica.answer = failing(*codes, Failure(StatusCode.UNAVAILABLE, "two\nlines"))
    with pytest.raises(Unavailable) as raised:
        client.authorize(TOKEN, "example.com")
    at = replica.address
    assert str(raised.value).startswith("no answer in 4 attempts within ")
    assert str(raised.value).endswith(
        f" ms: {at} INTERNAL (as told), 2 times; "
        f"{at} UNKNOWN (as told); {at} UNAVAILABLE (two lines)"
    )


@pytest.mark.parametrize(
    ("token", "domain"), [(None, "example.com"), (b"tsend_", "example.com"), (TOKEN, None)]
)
def test_what_is_no_string_is_misused_and_not_shown(
    client: Client, replica: Replica, token: Any, domain: Any
) -> None:
    with pytest.raises(Misused, match="is a str, not") as raised:
        client.authorize(token, domain)
    assert "tsend_" not in str(raised.value)
    assert replica.calls == 0


def test_a_token_that_no_utf8_can_hold_is_asked_as_another(
    client: Client, replica: Replica
) -> None:
    client.authorize("tsend_\udcff", "\udcff")
    sent = keys.AuthorizeRequest.FromString(replica.requests[0][1])
    assert (sent.token, sent.domain) == ("tsend_?", "?")


def test_a_token_far_too_long_is_cut_so_that_a_server_takes_it(
    client: Client, replica: Replica
) -> None:
    client.authorize("\N{ROCKET}" * 100_000, "\N{ROCKET}" * 100)
    assert len(replica.requests[0][1]) < 8_192


def test_a_domain_far_too_long_is_misused(client: Client, replica: Replica) -> None:
    with pytest.raises(Misused, match="too long"):
        client.authorize(TOKEN, "a" * 100_000)
    assert replica.calls == 0


@pytest.mark.parametrize("deadline", [0, -1, float("inf"), float("nan")])
def test_a_deadline_that_is_none_is_misused(client: Client, deadline: float) -> None:
    with pytest.raises(Misused, match="deadline"):
        client.authorize(TOKEN, "example.com", deadline=deadline)


def test_a_token_does_not_print() -> None:
    token = Token(TOKEN)
    for text in (str(token), repr(token), f"{token}", f"{[token]}", f"{token!s:>20}"):
        assert TOKEN not in text
    assert token.reveal() == TOKEN
    assert token == Token(TOKEN) != Token("tsend_other")


def test_errors_survive_a_copy_and_a_pickle() -> None:
    for error in (Refused("NOT_FOUND", "no", "REASON", None), Misused("no", "UNAUTHENTICATED")):
        for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            assert (str(twin), vars(twin)) == (str(error), vars(error))
