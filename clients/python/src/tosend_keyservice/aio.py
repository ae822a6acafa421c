"""The client for asyncio."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

from google.protobuf.message import Message

from . import fork, metrics
from .admin import AdminCalls, R
from .answers import Allowed, Answer, read_answer
from .call import Question, ask, end_of_admin_call, end_of_authorize, is_without_effect
from .credentials import Credentials
from .errors import KeyServiceError, Misused, Unavailable
from .keysv1 import key_service_pb2 as pb
from .pool import Name, Pool
from .token import Token, as_utf8

P = ParamSpec("P")
T = TypeVar("T")

_SERVICES: Final = "/tosend.keys.v1."
# More than any token or domain has, and few enough for the servers' limit of 8 KiB. A longer
# token is none, and is none when it is cut. A longer domain must not be cut: what is left of it
# may be another domain.
_MAX_CHARACTERS: Final = 1_000


class _Pending(Coroutine[Any, Any, T]):
    """A coroutine that is not true, so that `if client.authorize(…):` without `await` fails."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine

    def __bool__(self) -> NoReturn:
        raise TypeError("this call was not awaited: write `await client.authorize(…)`")

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()


def _must_be_awaited(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return _Pending(method(*args, **kwargs))

    return call


class AsyncClient(AdminCalls):
    """Asks KeyService, from one event loop.

    Make it where the loop runs, once for the whole program, and close() it at the end, or
    use it in `async with`. It connects to all replicas at once: wait_until_ready() waits for
    one. Cancelling the task of a call ends the call at once, with CancelledError.

    `addresses` are of the form `host:port`. A host may stand for many replicas. The files are
    in PEM, but for `secret_file`, which holds a bearer secret on one line. All are read again
    when they change. Without `ca_file`, the system's authorities are trusted. `server_name`
    is the name in the servers' certificates, if it is not the host. Times are in seconds.
    An `authorize()` makes at most `attempts`, of at most `attempt_timeout` each, and of at most
    half of its deadline. An admin call makes as many, each of at most half of what is left of
    its deadline.

    Raises Misused if anything of this is wrong, or a file cannot be used.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        plaintext: bool = False,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        secret_file: str | None = None,
        server_name: str | None = None,
        deadline: float = 1.0,
        admin_deadline: float = 10.0,
        attempts: int = 4,
        attempt_timeout: float = 0.2,
    ) -> None:
        if isinstance(addresses, str) or not addresses:
            raise Misused("addresses is a list of `host:port`, with at least one")
        names = [Name.parse(address) for address in addresses]
        if attempts < 1:
            raise Misused("attempts must be at least 1")
        self._attempts = attempts
        self._attempt_timeout = _seconds("attempt_timeout", attempt_timeout)
        self._deadline = _seconds("deadline", deadline)
        self._admin_deadline = _seconds("admin_deadline", admin_deadline)
        credentials = Credentials(
            plaintext=plaintext,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            secret_file=secret_file,
        )
        if plaintext and secret_file and not all(name.is_loopback() for name in names):
            raise Misused("a bearer secret is sent in plain text only to this machine itself")
        fork.begin_use()
        self._pool = Pool(names, server_name, credentials)
        self._addresses = addresses
        self._closed = False
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._addresses)})"

    @_must_be_awaited
    async def authorize(
        self, token: str | Token, domain: str, *, deadline: float | None = None
    ) -> Answer:
        """Asks whether a token may send for a domain now.

        Returns Allowed or Denied. Raises Unavailable or Misused. No answer is kept: each call
        asks again.
        """
        began = time.monotonic()
        outcome = "cancelled"
        try:
            answer = await self._authorize(token, domain, deadline)
            outcome = "allowed" if isinstance(answer, Allowed) else "denied"
            return answer
        except KeyServiceError as error:
            outcome = type(error).__name__.lower()
            raise
        finally:
            if outcome != "cancelled":
                metrics.record_authorize(outcome, time.monotonic() - began)

    async def wait_until_ready(self, timeout: float = 10.0) -> None:
        """Waits until a replica is ready. Raises Unavailable after `timeout` seconds.

        Let your own readiness depend on it. A timeout of 0 asks whether one is ready now.
        """
        pool = self._pool
        if not await pool.wait_until(pool.is_ready, asyncio.get_running_loop().time() + timeout):
            raise Unavailable(f"no replica is ready after {timeout:g} s: {pool.describe()}")

    async def close(self) -> None:
        """Lets the calls in flight finish, and ends all connections. Later calls are Misused."""
        self._closed = True
        await self._idle.wait()
        await self._pool.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _authorize(self, token: str | Token, domain: str, deadline: float | None) -> Answer:
        if not isinstance(domain, str):
            raise Misused(f"a domain is a str, not {type(domain).__name__}")
        if len(domain) > _MAX_CHARACTERS:
            text = "the domain is too long; a domain has at most 253 characters"
            raise Misused(text, "INVALID_ARGUMENT")
        secret = token if isinstance(token, Token) else Token(token)
        request = pb.AuthorizeRequest(
            token=secret.reveal()[:_MAX_CHARACTERS], domain=as_utf8(domain)
        )
        question: Question[Answer] = Question(
            path=_SERVICES + "KeyService/Authorize",
            request=request.SerializeToString(),
            read=lambda response: read_answer(pb.AuthorizeResponse.FromString(response)),
            end=end_of_authorize,
            may_repeat=lambda _: True,
            is_admin=False,
        )
        return await self._ask(question, self._deadline if deadline is None else deadline)

    async def _call(
        self,
        path: str,
        request: Message,
        response: type[R],
        deadline: float | None,
        *,
        repeatable: bool = True,
    ) -> R:
        question = Question(
            path=_SERVICES + path,
            request=request.SerializeToString(),
            read=response.FromString,
            end=end_of_admin_call,
            may_repeat=lambda status: repeatable or is_without_effect(status),
            is_admin=True,
        )
        return await self._ask(question, self._admin_deadline if deadline is None else deadline)

    async def _ask(self, question: Question[T], deadline: float) -> T:
        if self._closed:
            raise Misused("this client is closed")
        self._calls += 1
        self._idle.clear()
        try:
            deadline = _seconds("deadline", deadline)
            return await ask(self._pool, question, deadline, self._attempts, self._attempt_timeout)
        finally:
            self._calls -= 1
            if self._calls == 0:
                self._idle.set()


def _seconds(option: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise Misused(f"{option} must be a positive number of seconds, not {value}")
    return value
