"""What holds after a fork: gRPC's asyncio does not work in the child, so nothing is asked there."""

from __future__ import annotations

import gc
import os

from .errors import Misused

_is_used = False
_is_lost = False


def begin_use() -> None:
    """Takes note that this process has a client, or had one."""
    global _is_used
    refuse_if_lost()
    _is_used = True


def refuse_if_lost() -> None:
    """Raises Misused in a process that forked from one that had a client."""
    if _is_lost:
        raise Misused(
            "a client was made before this process forked: fork first, or start this process by "
            "multiprocessing's method `spawn`, and make the client in it"
        )


def _after_fork() -> None:
    global _is_lost
    if _is_used:
        _is_lost = True
        # To free what gRPC has left would crash the child.
        gc.freeze()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
