"""Drives the library for the test suite of all client libraries, as DRIVER.md says.

It drives `Client`, each call in a thread, and with the argument `async` it drives `AsyncClient`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tosend_keyservice import (
    Allowed,
    Answer,
    AsyncClient,
    Client,
    Denied,
    Misused,
    Refused,
    Unavailable,
)

C = TypeVar("C", AsyncClient, Client)
Json = dict[str, Any]

OPTIONS = ("plaintext", "ca_file", "cert_file", "key_file", "secret_file", "server_name")
# More than are ever in flight: no call waits for a thread.
CALLS_AT_ONCE = 4096


class Driver:
    """A client of either kind, and what it returned last."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.last: list[object] = []

    async def serve(self, request: Json) -> None:
        """Makes one call, and writes its answer. With `Client`, it never waits for a loop."""
        try:
            answer = await self.answer(request)
        except Unavailable as error:
            answer = {"unavailable": str(error)}
        except Misused as error:
            answer = {"misused": str(error)}
        except Refused as error:
            answer = {"refused": {"code": error.code, "message": error.message}}
        write({"id": request["id"], **answer})

    async def answer(self, request: Json) -> Json:
        client = self.client
        match request["call"]:
            case "ready":
                try:
                    await end_of(client.wait_until_ready(request["millis"] / 1000))
                except Unavailable:
                    return {"ready": False}
                return {"ready": True}
            case "authorize":
                millis = request.get("deadline_millis")
                deadline = None if millis is None else millis / 1000
                asked = client.authorize(request["token"], request["domain"], deadline=deadline)
                answer = await end_of(asked)
                self.last = [answer]
                return describe(answer)
            case "create":
                account_id, name = request["account_id"], request["name"]
                created = await end_of(
                    client.create_key(account_id, name, domain=request.get("domain"))
                )
                self.last = [created, created.token, created.key]
                token = created.token.reveal()
                return {"created": {"key_id": created.key.key_id, "token": token}}
            case "revoke":
                key = await end_of(client.revoke_key(request["key_id"]))
                return {"revoked": {"key_id": key.key_id}}
            case "add_domain":
                await end_of(client.add_domain(request["account_id"], request["domain"]))
                return {"added": True}
            case "show":
                shown = [client, vars(client), *self.last]
                return {"shown": " ".join(f"{thing} {thing!r}" for thing in shown)}
            case unknown:
                raise ValueError(f"no such call: {unknown}")


async def end_of(call: Any) -> Any:
    """What `Client` has returned, or what the call of `AsyncClient` returns."""
    return await call if isinstance(call, Awaitable) else call


def describe(answer: Answer) -> Json:
    match answer:
        case Allowed(key_id, account_id, domain):
            return {"allowed": {"key_id": key_id, "account_id": account_id, "domain": domain}}
        case Denied(reason, key_id, account_id):
            return {"denied": {"reason": reason, "key_id": key_id, "account_id": account_id}}


def write(message: Json) -> None:
    # Its buffer has a lock, unlike sys.stdout.
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine that waits for no loop."""
    with contextlib.suppress(StopIteration):
        coroutine.send(None)


def drive_by_threads() -> None:
    client = opened(Client)
    if client is None:
        return
    driver = Driver(client)
    with ThreadPoolExecutor(CALLS_AT_ONCE) as threads:
        for line in sys.stdin:
            threads.submit(run, driver.serve(json.loads(line)))
    client.close()


async def drive_by_loop() -> None:
    client = opened(AsyncClient)
    if client is None:
        return
    loop = asyncio.get_running_loop()
    driver = Driver(client)
    tasks = set()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = loop.create_task(driver.serve(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    await client.close()


def opened(kind: type[C]) -> C | None:
    """The client of the first line."""
    opening = json.loads(sys.stdin.readline())
    options = {name: opening[name] for name in OPTIONS if name in opening}
    try:
        client = kind(opening["addresses"], **options)
    except Misused as error:
        write({"id": opening["id"], "misused": str(error)})
        return None
    write({"id": opening["id"], "opened": True})
    return client


if __name__ == "__main__":
    if sys.argv[1:] == ["async"]:
        asyncio.run(drive_by_loop())
    else:
        drive_by_threads()
