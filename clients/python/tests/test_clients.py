"""What differs between the two clients: cancelling, forgetting to await, and types."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
import time
from typing import Any

import pytest
from replicas import Replica, wait_for

from tosend_keyservice import Allowed, AsyncClient, Client, Misused

TOKEN = "tsend_" + "A" * 49


def test_the_clients_have_the_same_methods_and_parameters() -> None:
    def public(kind: type) -> dict[str, inspect.Signature]:
        return {
            name: inspect.signature(method)
            for name, method in inspect.getmembers(kind, callable)
            if not name.startswith("_") or name == "__init__"
        }

    assert public(Client) == public(AsyncClient)


def test_asyncio(replica: Replica) -> None:
    async def main() -> None:
        async with AsyncClient([replica.address], plaintext=True) as client:
            await client.wait_until_ready()
            assert isinstance(await client.authorize(TOKEN, "example.com"), Allowed)
            asked = asyncio.create_task(client.authorize(TOKEN, "example.com"))
            assert isinstance(await asked, Allowed)
            many = [client.authorize(TOKEN, "example.com") for _ in range(50)]
            assert {type(answer) for answer in await asyncio.gather(*many)} == {Allowed}

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:coroutine.*was never awaited")
def test_a_call_that_was_not_awaited_is_neither_true_nor_false(replica: Replica) -> None:
    async def main() -> None:
        async with AsyncClient([replica.address], plaintext=True) as client:
            with pytest.raises(TypeError, match="await"):
                bool(client.authorize(TOKEN, "example.com"))

    asyncio.run(main())


def test_cancelling_the_task_ends_the_call_at_once(replica: Replica) -> None:
    async def main() -> None:
        async with AsyncClient([replica.address], plaintext=True, attempt_timeout=9) as client:
            await client.wait_until_ready()
            replica.hang()
            asked = asyncio.create_task(client.authorize(TOKEN, "example.com", deadline=9))
            while replica.calls == 0:
                await asyncio.sleep(0.01)
            asked.cancel()
            began = time.monotonic()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert time.monotonic() - began < 0.1

    asyncio.run(main())
    wait_for(lambda: replica.given_up == 1)


def test_interrupting_the_thread_ends_the_call_at_once(replica: Replica) -> None:
    def interrupt() -> None:
        wait_for(lambda: replica.calls == 1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with Client([replica.address], plaintext=True, attempt_timeout=9) as client:
        client.wait_until_ready()
        replica.hang()
        threading.Thread(target=interrupt).start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client.authorize(TOKEN, "example.com", deadline=9)
        assert time.monotonic() - began < 0.5
        wait_for(lambda: replica.given_up == 1)


def test_asyncio_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError):
        AsyncClient(["127.0.0.1:1"], plaintext=True)


@pytest.mark.parametrize(
    ("addresses", "options", "text"),
    [
        ([], {}, "at least one"),
        ("127.0.0.1:1", {}, "list"),
        (["127.0.0.1"], {}, "host:port"),
        ([":1"], {}, "host:port"),
        (["::1"], {}, "host:port"),
        (["keys.test:0"], {}, "65535"),
        (["keys.test:http"], {}, "65535"),
        (["127.0.0.1:1"], {"deadline": 0}, "deadline"),
        (["127.0.0.1:1"], {"admin_deadline": 0}, "admin_deadline"),
        (["127.0.0.1:1"], {"attempt_timeout": 0}, "attempt_timeout"),
        (["127.0.0.1:1"], {"attempts": 0}, "attempts"),
        (["127.0.0.1:1"], {"ca_file": "ca.pem"}, "exclude each other"),
        (["127.0.0.1:1"], {"plaintext": False, "cert_file": "c.pem"}, "belong together"),
        (["127.0.0.1:1"], {"plaintext": False, "key_file": "c.key"}, "belong together"),
        (["127.0.0.1:1"], {"secret_file": "/no/such/file"}, "cannot read /no/such/file"),
        (["127.0.0.1:1"], {"plaintext": False, "ca_file": "/dev/null"}, "certificates in PEM"),
    ],
)
def test_misuse_fails_when_the_client_is_made(
    addresses: list[str], options: dict[str, Any], text: str
) -> None:
    with pytest.raises(Misused, match=text):
        Client(addresses, **{"plaintext": True, **options})


def test_addresses_of_both_families_are_understood() -> None:
    with Client(["[::1]:50051", "127.0.0.1:50051"], plaintext=True) as client:
        assert repr(client) == "Client([::1]:50051, 127.0.0.1:50051)"
