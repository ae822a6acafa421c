"""Drives the library for the test suite of all client libraries, as DRIVER.md says.

It drives `Client`, and with the argument `async` it drives `AsyncClient`.
"""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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

Json = dict[str, Any]

OPTIONS = ("plaintext", "ca_file", "cert_file", "key_file", "secret_file", "server_name")
# More than are ever in flight, as a call's deadline does not count the time before it has a thread.
CALLS_AT_ONCE = 4096


class Driver:
    """A client, and what it returned last."""

    def __init__(self, client: AsyncClient | Client, threads: ThreadPoolExecutor) -> None:
        self.client: Any = client
        self.threads = threads
        self.last: list[object] = []

    async def serve(self, request: Json) -> None:
        """Makes one call, and writes its answer."""
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
                    await self.wait_for(client.wait_until_ready, request["millis"] / 1000)
                except Unavailable:
                    return {"ready": False}
                return {"ready": True}
            case "authorize":
                millis = request.get("deadline_millis")
                answer = await self.wait_for(
                    client.authorize,
                    request["token"],
                    request["domain"],
                    deadline=None if millis is None else millis / 1000,
                )
                self.last = [answer]
                return describe(answer)
            case "create":
                created = await self.wait_for(
                    client.create_key,
                    request["account_id"],
                    request["name"],
                    domain=request.get("domain"),
                )
                self.last = [created, created.token, created.key]
                token = created.token.reveal()
                return {"created": {"key_id": created.key.key_id, "token": token}}
            case "revoke":
                key = await self.wait_for(client.revoke_key, request["key_id"])
                return {"revoked": {"key_id": key.key_id}}
            case "add_domain":
                await self.wait_for(client.add_domain, request["account_id"], request["domain"])
                return {"added": True}
            case "show":
                shown = [client, vars(client), *self.last]
                return {"shown": " ".join(f"{thing} {thing!r}" for thing in shown)}
            case unknown:
                raise ValueError(f"no such call: {unknown}")

    async def wait_for(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if isinstance(self.client, AsyncClient):
            return await method(*args, **options)
        call = functools.partial(method, *args, **options)
        return await asyncio.get_running_loop().run_in_executor(self.threads, call)


def describe(answer: Answer) -> Json:
    match answer:
        case Allowed(key_id, account_id, domain):
            return {"allowed": {"key_id": key_id, "account_id": account_id, "domain": domain}}
        case Denied(reason, key_id, account_id):
            return {"denied": {"reason": reason, "key_id": key_id, "account_id": account_id}}


def write(message: Json) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def main(kind: type[AsyncClient | Client]) -> None:
    loop = asyncio.get_running_loop()
    opening = json.loads(sys.stdin.readline())
    options = {name: opening[name] for name in OPTIONS if name in opening}
    try:
        client = kind(opening["addresses"], **options)
    except Misused as error:
        write({"id": opening["id"], "misused": str(error)})
        return
    write({"id": opening["id"], "opened": True})
    tasks = set()
    with ThreadPoolExecutor(CALLS_AT_ONCE) as threads:
        driver = Driver(client, threads)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            task = loop.create_task(driver.serve(json.loads(line)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        await driver.wait_for(client.close)


if __name__ == "__main__":
    asyncio.run(main(AsyncClient if sys.argv[1:] == ["async"] else Client))
