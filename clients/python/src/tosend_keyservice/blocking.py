"""The client for threads: an `AsyncClient` on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar

from . import fork
from .aio import AsyncClient
from .call import began
from .errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")
_Make = Callable[[], AsyncClient]

# The loop itself ends a call in time, and says what happened to its attempts. If it is held up, the
# caller's thread waits for no longer than this.
_GRACE_SECONDS: Final = 0.02


class _Errand(Generic[T]):
    """A coroutine that the loop runs while a thread waits for its end."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        self._coroutine = coroutine
        self._loop = loop
        self._began = time.monotonic()
        self._task: asyncio.Task[T] | None = None
        self._is_abandoned = False
        self._running = threading.Lock()
        self._running.acquire()
        loop.call_soon_threadsafe(self._begin)

    def wait(self, seconds: float) -> bool:
        """Waits for the end. False: it did not come within so many seconds."""
        return self._running.acquire(timeout=seconds)

    def abandon(self) -> None:
        """Cancels what nobody waits for any more. If the loop is held up, it never begins."""
        self._is_abandoned = True
        self._loop.call_soon_threadsafe(self._cancel)

    def result(self) -> T:
        assert self._task, "only what has begun ends"
        return self._task.result()

    def _begin(self) -> None:
        if self._is_abandoned:
            self._coroutine.close()
            return
        began.set(self._began)
        self._task = self._loop.create_task(self._coroutine)
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            # Looked at, so that asyncio does not log it if nobody waits for the call any more.
            task.exception()
        self._running.release()

    def _cancel(self) -> None:
        if self._task:
            self._task.cancel()


class _LoopThread:
    """A thread that runs an event loop, for all clients of the process.

    They share it, because gRPC wakes each event loop that uses it for every event.
    """

    _shared: _LoopThread | None = None
    _lock = threading.Lock()

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_report)
        threading.Thread(target=self._loop.run_forever, name=__package__, daemon=True).start()

    @classmethod
    def run(cls, call: Callable[[], Coroutine[Any, Any, T]], seconds: float | None = None) -> T:
        """Runs a coroutine on the loop, and waits in this thread for its end, but not for longer."""
        fork.refuse_if_lost()
        with cls._lock:
            cls._shared = cls._shared or cls()
        errand = _Errand(call(), cls._shared._loop)
        has_ended = False
        try:
            has_ended = errand.wait(_wait_of(seconds))
        finally:
            if not has_ended:
                errand.abandon()
        if not has_ended:
            raise Unavailable(f"no answer within {seconds:g} s, as the program is busy")
        try:
            return errand.result()
        finally:
            del errand  # An error that it holds would hold it, by this frame.


def _wait_of(seconds: float | None) -> float:
    """The same in the form of a lock's. The call itself refuses what is no time."""
    if seconds is None or not 0 <= seconds < threading.TIMEOUT_MAX - _GRACE_SECONDS:
        return -1
    return seconds + _GRACE_SECONDS


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # gRPC wakes all loops for an event of one of them. Those that come too late find nothing.
    if not isinstance(context.get("exception"), BlockingIOError):
        loop.default_exception_handler(context)


def _seconds_of_authorize(
    client: AsyncClient, *_: object, deadline: float | None = None, **__: object
) -> float:
    return client._deadline if deadline is None else deadline


def _seconds_of_admin_call(
    client: AsyncClient, *_: object, deadline: float | None = None, **__: object
) -> float:
    return client._admin_deadline if deadline is None else deadline


def _blocking(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
    seconds: Callable[..., float | None] = _seconds_of_admin_call,
) -> Callable[Concatenate[Client, P], T]:
    """The same method for a thread, which waits for its end, for so many seconds at most."""
    # What refuses to be true without `await` is not needed here.
    coroutine_of: Callable[..., Coroutine[Any, Any, T]] = inspect.unwrap(method)

    @functools.wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        limit = seconds(self._client, *args, **kwargs)
        make = functools.partial(coroutine_of, self._client, *args, **kwargs)
        return _LoopThread.run(make, limit)

    return call


def _takes_parameters_of(
    kind: Callable[P, AsyncClient],
) -> Callable[[Callable[[Client, _Make], None]], Callable[Concatenate[Client, P], None]]:
    """Gives a constructor the parameters of another, and calls it with what makes the other."""

    def decorate(init: Callable[[Client, _Make], None]) -> Callable[Concatenate[Client, P], None]:
        @functools.wraps(AsyncClient.__init__)
        def construct(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> None:
            init(self, functools.partial(kind, *args, **kwargs))

        return construct

    return decorate


class Client:
    """Asks KeyService. Many threads may use it at the same time.

    Its parameters and methods are those of `AsyncClient`, and each method waits for its end.
    Make it once for the whole program, and close() it at the end, or use it in `with`. An
    exception in a waiting thread, such as KeyboardInterrupt, ends its call at once.

    After a fork, neither this client nor a new one works in the child process: everything
    is Misused there. Fork first, as in gunicorn's `post_fork`, and make a client in each
    process. In a program that uses asyncio, use AsyncClient.
    """

    @_takes_parameters_of(AsyncClient)
    def __init__(self, make: _Make) -> None:
        async def make_where_the_loop_runs() -> AsyncClient:
            return make()

        self._client = _LoopThread.run(make_where_the_loop_runs)

    def __repr__(self) -> str:
        return repr(self._client).removeprefix("Async")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    authorize = _blocking(AsyncClient.authorize, _seconds_of_authorize)
    wait_until_ready = _blocking(AsyncClient.wait_until_ready, lambda _, timeout=10.0: timeout)
    close = _blocking(AsyncClient.close, lambda _: None)

    create_key = _blocking(AsyncClient.create_key)
    list_keys = _blocking(AsyncClient.list_keys)
    get_key = _blocking(AsyncClient.get_key)
    update_key = _blocking(AsyncClient.update_key)
    rotate_key = _blocking(AsyncClient.rotate_key)
    suspend_key = _blocking(AsyncClient.suspend_key)
    resume_key = _blocking(AsyncClient.resume_key)
    revoke_key = _blocking(AsyncClient.revoke_key)
    batch_revoke = _blocking(AsyncClient.batch_revoke)
    add_domain = _blocking(AsyncClient.add_domain)
    remove_domain = _blocking(AsyncClient.remove_domain)
    list_domains = _blocking(AsyncClient.list_domains)
    suspend_account = _blocking(AsyncClient.suspend_account)
    resume_account = _blocking(AsyncClient.resume_account)
    get_account = _blocking(AsyncClient.get_account)
