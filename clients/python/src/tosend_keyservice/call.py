"""One call: its attempts, its deadline, and how it ends."""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from google.protobuf.message import DecodeError

from .errors import KeyServiceError, Misused, Refused, Unavailable
from .pool import Pool
from .replica import AttemptFailed, Replica, Status

T = TypeVar("T")

# A replica that does not answer in less is not taken for one that hangs: any may be as busy for a
# moment.
_TELLING_SECONDS: Final = 0.03

# The pauses before a replica is asked again: they double from the first to the last.
_FIRST_PAUSE_SECONDS: Final = 0.025
_LAST_PAUSE_SECONDS: Final = 0.1

_MISUSE: Final = frozenset({"INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED"})
_TEMPORARY: Final = frozenset(
    {
        "CANCELLED",
        "UNKNOWN",
        "DEADLINE_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "INTERNAL",
        "UNAVAILABLE",
    }
)


began: contextvars.ContextVar[float] = contextvars.ContextVar("began")
"""When the call began, by time.monotonic(), if that was in another thread than the loop's."""


@dataclass(frozen=True)
class Question(Generic[T]):
    """What to ask, and how to judge what comes back. Its repr shows no token."""

    path: str
    request: bytes
    read: Callable[[bytes], T | None]
    """Reads a response. None or a DecodeError: the attempt has failed."""
    end: Callable[[Status], KeyServiceError | None]
    """The error that ends the call after such a status. None: another attempt may help."""
    may_repeat: Callable[[Status], bool]
    """Whether another attempt does no harm."""
    is_admin: bool
    """Whether it may wait for a replica that restarts, and needs no slot."""

    def __repr__(self) -> str:
        return f"Question({self.path})"


async def ask(
    pool: Pool, question: Question[T], deadline: float, attempts: int, attempt_timeout: float
) -> T:
    """Asks one replica after another until one has answered.

    One that had no answer in its whole time says that its replica hangs. One that was cut shorter
    by the call's deadline says nothing.
    """
    loop = asyncio.get_running_loop()
    until = began.get(loop.time()) + deadline
    # Half of a short deadline: a second replica is asked if the first one hangs.
    whole = min(attempt_timeout, deadline / 2)
    pause = _FIRST_PAUSE_SECONDS
    tried: list[Replica] = []
    failures: list[str] = []
    if pool.is_empty():
        await pool.wait_until(lambda: not pool.is_empty(), until)
    while len(failures) < attempts and loop.time() < until:
        replica = pool.next(tried)
        if replica in tried:
            await asyncio.sleep(min(pause, until - loop.time()))
            pause = min(pause * 2, _LAST_PAUSE_SECONDS)
            if question.is_admin:
                # At most half of what is left, so that there is time to ask one that is not ready.
                await pool.wait_until(pool.is_ready, (loop.time() + until) / 2)
            replica = pool.next(tried)
        if replica is None:
            break
        slots = None if question.is_admin else await replica.enter(until)
        if slots is None and not question.is_admin:
            continue
        tried.append(replica)
        left = until - loop.time()
        limit = left / 2 if question.is_admin else min(left, whole)
        try:
            response = await replica.call(
                question.path,
                question.request,
                limit,
                slots,
                is_whole=limit >= max(whole, _TELLING_SECONDS),
            )
            return _read(question, response)
        except AttemptFailed as failure:
            if error := question.end(failure.status):
                raise error from None
            failures.append(f"{replica.address} {failure.status}")
            if not question.may_repeat(failure.status):
                break
    what = "; ".join(
        failure if times == 1 else f"{failure}, {times} times"
        for failure, times in Counter(failures).items()
    )
    if not failures:
        what = f"no replica was found: {pool.describe()}"
        if not pool.is_empty():
            what = "too many other calls were in flight"
    waited = (loop.time() - until + deadline) * 1000
    raise Unavailable(f"no answer in {len(tried)} attempts within {waited:.0f} ms: {what}")


def _read(question: Question[T], response: bytes) -> T:
    try:
        answer = question.read(response)
    except DecodeError:
        raise AttemptFailed(Status("UNKNOWN", "its answer cannot be read")) from None
    if answer is None:
        raise AttemptFailed(Status("UNKNOWN", "its answer holds no decision"))
    return answer


def end_of_authorize(status: Status) -> KeyServiceError | None:
    """Which statuses end an Authorize: only those of a wrong question."""
    return Misused(str(status), status.code) if status.code in _MISUSE else None


def end_of_admin_call(status: Status) -> KeyServiceError | None:
    """Which statuses end an admin call: all that are not temporary."""
    if status.code in _MISUSE:
        return Misused(str(status), status.code)
    if status.code in _TEMPORARY and status.reason != "TOO_MANY_KEYS":
        return None
    return Refused(status.code, status.message, status.reason, status.resource)


def is_without_effect(status: Status) -> bool:
    """Whether an attempt with this status has certainly changed nothing."""
    return status.code == "RESOURCE_EXHAUSTED" or status.reason == "OLDER_REPLICA"
