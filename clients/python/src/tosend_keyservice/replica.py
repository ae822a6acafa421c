"""One replica of the service: its connection, and the watch of its health.

A replica has one HTTP/2 connection. The watch sets `ready`. An attempt that was not
answered in time unsets it, until a new watch says that the replica serves.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import Int32Value, StringValue
from google.rpc import error_details_pb2, status_pb2

from . import metrics
from ._version import VERSION
from .credentials import Credentials
from .slots import Slots

_log = logging.getLogger(__package__)

# How long a suspected replica may say nothing before its connection counts as dead.
_SILENCE_SECONDS: Final = 1.0
# The pauses between failing watches: they double from the first to the last.
_FIRST_PAUSE_SECONDS: Final = 0.1
_LAST_PAUSE_SECONDS: Final = 1.0

# Behind the reading of an answer: those of gRPC, and the one that waits for it.
_TASKS_THAT_PASS_ON: Final = 4

# Health messages, in the same wire form as grpc.health.v1's: a request whose field 1 is a
# string, and a response whose field 1 is an enum. A copy of the real ones could not be
# loaded beside that of the package grpcio-health-checking.
_WATCHED: Final = StringValue(value="tosend.keys.v1.KeyService").SerializeToString()
_SERVING: Final = 1

_OPTIONS: Final = [
    # Each channel is a connection of its own. By default, channels share them.
    ("grpc.use_local_subchannel_pool", 1),
    # This library alone decides what is tried again, where, and when. gRPC itself repeats only
    # what a connection that ends has not begun.
    ("grpc.enable_retries", 1),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # How long connecting may take. The default of 20 s is long for a host that came back.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.primary_user_agent", f"tosend-keyservice-python/{VERSION}"),
]


class Address(NamedTuple):
    """Where a replica listens."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"

    def as_target(self) -> str:
        """The address as gRPC reads it, so that nothing is looked up again."""
        return f"ipv6:{self}" if ":" in self.ip else f"ipv4:{self}"


class Status(NamedTuple):
    """How an attempt failed: the gRPC code's name, and what the server said."""

    code: str
    message: str
    reason: str | None = None
    resource: str | None = None

    def __str__(self) -> str:
        return f"{self.code} ({self.message})" if self.message else self.code


class AttemptFailed(Exception):
    """One attempt had no answer."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


class Replica:
    """A replica, from when its address was found until close()."""

    def __init__(
        self,
        address: Address,
        server_name: str,
        credentials: Credentials,
        changed: Callable[[], None],
    ) -> None:
        self.address = address
        self.ready = False
        self.trouble = "it has not answered yet"
        self._server_name = server_name
        self._credentials = credentials
        self._changed = changed
        self._slots = Slots()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._suspicion: asyncio.TimerHandle | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        metrics.add_replicas(1, ready=False)
        self._connect()

    @property
    def is_full(self) -> bool:
        """Whether an attempt would wait in enter()."""
        return self._slots.are_taken

    async def enter(self, until: float) -> Slots | None:
        """Takes a slot for one attempt. None: choose a replica again, if there is time left."""
        slots, had_to_wait = self._slots, self._slots.are_taken
        if not await slots.take(until):
            return None
        if had_to_wait and (not self.ready or self._loop.time() >= until):
            slots.give_back()
            return None
        return slots

    async def call(
        self, path: str, request: bytes, timeout: float, slots: Slots | None, *, is_whole: bool
    ) -> bytes:
        """Makes one attempt, in the slot if there is one. Raises AttemptFailed.

        If it had its whole time and no answer, the replica is not ready.
        """
        began = self._loop.time()
        code = "CANCELLED"  # unless it ends by itself
        is_unread = False
        try:
            response = await self._connection.call(
                path, request, timeout, self._credentials.metadata
            )
            code = "OK"
            return response
        except AttemptFailed as failure:
            code = failure.status.code
            if code == "DEADLINE_EXCEEDED":
                if is_whole:
                    self._suspect(began)
                is_unread = self._suspicion is not None
            raise
        finally:
            metrics.record_attempt(code)
            if slots:
                slots.keep() if is_unread else slots.give_back()

    def connect_anew(self) -> None:
        """Makes a new connection. The old one ends when the calls on it are done."""
        if self._closed:
            return
        self._spawn(self._connection.close())
        self._set_ready(False, "it was connected anew")
        self._connect()

    async def close(self) -> None:
        """Ends the watch at once, and the connections when the calls on them are done."""
        self._closed = True
        self._trust()
        if self._watch:
            self._watch.cancel()
        self._set_ready(False, "it is closed")
        metrics.add_replicas(-1, ready=False)
        self._spawn(self._connection.close())
        await asyncio.wait(self._tasks)

    def _connect(self) -> None:
        self._slots.close()
        self._slots = Slots()
        self._connection = _Connection(self.address, self._server_name, self._credentials)
        self._start_watch()

    def _start_watch(self) -> None:
        if self._watch:
            self._watch.cancel()
        self._watch_began = self._loop.time()
        self._watch = self._spawn(self._keep_watching(self._connection))

    async def _keep_watching(self, connection: _Connection) -> None:
        pause = _FIRST_PAUSE_SECONDS
        # Cancelling ends it, unless gRPC makes another error of that.
        while self._watch is asyncio.current_task() and not self._closed:
            try:
                async for response in connection.watch():
                    pause = _FIRST_PAUSE_SECONDS
                    self._trust()
                    health = Int32Value.FromString(response).value
                    self._set_ready(health == _SERVING, "its health is not SERVING")
                ended = "it ended the watch of its health"
            except grpc.aio.AioRpcError as error:
                ended = str(_read_status(error))
            except DecodeError:
                ended = "its health cannot be read"
            except Exception as error:  # noqa: BLE001
                # Whatever a server makes gRPC raise, its health must be watched again.
                ended = f"the watch of its health failed: {type(error).__name__}"
            self._trust()
            self._set_ready(False, ended)
            # Not all at the same moment, or a replica that starts meets a crowd.
            await asyncio.sleep(pause * random.uniform(0.8, 1.0))
            pause = min(pause * 2, _LAST_PAUSE_SECONDS)

    def _suspect(self, asked: float) -> None:
        """Takes note that a question of that time was not answered."""
        if self._closed or self._suspicion:
            return
        if asked < self._watch_began:
            return  # What the watch says is newer than the question.
        self._set_ready(False, "it did not answer in time")
        self._start_watch()
        self._await_word()

    def _await_word(self) -> None:
        self._suspicion = self._loop.call_later(_SILENCE_SECONDS, self._give_up_connection)

    def _give_up_connection(self) -> None:
        self.connect_anew()
        self._await_word()

    def _trust(self) -> None:
        """Takes note that the connection works, or is known not to."""
        if self._suspicion:
            self._suspicion.cancel()
            self._suspicion = None
        self._slots.give_back_kept()

    def _set_ready(self, ready: bool, trouble: str) -> None:
        self.trouble = "" if ready else trouble
        if ready == self.ready:
            return
        self.ready = ready
        metrics.add_replicas(-1, ready=not ready)
        metrics.add_replicas(1, ready=ready)
        _log.debug("replica %s is %s", self.address, "ready" if ready else f"not ready: {trouble}")
        self._changed()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Connection:
    """A channel of its own, and the number of calls on it."""

    def __init__(self, address: Address, server_name: str, credentials: Credentials) -> None:
        if credentials.plaintext:
            options = [*_OPTIONS, ("grpc.default_authority", server_name)]
            self._channel = grpc.aio.insecure_channel(address.as_target(), options)
        else:
            # The certificate must be for the name that was given, not for the address.
            options = [*_OPTIONS, ("grpc.ssl_target_name_override", server_name)]
            self._channel = grpc.aio.secure_channel(
                address.as_target(), credentials.for_channel(), options
            )
        self._loop = asyncio.get_running_loop()
        self._methods: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def call(
        self, path: str, request: bytes, timeout: float, metadata: Sequence[tuple[str, str]]
    ) -> bytes:
        """Makes one attempt. It ends in time, whatever gRPC does. Raises AttemptFailed."""
        ask = self._methods.get(path)
        if ask is None:
            ask = self._methods[path] = self._channel.unary_unary(path)
        self._calls += 1
        self._idle.clear()
        asking = ask(request, timeout=timeout, metadata=metadata)
        cancellations = _cancellations()
        limit = _Limit(asking, timeout, self._loop)
        try:
            return _message(await asking)
        except grpc.aio.AioRpcError as error:
            raise AttemptFailed(_read_status(error)) from None
        except asyncio.CancelledError:
            if not limit.was_reached or _cancellations() > cancellations:
                raise
            text = f"no answer within {timeout * 1000:.0f} ms"
            raise AttemptFailed(Status("DEADLINE_EXCEEDED", text)) from None
        finally:
            limit.lift()
            self._calls -= 1
            if self._calls == 0:
                self._idle.set()

    def watch(self) -> grpc.aio.UnaryStreamCall[bytes, bytes]:
        watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(
            "/grpc.health.v1.Health/Watch"
        )
        return watch(_WATCHED)

    async def close(self) -> None:
        """Waits until no call is on the channel, and closes it."""
        await self._idle.wait()
        await self._channel.close()


def _cancellations() -> int:
    """How often this task was cancelled. Always 0 before Python 3.11, which cannot say."""
    if sys.version_info < (3, 11):
        return 0
    task = asyncio.current_task()
    return task.cancelling() if task else 0


class _Limit:
    """Cancels a call when its time is up. gRPC should have ended it then, but nothing hangs if not."""

    def __init__(
        self,
        call: grpc.aio.UnaryUnaryCall[bytes, bytes],
        seconds: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.was_reached = False
        self._call = call
        self._loop = loop
        self._next: asyncio.Handle = loop.call_later(seconds, self._reach, _TASKS_THAT_PASS_ON)

    def lift(self) -> None:
        self._next.cancel()

    def _reach(self, turns: int) -> None:
        # If the program was busy, the answer may be here, and a few tasks may have to pass it on.
        if turns > 0:
            self._next = self._loop.call_soon(self._reach, turns - 1)
        else:
            self.was_reached = self._call.cancel()


def _message(response: bytes | None) -> bytes:
    """gRPC gives None if the status is OK and no message came before it."""
    if response is None:
        raise AttemptFailed(Status("INTERNAL", "its answer has no message"))
    return response


def _read_status(error: grpc.aio.AioRpcError) -> Status:
    reason = resource = None
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        info, named = error_details_pb2.ErrorInfo(), error_details_pb2.ResourceInfo()
        try:
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    reason = _on_one_line(info.reason)
                elif detail.Unpack(named):
                    resource = _on_one_line(named.resource_name)
        except DecodeError:
            continue  # What cannot be read is as if it had not been said.
    return Status(error.code().name, _on_one_line(error.details() or ""), reason, resource)


# Tokens and bearer secrets. A server, or a proxy before it, may repeat what it was asked.
_SECRETS: Final = re.compile("(tsend_|tsop_)[0-9A-Za-z]+")


def _on_one_line(text: str) -> str:
    """Text of others, made fit for an error: printable, not endless, and without secrets."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return _SECRETS.sub(r"\1…", " ".join(text.split()))[:500]
