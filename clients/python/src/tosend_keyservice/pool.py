"""The replicas: which there are, and which of them a call asks next."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import random
import socket
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from .credentials import Credentials
from .errors import Misused
from .replica import Address, Replica

_log = logging.getLogger(__package__)

_FILES_SECONDS: Final = 1.0
_LOOK_UP_SECONDS: Final = 5.0
# While no replica is ready.
_LOOK_UP_AT_ONCE_SECONDS: Final = 1.0
# How long a replica with new certificates may take before the next one gets them.
_RENEWAL_SECONDS: Final = 1.0


class Name(NamedTuple):
    """An address as the user gave it: a host, which may stand for many replicas, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Name:
        host, colon, port = text.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if not colon or not bare or (":" in bare) != host.startswith("["):
            raise Misused(f"address {text!r} is not `host:port`, such as `keys.example.org:50051`")
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise Misused(f"address {text!r} has no port from 1 to 65535")
        return cls(bare, int(port))

    def is_loopback(self) -> bool:
        """Whether it means this machine, unless `localhost` is something else here."""
        try:
            return _is_loopback(self.host)
        except ValueError:
            return self.host.lower() == "localhost"


class Pool:
    """Keeps one `Replica` for each address that the names stand for."""

    def __init__(
        self,
        names: Sequence[Name],
        server_name: str | None,
        credentials: Credentials,
    ) -> None:
        self._names = names
        self._server_name = server_name
        self._credentials = credentials
        self._loop = asyncio.get_running_loop()
        self._replicas: dict[Address, Replica] = {}
        self._found: dict[Name, Collection[Address]] = {}
        self._not_found: dict[Name, str] = {}
        self._turn = random.randrange(1_000)
        self._waiting: set[asyncio.Future[None]] = set()
        # Two threads, so that a slow name server does not hold up the files.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix=__package__)
        self._closing: set[asyncio.Task[None]] = set()
        self._tasks = [self._loop.create_task(self._keep_looking_up(name)) for name in names]
        if credentials.has_files:
            self._tasks.append(self._loop.create_task(self._keep_reading_files()))

    def next(self, tried: Collection[Replica]) -> Replica | None:
        """The replica whose turn it is. The best are ready, and not among those tried.

        It is better to be ready than not to have been tried. None: there is no replica.
        """
        replicas = list(self._replicas.values())
        if not replicas:
            return None
        turns = range(self._turn, self._turn + len(replicas))
        turn = min(turns, key=lambda turn: _badness(replicas[turn % len(replicas)], tried))
        self._turn = turn + 1
        return replicas[turn % len(replicas)]

    def is_empty(self) -> bool:
        return not self._replicas

    def is_ready(self) -> bool:
        """Whether any replica is ready."""
        return any(map(_is_ready, self._replicas.values()))

    async def wait_until(self, condition: Callable[[], bool], until: float) -> bool:
        """Waits until the condition holds, or until that time of the loop's clock.

        The condition is looked at when replicas come, go, or change their readiness.
        """
        while not condition():
            if self._loop.time() >= until:
                return False
            change = self._loop.create_future()
            timer = self._loop.call_at(until, _finish, change)
            self._waiting.add(change)
            try:
                await change
            finally:
                self._waiting.discard(change)
                timer.cancel()
        return True

    def describe(self) -> str:
        """Why no replica is ready, for an error."""
        troubles = [f"{name.host}: {why}" for name, why in self._not_found.items()]
        troubles += [f"{place}: {replica.trouble}" for place, replica in self._replicas.items()]
        return "; ".join(troubles) or "no address has been looked up yet"

    async def close(self) -> None:
        """Ends all connections when the calls on them are done."""
        for task in self._tasks:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._keep_only(())
        await asyncio.wait([*self._tasks, *self._closing])

    async def _keep_looking_up(self, name: Name) -> None:
        while True:
            try:
                found = await self._loop.run_in_executor(self._threads, _look_up, name)
                if self._credentials.send_secret_in_plain_text:
                    _refuse_far(found)
            except (OSError, UnicodeError) as error:
                self._not_found[name] = str(error)
                _log.debug("%s cannot be looked up: %s", name.host, error)
            else:
                self._not_found.pop(name, None)
                self._found[name] = found
                self._apply()
            await asyncio.sleep(_LOOK_UP_AT_ONCE_SECONDS)
            remaining = _LOOK_UP_SECONDS - _LOOK_UP_AT_ONCE_SECONDS
            await self.wait_until(lambda: not self.is_ready(), self._loop.time() + remaining)

    def _apply(self) -> None:
        """Makes the replicas those that the names stand for now."""
        wanted = {address: name for name in self._found for address in self._found[name]}
        self._keep_only(wanted)
        for address, name in wanted.items():
            if address not in self._replicas:
                self._replicas[address] = Replica(
                    address, self._server_name or name.host, self._credentials, self._announce
                )
        self._announce()

    def _keep_only(self, wanted: Collection[Address]) -> None:
        for address in self._replicas.keys() - wanted:
            task = self._loop.create_task(self._replicas.pop(address).close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _keep_reading_files(self) -> None:
        while True:
            await asyncio.sleep(_FILES_SECONDS)
            if not await self._loop.run_in_executor(self._threads, self._credentials.refresh):
                continue
            # One after the other, so that calls find the others ready meanwhile.
            for replica in list(self._replicas.values()):
                replica.connect_anew()
                until = self._loop.time() + _RENEWAL_SECONDS
                await self.wait_until(functools.partial(_is_ready, replica), until)

    def _announce(self) -> None:
        for change in self._waiting:
            _finish(change)


def _is_ready(replica: Replica) -> bool:
    return replica.ready


def _badness(replica: Replica, tried: Collection[Replica]) -> tuple[bool, bool, bool]:
    return (not replica.ready, replica in tried, replica.is_full)


def _finish(change: asyncio.Future[None]) -> None:
    if not change.done():
        change.set_result(None)


def _refuse_far(addresses: Collection[Address]) -> None:
    """Raises OSError if one is not of this machine, whatever its name says."""
    for address in addresses:
        if not _is_loopback(address.ip):
            raise OSError(f"a secret is not sent to {address.ip} in plain text")


def _is_loopback(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _look_up(name: Name) -> Collection[Address]:
    found = socket.getaddrinfo(name.host, name.port, type=socket.SOCK_STREAM)
    return {Address(str(info[4][0]), name.port) for info in found}
