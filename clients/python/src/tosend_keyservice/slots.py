"""The limit on the attempts that one connection has in flight."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

_MOST_IN_FLIGHT: Final = 100
"""Few enough that their answers are read within half of an attempt's time, and that a server
which hung does not find more cancelled calls than it allows one connection."""


class Slots:
    """Gives each attempt on a connection its slot. Who waits longest gets the next one.

    An attempt that was not answered in time is cancelled, but the server has not read that yet.
    So its slot is kept, until it is known that the server reads again.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._free = _MOST_IN_FLIGHT
        self._kept = 0
        self._closed = False
        self._waiting: deque[asyncio.Future[bool]] = deque()

    @property
    def are_taken(self) -> bool:
        """Whether the next attempt would wait."""
        return self._free == 0

    async def take(self, until: float) -> bool:
        """Takes a slot. False: there was none until then, or the connection is given up."""
        if self._closed or self._free:
            self._free -= not self._closed
            return not self._closed
        slot: asyncio.Future[bool] = self._loop.create_future()
        timer = self._loop.call_at(until, _give, slot, False)
        self._waiting.append(slot)
        try:
            return await slot
        except asyncio.CancelledError:
            if not _give(slot, False) and not slot.cancelled() and slot.result():
                self.give_back()
            raise
        finally:
            timer.cancel()

    def give_back(self) -> None:
        """The attempt has ended."""
        while self._waiting:
            if _give(self._waiting.popleft(), True):
                return
        self._free += 1

    def keep(self) -> None:
        """The attempt was cancelled, and the server may not know it."""
        self._kept += 1

    def give_back_kept(self) -> None:
        """The server has read what was sent to it."""
        kept, self._kept = self._kept, 0
        for _ in range(kept):
            self.give_back()

    def close(self) -> None:
        """Sends all who wait to another connection."""
        self._closed = True
        while self._waiting:
            _give(self._waiting.popleft(), False)


def _give(slot: asyncio.Future[bool], value: bool) -> bool:
    if slot.done():
        return False
    slot.set_result(value)
    return True
